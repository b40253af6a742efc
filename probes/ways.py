"""One engine against itself: the same tokens asked in different ways must be answered alike, up to rounding.

How alike is told in units of the model's own rounding noise: how far two replicates of the reference lie apart on the
very tokens that the engine generated. What the reference itself says of them is not used, so a wrong reference, or an
engine that is wrong in every way alike, changes nothing here. The first way, *cold*, is what the others are held
against.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import msgspec
import numpy as np
from tokenizers import Tokenizer

from matrix.cells import Cell, Record
from matrix.errors import EngineBrokeProtocol, Infrastructure
from matrix.results import Measurement, Status, Table, Verdict
from probes import ends, noise_floor, pooling, strata
from probes.client import Client
from probes.noise_floor import Flags, TokenLogprobs
from probes.probe import Bench
from runners.engine import Ask, Generation, Prompt, Scores, Server

COLD = "cold"
REFERENCE = "reference"

FEWEST = 2
"""Tokens that two answers must have in common to be compared. Where they part because two tokens are nearly a tie, they
part where rounding happens to be large; with fewer tokens before it, that place would be all there is."""


class Way(Record, frozen=True, kw_only=True):
    """How one way of asking went, by sequence; the arrays are the table of its name."""

    name: str
    asked: tuple[int, ...]
    """Numbers of the sequences."""
    cached: tuple[int | None, ...]
    """Tokens of each prompt that came from the cache; None where the engine does not say."""
    from_cache: bool
    """Whether this way is there to use what is cached."""


class Ways(Record, frozen=True, kw_only=True):
    """The measurement's values."""

    answers: Literal["logprobs", "text"]
    top_k: int
    ways: tuple[Way, ...]
    sequences: int
    unusable_texts: int = 0
    """Answers as text that do not give their token ids back, left out."""
    launched: bool = True
    """False: the server is somebody else's, and cannot be started anew."""
    confirmation: Ways | None = None


# --- asking -----------------------------------------------------------------------------------------------


class Answer(Record, frozen=True, kw_only=True):
    """One answer in one way."""

    sequence: int
    made: Generation
    after: int = 0
    """How many of the cold answer's tokens were part of this prompt."""


Job = Callable[[], Coroutine[Any, Any, Generation]]


class Asker:
    """Asks one engine for short greedy answers, in namespaces that no other measurement shares."""

    def __init__(self, client: Client, server: Server, tokenizer: Tokenizer, tokens: int) -> None:
        self._client = client
        self._server = server
        self._tokenizer = tokenizer
        self._tokens = tokens
        self._mark = secrets.token_hex(4)

    def namespace(self, *words: object) -> str:
        """A name of its own."""
        return "-".join((self._mark, *map(str, words)))

    async def ask(
        self,
        token_ids: Sequence[int],
        namespace: str,
        *,
        fresh: bool = False,
        tokens: int | None = None,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> Generation:
        """One answer, of as many tokens as all have where nothing else is said."""
        text = self._tokenizer.decode(list(token_ids), skip_special_tokens=False)
        ask = Ask(
            model=self._server.model,
            prompt=Prompt(token_ids=tuple(token_ids), text=text),
            max_tokens=tokens or self._tokens,
            # The same for all: an engine may keep another cache for requests without logprobs.
            top_k=self._server.engine.max_top_k,
            ignore_eos=True,
            namespace=namespace,
            fresh=fresh,
            temperature=temperature,
            seed=seed,
        )
        return await self._client.generate(ask)


def prompts(server: Server, bench: Bench, cut: Callable[[Table], list[tuple[int, ...]]]) -> list[tuple[int, ...]]:
    """Distinct prompts cut from a part of the corpus; for an engine that takes text, those that survive it."""
    tokenizer = bench.reference.tokenizer()
    found = list(dict.fromkeys(cut(bench.corpus())))
    if server.engine.prompts == "token-ids":
        return found
    usable = [ids for ids in found if retokenized(tokenizer, ids) == ids]
    if not usable:
        raise Infrastructure("no prompt's text gives its token ids back, so nothing can be compared")
    return usable


def drawable(server: Server, bench: Bench) -> list[int]:
    """What random tokens are drawn from: every id; words, where text must give them back and the tokenizer has any."""
    coverage = bench.reference.coverage()
    every = range(min(coverage.rows, coverage.largest_id + 1))
    words = [] if server.engine.prompts == "token-ids" else words_of(bench.reference.tokenizer(), every)
    return words or list(every)


def words_of(tokenizer: Tokenizer, ids: Iterable[int]) -> list[int]:
    """Ids whose texts give them back in any order: letters with a space about them, where no two can merge."""

    def stands_alone(token_id: int) -> bool:
        words = tokenizer.decode([token_id, token_id], skip_special_tokens=False).split()
        twice = (token_id, token_id)
        return len(words) == 2 and "".join(words).isalpha() and retokenized(tokenizer, twice) == twice

    return [token_id for token_id in ids if stands_alone(token_id)]


def retokenized(tokenizer: Tokenizer, ids: Sequence[int], more: str = "") -> tuple[int, ...]:
    """The ids of a prompt's text with more text after it."""
    text = tokenizer.decode(list(ids), skip_special_tokens=False)
    return tuple(tokenizer.encode(text + more, add_special_tokens=False).ids)


def generated_ids(tokenizer: Tokenizer, prompt: Sequence[int], made: Generation) -> tuple[int, ...] | None:
    """What an engine generated, as ids; None where it gives text that does not give them back."""
    if made.token_ids is not None:
        return made.token_ids
    whole = retokenized(tokenizer, prompt, made.text)
    ids = whole[len(prompt) :]
    return ids if whole[: len(prompt)] == tuple(prompt) and len(ids) == made.completion_tokens else None


def gather(
    server: Server, bench: Bench, asked: Sequence[tuple[int, ...]], cold: Sequence[Generation],
    ways: Mapping[str, Sequence[Answer]], from_cache: Sequence[str] = (),
) -> Measurement:  # fmt: skip
    """The measurement of prompts asked cold and in other ways, with the reference's noise on the cold answers."""
    tokenizer = bench.reference.tokenizer()
    ids = [generated_ids(tokenizer, prompt, made) for prompt, made in zip(asked, cold, strict=True)]
    kept = {number: row for row, number in enumerate(n for n, made in enumerate(ids) if made is not None)}
    if not kept:
        raise Infrastructure("no generated text gives its token ids back, so nothing can be compared")
    if any(not made for made in ids if made is not None):
        raise EngineBrokeProtocol("generated nothing where a fixed number of tokens was asked for")
    sequences = [(*asked[number], *(ids[number] or ())) for number in kept]
    lengths = [len(asked[number]) for number in kept]
    tables = {REFERENCE: bench.reference.score(sequences, lengths) | ends.never_chosen(server, len(sequences))}
    shape = (len(kept), tables[REFERENCE]["token_ids"].shape[1] - 1)
    told: list[Way] = []
    lost = len(ids) - len(kept)
    everything = {COLD: [Answer(sequence=number, made=made) for number, made in enumerate(cold)], **ways}
    for name, answers in everything.items():
        table = _Rows(shape, server.engine.max_top_k)
        present = [answer for answer in answers if answer.sequence in kept]
        for answer in present:
            own = ids[answer.sequence] or ()
            prompt = (*asked[answer.sequence], *own[: answer.after])
            made = generated_ids(tokenizer, prompt, answer.made)
            lost += made is None
            if made is not None:
                table.put(kept[answer.sequence], len(prompt) - 1, own[answer.after :], made, answer.made.scores)
        tables[name] = table.arrays()
        told.append(
            Way(
                name=name,
                asked=tuple(kept[answer.sequence] for answer in present),
                cached=tuple(answer.made.cached_tokens for answer in present),
                from_cache=name in from_cache,
            )
        )
    values = Ways(
        answers="logprobs" if server.engine.max_top_k else "text",
        top_k=server.engine.max_top_k,
        ways=tuple(told),
        sequences=len(kept),
        unusable_texts=lost,
        launched=server.log_path is not None,
    )
    return Measurement(values=msgspec.to_builtins(values), tables=tables)


class _Rows:
    """What one way says of the cold answers' tokens: [S, N] each, up to the first token that is another one."""

    def __init__(self, shape: tuple[int, int], depth: int) -> None:
        self.targets = np.full(shape, np.nan)
        self.ids = np.full((*shape, depth), -1, dtype=np.int64)
        self.logprobs = np.full((*shape, depth), np.nan)
        self.compared = np.zeros(shape, dtype=bool)
        self.chosen = np.full(shape, -1, dtype=np.int64)

    def put(self, row: int, first: int, own: Sequence[int], made: Sequence[int], scores: Scores | None) -> None:
        """An answer whose first token stands in column `first`, where the cold answer went on with `own`."""
        for place, (expected, chosen) in enumerate(zip(own, made, strict=False)):
            column = first + place
            self.compared[row, column] = True
            self.chosen[row, column] = chosen
            if scores is not None:
                width = scores.top_ids.shape[1]
                self.ids[row, column, :width] = scores.top_ids[place]
                self.logprobs[row, column, :width] = scores.top_logprobs[place]
                self.targets[row, column] = _target(scores, place, expected, same=expected == chosen)
            if expected != chosen:
                return

    def arrays(self) -> Table:
        return {
            "target_logprobs": self.targets, "top_ids": self.ids, "top_logprobs": self.logprobs,
            "compared": self.compared, "chosen": self.chosen,
        }  # fmt: skip


def _target(scores: Scores, place: int, expected: int, *, same: bool) -> float:
    """The logprob of the cold answer's token; one that is not listed has the least listed one at most."""
    if same:
        return float(scores.target_logprobs[place])
    found = scores.top_logprobs[place][scores.top_ids[place] == expected]
    return float(found[0] if found.size else np.min(scores.top_logprobs[place], initial=np.inf))


# --- several looks ----------------------------------------------------------------------------------------


def pool(first: Measurement, second: Measurement) -> Measurement:
    """Two looks as one: the second one's sequences behind the first one's."""
    one, other = (msgspec.convert(found.values, Ways) for found in (first, second))
    later = {way.name: way for way in other.ways}
    ways = tuple(
        msgspec.structs.replace(
            way,
            asked=(*way.asked, *(one.sequences + number for number in later[way.name].asked)),
            cached=(*way.cached, *later[way.name].cached),
        )
        for way in one.ways
    )
    values = msgspec.structs.replace(
        one,
        ways=ways,
        sequences=one.sequences + other.sequences,
        unusable_texts=one.unusable_texts + other.unusable_texts,
    )
    tables = {name: pooling.stacked(table, second.tables[name]) for name, table in first.tables.items()}
    return Measurement(values=msgspec.to_builtins(values), tables=tables)


# --- judging ----------------------------------------------------------------------------------------------


def judge(measurement: Measurement, cell: Cell) -> Verdict:
    """The worst of the ways; an accusation stands if other sequences in a fresh server bear it out."""
    values = msgspec.convert(measurement.values, Ways)
    verdict = _judge(measurement.tables, values, cell)
    if values.confirmation is None:
        return verdict
    again = _judge(pooling.confirmation(measurement.tables), values.confirmation, cell)
    return strata.borne_out(verdict, again, values.launched)


def _judge(tables: Mapping[str, Table], values: Ways, cell: Cell) -> Verdict:
    judge_one = _by_logprobs if values.answers == "logprobs" else _by_text
    asked = {
        way.name: partial(judge_one, tables, way, values, cell) for way in values.ways if way.name != COLD and way.asked
    }
    verdicts = strata.step_down(asked)
    worst = strata.worst_of(verdicts)
    hits = {f"{way.name}: from the cache": _hits(way) for way in values.ways if way.from_cache}
    left = f"{values.unusable_texts} answers do not give their token ids back and are left out"
    said = (sentence(verdicts, worst.status, values, cell), _cache(values), left if values.unusable_texts else "")
    return msgspec.structs.replace(worst, reason="; ".join(filter(None, said)), evidence={**worst.evidence, **hits})


def sentence(verdicts: Mapping[str, Verdict], worst: Status, values: Ways, cell: Cell) -> str:
    """What is worst is told in full; where all is well, how far the furthest way is off."""
    if worst is not Status.PASS:
        told = [f"{name}: {verdict.reason}" for name, verdict in verdicts.items() if verdict.status is worst]
        others = len(verdicts) - len(told)
        return "; ".join((*told, *([f"{others} other ways are better"] if others else [])))
    alike = f"{values.sequences} prompts are answered alike in {len(verdicts) + 1} ways"
    if values.answers == "text":
        return f"{alike}, as text"
    measure, unit = ("largest", "nats") if cell.dtype == "float32" else ("ratio", "x the model's own rounding noise")
    far = {name: verdict.numbers.get(measure, 0.0) for name, verdict in verdicts.items()}
    furthest = max(far, key=lambda name: far[name])
    return f"{alike}, within {far[furthest]:.2g} {unit} ({furthest})" if far[furthest] else f"{alike}, to the bit"


def _cache(values: Ways) -> str:
    """Whether what is there to use the cache did use it; empty where nothing is there to."""
    counts = [count for way in values.ways if way.from_cache for count in way.cached]
    if not counts:
        return ""
    known = [count for count in counts if count is not None]
    if not known:
        return "the engine does not say whether its cache was hit"
    hit = sum(count > 0 for count in known)
    return f"the cache was hit in {hit} of {len(known)} requests" if hit else "the cache was never hit"


def _hits(way: Way) -> str:
    known = [count for count in way.cached if count is not None]
    if not known:
        return "not said"
    return f"{sum(count > 0 for count in known)} of {len(known)} requests, {min(known)} to {max(known)} tokens"


def _by_logprobs(tables: Mapping[str, Table], way: Way, values: Ways, cell: Cell, strata_asked: int) -> Verdict:
    cold, candidate = _run(tables[COLD]), _run(tables[way.name])
    keep = tables[way.name]["compared"] & tables[COLD]["compared"]
    family = strata.family_of(tables[REFERENCE], keep, cell.dtype)
    tau = noise_floor.noise_tau(family.reference, family.replicates)
    parted, unexplained = _parted(tables[way.name], tables[COLD], _gap(cold, tables[way.name]), tau)
    short = parted & ~unexplained & (keep.sum(axis=1) < FEWEST)
    keep = keep & ~short[:, None]
    if not keep.any():
        return Verdict(status=Status.UNDECIDED, reason="no two answers go the same way for long enough to be compared")
    family = strata.family_of(tables[REFERENCE], keep, cell.dtype)
    if (bad := noise_floor.nonfinite(family.reference, cold)).any():
        # The judges look for such numbers in the candidate alone, and would leave these positions out.
        said = f"{int(bad.sum())} logprobs of the cold answers are not finite"
        return Verdict(status=Status.FAIL, reason=said, numbers={"nonfinite": float(bad.sum())})
    if _same(cold, candidate, keep):
        # No number of any difference: there is none, in whatever unit.
        told = {"tokens": float(keep.sum())}
        return Verdict(status=Status.PASS, reason=f"the same to the bit over {int(keep.sum())} tokens", numbers=told)
    if cell.dtype == "float32":
        return strata.by_float32(candidate, family, values.top_k, baseline=cold)
    found = noise_floor.judge_ratio(
        family.reference,
        family.replicates,
        candidate,
        baseline=cold,
        counted=family.counted,
        k=values.top_k,
        strata=strata_asked,
    )
    verdict = Verdict(
        status=Status(found.decision),
        reason=found.sentence,
        evidence=strata.left_out(found.dropped),
        numbers=strata.ratio_numbers(found),
    )
    foreign = _foreign(cold, candidate, keep, unexplained)
    return _accused(verdict, foreign) if foreign.size and not _misses(family) else verdict


def _foreign(cold: TokenLogprobs, candidate: TokenLogprobs, keep: Flags, unexplained: Flags) -> noise_floor.Ints:
    """Numbers of the sequences whose answer is to another question, from its first token on.

    What rounding may do to an answer it does by degrees: that two lists have less than half of their probable tokens in
    common, it does not. One such answer among many is swapped, or mixed with another, and moves no mean.
    """
    first = keep & (np.cumsum(keep, axis=1) == 1)
    miss = noise_floor.token_kl(noise_floor.restrict(cold, first), candidate).miss
    return np.flatnonzero(miss.any(axis=1) & unexplained)


def _misses(family: strata.Family) -> bool:
    """Whether the replicates themselves disagree so much, as they may where nothing is probable."""
    return any(noise_floor.token_kl(family.reference, run).miss.any() for run in family.replicates.values())


def _accused(verdict: Verdict, foreign: noise_floor.Ints) -> Verdict:
    count = f"{len(foreign)} answers share" if len(foreign) > 1 else "1 answer shares"
    said = f"{count} less than half of the probable tokens with what is answered alone, first at sequence {foreign[0]}"
    numbers = {**verdict.numbers, "foreign": float(len(foreign))}
    if verdict.status is Status.FAIL:
        return msgspec.structs.replace(verdict, reason=f"{said}; {verdict.reason}", numbers=numbers)
    return msgspec.structs.replace(verdict, status=Status.FAIL, reason=said, numbers=numbers)


def _by_text(tables: Mapping[str, Table], way: Way, values: Ways, cell: Cell, strata_asked: int) -> Verdict:
    """Texts alone: they may part only where the reference finds two tokens nearly a tie."""
    keep = tables[way.name]["compared"]
    family = strata.family_of(tables[REFERENCE], keep, cell.dtype)
    tau = noise_floor.noise_tau(family.reference, family.replicates)
    gap = _gap(family.reference, tables[way.name])
    parted, unexplained = _parted(tables[way.name], tables[COLD], gap, tau)
    found = noise_floor.judge_partings(
        int(unexplained.sum()), int(parted.sum()), int(keep.sum()), alpha=noise_floor.MARGIN_FAIL_ALPHA / strata_asked
    )
    numbers = {"unexplained": float(unexplained.sum()), "parted": float(parted.sum()), "tokens": float(keep.sum())}
    return Verdict(status=Status(found.decision), reason=found.sentence, numbers=numbers)


def _run(table: Table) -> TokenLogprobs:
    return TokenLogprobs(**{name: table[name] for name in ("target_logprobs", "top_ids", "top_logprobs")})


def _same(cold: TokenLogprobs, candidate: TokenLogprobs, keep: Flags) -> bool:
    pairs = ((cold.target_logprobs, candidate.target_logprobs), (cold.top_logprobs, candidate.top_logprobs))
    return all(np.array_equal(one[keep], other[keep]) for one, other in pairs)


def _gap(run: TokenLogprobs, table: Table) -> noise_floor.Floats:
    """[S, N]: how much likelier a run finds its own target than what was chosen; unlisted ids count as the least."""
    listed = np.where(run.top_ids >= 0, run.top_logprobs, np.nan)
    here = np.where(run.top_ids == table["chosen"][..., None], listed, np.nan)
    with np.errstate(all="ignore"):
        least = np.where(np.isnan(listed), np.inf, listed).min(axis=-1, initial=np.inf)
        found = np.where(np.isnan(here), -np.inf, here).max(axis=-1, initial=-np.inf)
        return np.asarray(run.target_logprobs - np.where(np.isneginf(found), least, found))


def _parted(table: Table, cold: Table, gap: noise_floor.Floats, tau: float) -> tuple[Flags, Flags]:
    """[S] each: answers with another token than the cold one, and those where no rounding can close the gap."""
    other = table["compared"] & (table["chosen"] != cold["chosen"])
    wide = other & ~(np.abs(gap) <= noise_floor.HARD_MARGIN * tau)
    return other.any(axis=1), wide.any(axis=1)
