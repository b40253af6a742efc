"""Context: right on both sides of every length at which the architecture changes what it does, and at length.

A window, a chunk, a scaled RoPE or a choice of keys acts only beyond its length, so each is asked for below it and
beyond it, and only the tokens at the end are judged: what comes before would dilute what goes wrong. Natural text hides
errors of far attention, since most tokens follow from their neighbours; so a block of random tokens is also repeated at
a distance, which nobody goes on with who does not look that far back. And decode crosses each length by itself. One
verdict a length.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

import msgspec
import numpy as np

from matrix.cells import Cell, Record
from matrix.results import Measurement, Status, Table, Verdict
from probes import breakpoints, pooling, state, strata, ways
from probes.client import Client, connect
from probes.correctness import decoded, stack
from probes.probe import Bench, Probe
from probes.strata import Correctness
from runners.engine import Ask, Generation, Prompt, Server

BELOW, BEYOND = 0.75, 1.25
"""Of a breakpoint: the lengths on its two sides."""
SCORED = (8, 64)
"""Tokens at the end that are judged, least and most: a quarter of a breakpoint, which is what lies beyond it."""
BLOCK = (8, 48)
"""Random tokens that are repeated, least and most: an eighth of a breakpoint."""
SEEN = 4
"""Of the second copy, what is not judged: it says which block it is."""
GENERATED = 32
GENERATED_AS_TEXT = 128
"""Where there are no logprobs: a clean PASS by margins takes some 900 tokens."""
SPARE = 8
"""One token more for so many: what joining pieces may cost an engine of text alone."""
CROSSING_FROM = 8
"""Tokens before a breakpoint at which decode begins."""

Kind = Literal["text", "copy", "decode"]


class Stretch(Record, frozen=True, kw_only=True):
    """What is asked at one length."""

    name: str
    kind: Kind
    length: int
    """Tokens of a whole sequence, or of the prompt where decode crosses a breakpoint."""
    judged: int = 0
    """Tokens at the end that are judged; where decode crosses, those that are generated."""
    block: int = 0
    """Of a copy: its length."""
    ends_below: bool = False
    """Whether one that went on would reach the breakpoint that it lies below."""

    @property
    def given(self) -> int:
        """Tokens before those that are judged."""
        return self.length - self.judged


class Context(Record, frozen=True, kw_only=True):
    """The measurement's values; the arrays of a stretch are the tables of its name and `<name> reference`."""

    top_k: int
    scored: bool
    """True: given tokens, teacher-forced; False: what the engine generated after them."""
    stretches: tuple[Stretch, ...]
    reached: int
    """The longest sequence that was asked for."""
    unreached: dict[str, str]
    """Breakpoints beyond what this device or this model is asked, and their keys."""
    texts: dict[str, tuple[int, int]] = {}
    """Of each stretch that was answered with text: texts, and those that do not give their token ids back."""
    launched: bool = True
    """False: the server is somebody else's, and cannot be started anew."""
    confirmation: Context | None = None


# --- what is asked ----------------------------------------------------------------------------------------


def stretches(points: Sequence[int], lengths: Sequence[int], longest: int) -> list[Stretch]:
    """What can be asked within a longest sequence, for these breakpoints and at these lengths."""
    found = []
    for point in points:
        below, beyond = int(BELOW * point), int(BEYOND * point)
        found.append(msgspec.structs.replace(_text(f"below {point}", below, point), ends_below=True))
        found.append(_text(f"beyond {point}", beyond, point))
        found.append(_copy(f"a copy from beyond {point}", beyond, point))
        found.append(Stretch(name=f"decode across {point}", kind="decode", length=point - CROSSING_FROM))
    for length in lengths:
        found += [_text(f"at {length}", length, length), _copy(f"a copy over {length}", length, length)]
    return [one for one in found if one.given - one.block > 1 and one.length <= longest]


def _text(name: str, length: int, point: int) -> Stretch:
    return Stretch(name=name, kind="text", length=length, judged=int(np.clip(point // 4, *SCORED)))


def _copy(name: str, distance: int, point: int) -> Stretch:
    block = int(np.clip(point // 8, *BLOCK))
    return Stretch(name=name, kind="copy", length=1 + distance + block, judged=block - SEEN, block=block)


def repeated(
    text: tuple[int, ...], block: int, random: np.random.Generator, drawable: Sequence[int]
) -> tuple[int, ...]:
    """A text that begins and ends with the same random tokens, behind its first one: a model may want its BOS."""
    ids = tuple(random.choice(drawable, block).tolist())
    return (text[0], *ids, *text[1 + block : len(text) - block], *ids)


def measure(server: Server, cell: Cell, bench: Bench) -> Measurement:
    """Every stretch that the model has and the device can."""
    work = cell.device.workload
    points = breakpoints.of_checkpoint(bench.reference.checkpoint.folder)
    longest = min(work.context_longest, cell.model.context_length) - generated_tokens(server)
    asked = stretches(tuple(points), work.context_lengths, longest)
    if not server.engine.max_top_k:
        # A verdict by margins takes more tokens than fit below a breakpoint; correctness has asked that.
        asked = [one for one in asked if not one.ends_below]
    unreached = {
        str(point): keys for point, keys in points.items()
        if point < cell.model.context_length and not any(one.name == f"beyond {point}" for one in asked)
    }  # fmt: skip
    tables: dict[str, Table] = {}
    texts: dict[str, tuple[int, int]] = {}
    for number, one in enumerate(asked):
        sequences = sequences_of(server, bench, one, work.context_sequences * bench.look.size, number)
        found, count = asyncio.run(_stretch(server, bench, one, sequences))
        tables |= found
        texts[one.name] = count
    values = Context(
        top_k=server.engine.max_top_k,
        scored=server.engine.score is not None,
        stretches=tuple(asked),
        reached=max((one.length for one in asked), default=0),
        unreached=unreached,
        texts=texts,
        launched=server.log_path is not None,
    )
    return Measurement(values=msgspec.to_builtins(values), tables=tables)


def sequences_of(server: Server, bench: Bench, one: Stretch, count: int, number: int) -> list[tuple[int, ...]]:
    """Distinct sequences of a stretch's length, `count` at most; `number` says what is drawn for them."""
    random = np.random.default_rng([bench.look.start, number])
    drawable = ways.drawable(server, bench) if one.block else ()

    def cut(corpus: Table) -> list[tuple[int, ...]]:
        texts = _texts(corpus, one.length, server, bench)
        return [repeated(text, one.block, random, drawable) if one.block else text for text in texts]

    return ways.prompts(server, bench, cut)[:count]


def _texts(corpus: Table, length: int, server: Server, bench: Bench) -> list[tuple[int, ...]]:
    """Pieces of the corpus joined to a length; for an engine of text alone, as its tokenizer reads the joints."""
    if server.engine.prompts == "token-ids":
        return state.cut(corpus, length)
    tokenizer = bench.reference.tokenizer()
    read = [ways.retokenized(tokenizer, ids)[:length] for ids in state.cut(corpus, length + length // SPARE)]
    return [ids for ids in read if len(ids) == length]


async def _stretch(
    server: Server, bench: Bench, one: Stretch, sequences: Sequence[tuple[int, ...]]
) -> tuple[dict[str, Table], tuple[int, int]]:
    """The two tables of a stretch, and how many texts there were and were lost."""
    start = one.given
    async with connect(server, bench.watch, vocabulary=bench.reference.coverage().rows) as client:
        if server.engine.score is not None and one.kind != "decode":
            scores = [await client.score(ids, server.engine.max_top_k) for ids in sequences]
            reference = bench.reference.score(sequences, [start] * len(sequences))
            width = reference["token_ids"].shape[1] - 1
            return {f"{one.name} reference": reference, one.name: stack(scores, width=width)}, (0, 0)
        tokens = one.judged if one.judged and server.engine.max_top_k else generated_tokens(server)
        made = [await _generate(client, server, bench, ids[:start], tokens) for ids in sequences]
    tables = decoded(server, bench, [ids[:start] for ids in sequences], made, one.name)
    kept = len(tables[f"{one.name} reference"]["lengths"]) if tables else 0
    return tables, (len(made), len(made) - kept)


def generated_tokens(server: Server) -> int:
    """Where decode crosses a breakpoint; everywhere where there are no logprobs."""
    return GENERATED if server.engine.max_top_k else GENERATED_AS_TEXT


async def _generate(client: Client, server: Server, bench: Bench, prompt: tuple[int, ...], tokens: int) -> Generation:
    text = bench.reference.tokenizer().decode(list(prompt), skip_special_tokens=False)
    ask = Ask(
        model=server.model,
        prompt=Prompt(token_ids=prompt, text=text),
        max_tokens=tokens,
        top_k=server.engine.max_top_k,
        ignore_eos=True,
    )
    return await client.generate(ask)


# --- what it means ----------------------------------------------------------------------------------------


def pool(first: Measurement, second: Measurement) -> Measurement:
    """Two looks as one."""
    one, other = (msgspec.convert(found.values, Context) for found in (first, second))
    texts = {
        name: (count[0] + other.texts[name][0], count[1] + other.texts[name][1]) for name, count in one.texts.items()
    }
    values = msgspec.structs.replace(one, texts=texts)
    tables = {
        name: pooling.stacked(table, second.tables[name]) if name in second.tables else table
        for name, table in first.tables.items()
    }
    return Measurement(values=msgspec.to_builtins(values), tables=tables)


def judge(measurement: Measurement, cell: Cell) -> Verdict:
    """The worst stretch; green only where every breakpoint of the model was gone beyond."""
    values = msgspec.convert(measurement.values, Context)
    verdict = _judge(measurement.tables, values, cell)
    if values.confirmation is None:
        return verdict
    again = _judge(pooling.confirmation(measurement.tables), values.confirmation, cell)
    return strata.borne_out(verdict, again, values.launched)


def _judge(tables: Mapping[str, Table], values: Context, cell: Cell) -> Verdict:
    beyond = ", ".join(f"{length} ({keys})" for length, keys in values.unreached.items())
    limit = f"of what changes with length, {beyond} lies beyond what is asked of this device" if beyond else ""
    if not values.stretches:
        said = limit or "nothing is asked of this device at any length"
        return Verdict(status=Status.UNDECIDED if limit else Status.SKIP, reason=said)
    asked = {
        one.name: partial(_stretch_verdict, tables, one, values, cell)
        for one in values.stretches
        if f"{one.name} reference" in tables
    }
    unread = [one.name for one in values.stretches if one.name not in asked]
    if not asked:
        return Verdict(status=Status.UNDECIDED, reason="no generated text gives its token ids back")
    verdicts = strata.step_down(asked)
    worst = strata.worst_of(verdicts)
    if worst.status is not Status.PASS:
        told = [f"{name}: {found.reason}" for name, found in verdicts.items() if found.status is worst.status]
        right = [name for name, found in verdicts.items() if found.status is Status.PASS]
        said = "; ".join((*told, f"right: {', '.join(right)}" if right else "right nowhere"))
        return msgspec.structs.replace(worst, reason=said)
    said = f"right in {len(verdicts)} stretches up to {values.reached} tokens: {', '.join(verdicts)}"
    if limit or unread:
        lost = f"not readable: {', '.join(unread)}" if unread else ""
        said = "; ".join(filter(None, (said, limit, lost)))
        return msgspec.structs.replace(worst, status=Status.UNDECIDED, reason=said)
    return msgspec.structs.replace(worst, reason=said)


def _stretch_verdict(tables: Mapping[str, Table], one: Stretch, values: Context, cell: Cell, count: int) -> Verdict:
    reference = tables[f"{one.name} reference"]
    family = strata.family_of(reference, strata.generated(reference), cell.dtype)
    if one.name in tables:
        return strata.by_logprobs(tables[one.name], family, values.top_k, {}, cell, count)
    texts, unusable = values.texts[one.name]
    told = Correctness(top_k=0, prefill=False, decode="text", texts=texts, unusable_texts=unusable)
    return strata.by_text(family, told, cell, count)


PROBE = Probe(
    name="context",
    version=1,
    tier="standard",
    by_reference=True,
    order=5,
    deadline_s=1800,
    measure=measure,
    judge=judge,
    sequential=strata.sequential(pool),
)
