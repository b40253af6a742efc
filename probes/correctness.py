"""Correctness: the engine's logprobs against the reference forward pass, in units of the model's own rounding noise.

Prefill: the corpus, teacher-forced, where the engine scores given token ids. Decode: the engine generates greedily and
the reference scores what came, with the engine's logprobs where it gives them; where it gives text alone, by the margin
of each generated token (METHOD: Token-DiFR at temperature 0).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import numpy as np

from matrix.cells import Cell, Record
from matrix.errors import EngineBrokeProtocol, Infrastructure
from matrix.results import Measurement, Status, Table, Verdict
from probes import noise_floor
from probes.client import Client, connect, in_flight
from probes.noise_floor import TokenLogprobs
from probes.probe import Bench, Probe
from runners.engine import Ask, Generation, Prompt, Scores, Server

IN_FLIGHT = 4
"""Generations at once: the batched decode path that users run."""

TEXT_FACTOR = 2
"""A generated token says less than its logprobs do: a clean PASS by margins takes some 900 tokens and leaves no room
for the one mismatch in a thousand that rounding makes, so an engine of text alone is asked for twice as much."""

SHIFT_FROM = 0.5
SHIFT_TO = 0.05
"""Misses that a shift explains: over half of the positions as they are, under a twentieth a position further."""

WORST_FIRST = (Status.FAIL, Status.DEGRADED, Status.UNDECIDED, Status.PASS)


class Correctness(Record, frozen=True, kw_only=True):
    """The measurement's values; the arrays are its tables."""

    top_k: int
    prefill: bool
    decode: str
    """`logprobs`: scored by id; `text`: generated text, tokenised again."""
    texts: int = 0
    """Generated texts that were tokenised again."""
    unusable_texts: int = 0
    """Those of them that do not give their token ids back, left out."""


def measure(server: Server, cell: Cell, bench: Bench) -> Measurement:
    """Score the corpus where the engine can, generate from its prompts, and have the reference score what came."""
    corpus = bench.reference.corpus()
    prefill, generated = asyncio.run(_ask(server, cell, bench, corpus))
    tables = {"corpus": corpus}
    if prefill is not None:
        tables["prefill"] = _stack(prefill, width=corpus["token_ids"].shape[1] - 1)
    sequences, lengths = _sequences(generated, bench)
    tables["decode reference"] = bench.reference.score([ids for ids, _ in sequences], lengths)
    scored = [scores for _, scores in sequences if scores is not None]
    if len(scored) == len(sequences):
        width = tables["decode reference"]["token_ids"].shape[1] - 1
        tables["decode"] = _stack(scored, width=width, starts=[length - 1 for length in lengths])
    values = Correctness(
        top_k=server.engine.max_top_k,
        prefill=prefill is not None,
        decode="logprobs" if "decode" in tables else "text",
        texts=sum(answer.token_ids is None for _, answer in generated),
        unusable_texts=len(generated) - len(sequences),
    )
    return Measurement(values=msgspec.to_builtins(values), tables=tables)


async def _ask(
    server: Server, cell: Cell, bench: Bench, corpus: Table
) -> tuple[list[Scores] | None, list[tuple[Prompt, Generation]]]:
    async with connect(server, bench.watch, vocabulary=bench.reference.coverage().rows) as client:
        prefill = await _prefill(client, server, corpus) if server.engine.score is not None else None
        return prefill, await _decode(client, server, cell, bench, corpus)


async def _prefill(client: Client, server: Server, corpus: Table) -> list[Scores]:
    # One at a time: what other requests do to an answer is a question of its own.
    return [await client.score(tuple(map(int, ids)), server.engine.max_top_k) for ids in corpus["token_ids"]]


async def _decode(
    client: Client, server: Server, cell: Cell, bench: Bench, corpus: Table
) -> list[tuple[Prompt, Generation]]:
    work = cell.device.workload
    scored = server.engine.score is not None
    count = work.decode_sequences * (1 if scored else TEXT_FACTOR)
    prompts = _prompts(server, bench, corpus, work.decode_prompt_length)[:count]
    asks = [
        Ask(
            model=server.model,
            prompt=prompt,
            max_tokens=work.decode_tokens,
            top_k=server.engine.max_top_k if scored else 0,
            ignore_eos=True,
        )
        for prompt in prompts
    ]
    answers = await in_flight(IN_FLIGHT, [lambda ask=ask: client.generate(ask) for ask in asks])  # type: ignore[misc]
    return list(zip(prompts, answers, strict=True))


def _prompts(server: Server, bench: Bench, corpus: Table, length: int) -> list[Prompt]:
    """Openings of the corpus; for an engine that takes text, those whose text gives their ids back."""
    tokenizer = bench.reference.tokenizer()
    openings = [tuple(map(int, ids[:length])) for ids in corpus["token_ids"]]
    prompts = [Prompt(token_ids=ids, text=tokenizer.decode(ids, skip_special_tokens=False)) for ids in openings]
    if server.engine.prompts == "token-ids":
        return prompts
    return [p for p in prompts if tuple(tokenizer.encode(p.text, add_special_tokens=False).ids) == p.token_ids]


def _sequences(
    generated: Sequence[tuple[Prompt, Generation]], bench: Bench
) -> tuple[list[tuple[tuple[int, ...], Scores | None]], list[int]]:
    """Prompt and generated ids together, with the scores of the generated ones, and the prompts' lengths."""
    tokenizer = bench.reference.tokenizer()
    sequences: list[tuple[tuple[int, ...], Scores | None]] = []
    lengths = []
    for prompt, answer in generated:
        ids = answer.token_ids
        if ids is None:
            whole = tuple(tokenizer.encode(prompt.text + answer.text, add_special_tokens=False).ids)
            ids = whole[len(prompt.token_ids) :]
            if whole[: len(prompt.token_ids)] != prompt.token_ids or len(ids) != answer.completion_tokens:
                continue
        if not ids:
            raise EngineBrokeProtocol("generated nothing where a fixed number of tokens was asked for")
        sequences.append(((*prompt.token_ids, *ids), answer.scores))
        lengths.append(len(prompt.token_ids))
    if not sequences:
        # Text that does not survive a tokenizer may be garbage or just another spelling: nobody can be blamed for it.
        raise Infrastructure("no generated text gives its token ids back, so nothing can be compared")
    return sequences, lengths


def _stack(scores: Sequence[Scores], *, width: int, starts: Sequence[int] | None = None) -> Table:
    """Scores of sequences as [S, width(, K)], row s beginning at column starts[s]."""
    depth = max((item.top_ids.shape[1] for item in scores), default=0)
    targets = np.full((len(scores), width), np.nan)
    ids = np.full((len(scores), width, depth), -1, dtype=np.int64)
    logprobs = np.full((len(scores), width, depth), np.nan)
    for row, (item, start) in enumerate(zip(scores, starts or [0] * len(scores), strict=True)):
        columns = slice(start, start + len(item.target_logprobs))
        targets[row, columns] = item.target_logprobs
        ids[row, columns, : item.top_ids.shape[1]] = item.top_ids
        logprobs[row, columns, : item.top_ids.shape[1]] = item.top_logprobs
    return {"target_logprobs": targets, "top_ids": ids, "top_logprobs": logprobs}


def judge(measurement: Measurement, cell: Cell) -> Verdict:
    """The worst of the strata that could be asked; each sentence says how far and how sure."""
    values = msgspec.convert(measurement.values, Correctness)
    strata: dict[str, Verdict] = {}
    share = 2 if values.prefill else 1  # each stratum at its share of the level, so that two looks count as one
    if values.prefill:
        reference, replicates = noise_floor.family(measurement.tables["corpus"])
        strata["prefill"] = _judge_ratio(measurement.tables["prefill"], reference, replicates, values.top_k, share)
    reference, replicates = noise_floor.family(measurement.tables["decode reference"])
    reference = noise_floor.restrict(reference, _generated(measurement.tables["decode reference"]))
    if values.decode == "logprobs":
        strata["decode"] = _judge_ratio(measurement.tables["decode"], reference, replicates, values.top_k, share)
    else:
        strata["decode, text alone"] = _judge_text(reference, replicates, values)
    return _worst(strata)


def _generated(table: Table) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """[S, N] True where column n holds a generated token (column n is token n + 1)."""
    columns = np.arange(table["token_ids"].shape[1] - 1)[None, :] + 1
    inside = (columns >= table["prompt_lengths"][:, None]) & (columns < table["lengths"][:, None])
    return np.asarray(inside)


def _judge_ratio(
    table: Table, reference: TokenLogprobs, replicates: dict[str, TokenLogprobs], top_k: int, share: int
) -> Verdict:
    candidate = TokenLogprobs(**table)
    found = noise_floor.judge_ratio(
        reference,
        replicates,
        candidate,
        k=top_k,
        pass_alpha=noise_floor.PASS_ALPHA / share,
        fail_alpha=noise_floor.FAIL_ALPHA / share,
    )
    sentence = found.sentence
    if found.decision == "FAIL" and (shift := _shift(reference, candidate)):
        sentence = f"{shift}; {sentence}"
    numbers = {"misses": float(found.misses), "nonfinite": float(found.nonfinite), "tokens": float(found.tokens)}
    for name, estimate in (("ratio", found.ratio), ("ratio_d", found.ratio_d)):
        if estimate is not None:
            numbers |= {name: estimate.value, f"{name}_low": estimate.low_pass, f"{name}_high": estimate.high_pass}
    evidence = {"replicates dropped": ", ".join(found.dropped)} if found.dropped else {}
    return Verdict(status=Status(found.decision), reason=sentence, evidence=evidence, numbers=numbers)


def _judge_text(reference: TokenLogprobs, replicates: dict[str, TokenLogprobs], values: Correctness) -> Verdict:
    """The margin test on the texts that could be read; a PASS needs most of them, for garbage is hard to read."""
    found = noise_floor.judge_margins(
        noise_floor.generated_margins(reference),
        [noise_floor.greedy_margins(reference, replicate) for replicate in replicates.values()],
        noise_floor.noise_tau(reference, replicates),
    )
    numbers = {"hard_mismatches": float(found.hard), "tokens": float(found.tokens), "tau": found.tau}
    numbers |= {"texts": float(values.texts), "unusable_texts": float(values.unusable_texts)}
    left_out = f"{values.unusable_texts} of {values.texts} texts do not give their token ids back and are left out"
    reason = f"{found.sentence}; {left_out}" if values.unusable_texts else found.sentence
    status = Status(found.decision)
    if status is Status.PASS and 2 * values.unusable_texts > values.texts:
        status = Status.UNDECIDED
    return Verdict(status=status, reason=reason, numbers=numbers)


def _shift(reference: TokenLogprobs, candidate: TokenLogprobs) -> str | None:
    """Names an off-by-one: rows that miss the reference where they stand, and match it one position on."""
    here = _miss_rate(reference, candidate)
    if here < SHIFT_FROM:
        return None
    before, after = slice(None, -1), slice(1, None)
    if _miss_rate(_columns(reference, after), _columns(candidate, before)) < SHIFT_TO:
        return "shifted by one position: each token is scored with the logits that follow it"
    if _miss_rate(_columns(reference, before), _columns(candidate, after)) < SHIFT_TO:
        return "shifted by one position: each token is scored with the logits before those that predict it"
    return None


def _columns(run: TokenLogprobs, columns: slice) -> TokenLogprobs:
    return TokenLogprobs(
        target_logprobs=run.target_logprobs[:, columns],
        top_ids=run.top_ids[:, columns],
        top_logprobs=run.top_logprobs[:, columns],
    )


def _miss_rate(reference: TokenLogprobs, candidate: TokenLogprobs) -> float:
    miss = noise_floor.token_kl(reference, candidate).miss
    valid = ~np.isnan(reference.target_logprobs)
    return float(miss[valid].mean()) if valid.any() else 0.0


def _worst(strata: dict[str, Verdict]) -> Verdict:
    worst = min(strata.values(), key=lambda verdict: WORST_FIRST.index(verdict.status))
    return Verdict(
        status=worst.status,
        reason="; ".join(f"{name}: {verdict.reason}" for name, verdict in strata.items()),
        evidence={f"{name}: {key}": text for name, v in strata.items() for key, text in v.evidence.items()},
        numbers={f"{name.split(',')[0]}_{key}": x for name, v in strata.items() for key, x in v.numbers.items()},
    )


PROBE = Probe(name="correctness", version=2, tier="correctness", order=2, deadline_s=1800, measure=measure, judge=judge)
