"""The mechanisms that stand for public faults, each with what is the same but right (its null twin).

A fault of numbers that a model's graph can have is put into the graph of a tiny checkpoint (the mutants of `make
bench-mutation`, judged here by whichever probe is for it). What lies in a server's keeping, batching or talking is put
into the fake engine. Nothing here knows a threshold: verdicts are the probes' own.
"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from matrix.cells import Cell, Record, ScriptSource
from matrix.load import Matrix
from matrix.results import Status, Verdict
from probes import batch, context, correctness, loading, protocol, state
from probes.probe import Bench, Probe
from probes.stopwatch import Stopwatch
from runners import claims, failure, http
from runners.engine import Claim
from runners.host import Host
from tests.benchmarks.mutation import running
from tests.benchmarks.mutation.records import Told
from tests.fake_engine import adapter, bench

CAUGHT = frozenset({Status.FAIL, Status.CRASH, Status.TIMEOUT, Status.DEGRADED})
WINDOW = 128
LINGER = "linger=0.03"

PROBES = {
    probe.name: probe
    for probe in (loading.PROBE, correctness.PROBE, state.PROBE, batch.PROBE, context.PROBE, protocol.PROBE)
}
"""Those that a mechanism may be shown to."""


class Mutant(Record, frozen=True, kw_only=True, tag="graph"):
    """A changed graph of a tiny checkpoint; its null twin is changed and changed back."""

    recipe: str
    operator: str
    site: str = ""
    """What its site begins with; the first of that operator where nothing is said."""
    probe: str = "correctness"


class Fake(Record, frozen=True, kw_only=True, tag="server"):
    """Behaviours of the fake engine, and those of its null twin."""

    probe: str
    faulty: tuple[str, ...]
    right: tuple[str, ...]
    model: Literal["free", "scripted", "windowed", "incomplete"] = "free"
    """Scripted: says what is written down; windowed: has a breakpoint; incomplete: its checkpoint lacks a tensor."""
    claim: Claim | None = None
    """What the release's registry is said to say."""


class Shown(Record, frozen=True, kw_only=True):
    """What a probe said of a mechanism and of its null twin."""

    probe: str
    status: str
    reason: str
    twin: str
    twin_reason: str

    @property
    def caught(self) -> bool:
        """The fault is seen, and its twin is not taken for one."""
        return Status(self.status) in CAUGHT and Status(self.twin) is Status.PASS


TOGETHER = (LINGER, "crosstalk=0")
UNKNOWN = Claim(kind="none", name="PocketForCausalLM")
ENDS = "say=ValueError: attention scores cannot be capped by this backend"

MECHANISMS: Mapping[str, Mutant | Fake] = {
    # Numbers.
    "soft cap ignored": Mutant(recipe="gemma-4-31b-it", operator="soft cap"),
    "two layers swapped": Mutant(recipe="gemma-3-1b-it", operator="layers swapped"),
    "RoPE in the other layout": Mutant(recipe="deepseek-v3.2", operator="RoPE layout", probe="context"),
    "scaled RoPE off": Mutant(recipe="gpt-oss-20b", operator="RoPE scaling", probe="context"),
    "scaled RoPE off, Llama": Mutant(recipe="llama-3.2-1b-instruct", operator="RoPE scaling", probe="context"),
    "long RoPE factors missing": Mutant(
        recipe="phi-4-mini-instruct", operator="RoPE lengths and lists", site="long_factor"
    ),
    "RoPE on another share": Mutant(recipe="glm-4.5-air", operator="partial rotary"),
    "window ignored": Mutant(recipe="gemma-3-1b-it", operator="window off", site="sliding_window", probe="context"),
    "attention temperature off": Mutant(
        recipe="llama-4-scout-17b-16e-instruct",
        operator="switch turned",
        site="attn_temperature_tuning",
        probe="context",
    ),
    "expert groups ignored": Mutant(recipe="deepseek-v3.1", operator="expert groups ignored"),
    "router's bias not loaded": Mutant(recipe="ernie-4.5-21b-a3b-pt", operator="router's bias not loaded"),
    "router's bias not in the choice": Mutant(recipe="glm-4.5-air", operator="router's bias not in the choice"),
    "tie broken": Mutant(recipe="llama-3.2-1b-instruct", operator="tie", site="broken"),
    "norm weight without its one": Mutant(recipe="gemma-3-1b-it", operator="weight or 1 + weight"),
    "norm by head for whole": Mutant(recipe="olmo-2-1124-7b", operator="norm by head for whole"),
    "one answer to everything": Fake(probe="correctness", faulty=("constant",), right=("healthy",)),
    "logprobs that are no numbers": Fake(probe="correctness", faulty=("nan",), right=("healthy",)),
    # Loading.
    "architecture unknown": Fake(
        probe="loading",
        faulty=("say=ValueError: Model architectures ['PocketForCausalLM'] are not supported", "exit-loading=1"),
        right=("say=ValueError",),
        claim=UNKNOWN,
    ),
    "ends while it starts": Fake(probe="loading", faulty=(ENDS, "exit-loading=1"), right=(ENDS,)),
    "a package is missing": Fake(
        probe="loading",
        faulty=("say=ModuleNotFoundError: No module named 'blobfile'", "exit-loading=1"),
        right=("healthy",),
    ),
    "wants the network while it starts": Fake(
        probe="loading",
        faulty=("say=ConnectionError: couldn't connect to 'https://huggingface.co'", "exit-loading=1"),
        right=("healthy",),
    ),
    "a tensor stays as it was initialised": Fake(
        probe="loading", faulty=("healthy",), right=("healthy",), model="incomplete"
    ),
    "ends at its first request": Fake(probe="loading", faulty=("die-on-request=1",), right=("healthy",)),
    # What is kept and what is beside.
    "a cached block of another prompt": Fake(probe="state", faulty=("stale-block",), right=TOGETHER),
    "the state of a chunk's beginning": Fake(probe="state", faulty=("chunk-start-state",), right=TOGETHER),
    "answers depend on what is beside them": Fake(probe="batch", faulty=(LINGER, "crosstalk=4"), right=TOGETHER),
    "one answer in forty is another's": Fake(
        probe="batch", faulty=("linger=0.1", "swaps=40"), right=("linger=0.1", "swaps=0")
    ),
    "an error when requests come together": Fake(probe="batch", faulty=(LINGER, "fails-together"), right=TOGETHER),
    "convolution off by one in decode": Fake(probe="correctness", faulty=("conv-off-by-one",), right=("healthy",)),
    # Length.
    "wrong beyond a window": Fake(
        probe="context", faulty=(f"window-lost={WINDOW}",), right=("window-lost=0",), model="windowed"
    ),
    "wrong where decode crosses a length": Fake(
        probe="context", faulty=(f"decode-crossing={WINDOW}",), right=("decode-crossing=0",), model="windowed"
    ),
    "an error beyond a length": Fake(
        probe="context", faulty=(f"fails-beyond={WINDOW}",), right=("fails-beyond=100000",), model="windowed"
    ),
    # Talk.
    "BOS twice": Fake(probe="protocol", faulty=("doubled-bos",), right=("bos-by-tokenizer",)),
    "opening lost from the prompt": Fake(probe="protocol", faulty=("bos-lost",), right=("bos-by-tokenizer",)),
    "tool results lost from the prompt": Fake(probe="protocol", faulty=("tool-result-lost",), right=("healthy",)),
    "an end not heeded": Fake(probe="protocol", faulty=("missing-stop",), right=("healthy",), model="scripted"),
    "calls without arguments lost": Fake(
        probe="protocol", faulty=("empty-call-lost",), right=("respaces",), model="scripted"
    ),
    "tool calls share an id": Fake(probe="protocol", faulty=("same-call-ids",), right=("respaces",), model="scripted"),
    "tool calls left in content": Fake(
        probe="protocol", faulty=("calls-as-content",), right=("respaces",), model="scripted"
    ),
    "thoughts leak into content": Fake(
        probe="protocol", faulty=("leaks-reasoning",), right=("other-field",), model="scripted"
    ),
    "content taken for thoughts": Fake(
        probe="protocol", faulty=("content-as-reasoning",), right=("other-field",), model="scripted"
    ),
    "last token of a stream lost": Fake(
        probe="protocol", faulty=("last-piece-lost",), right=("pieces=4",), model="scripted"
    ),
    "tokens counted twice": Fake(probe="protocol", faulty=("usage-twice",), right=("healthy",)),
    "structure not enforced": Fake(probe="protocol", faulty=("unconstrained",), right=("healthy",)),
}


def show_all(matrix: Matrix, names: list[str], say: Callable[[str], None]) -> dict[str, Shown]:
    """Every mechanism of these names, those of one checkpoint together."""
    found: dict[str, Shown] = {}
    graphs: dict[str, dict[str, Mutant]] = defaultdict(dict)
    for name in names:
        mechanism = MECHANISMS[name]
        if isinstance(mechanism, Mutant):
            graphs[mechanism.recipe][name] = mechanism
            continue
        found[name] = _in_server(mechanism)
        say(f"{name}: {found[name].status}, its twin {found[name].twin}")
    for recipe, mutants in graphs.items():
        for name, shown in _in_graph(matrix, recipe, mutants):
            found[name] = shown
            say(f"{name}: {shown.status}, its twin {shown.twin}")
    return found


# --- in the fake engine -----------------------------------------------------------------------------------


def _in_server(mechanism: Fake) -> Shown:
    faulty, right = (
        _verdict(mechanism, told, fault) for told, fault in ((mechanism.faulty, True), (mechanism.right, False))
    )
    return _shown(mechanism.probe, faulty, right)


def _verdict(mechanism: Fake, told: tuple[str, ...], fault: bool) -> Verdict:
    with tempfile.TemporaryDirectory() as folder:
        cell, on = _stage(mechanism, Path(folder), fault)
        probe, engine = PROBES[mechanism.probe], adapter.fake_engine(*told)
        try:
            with (
                claims.told(mechanism.claim if fault else None),
                bench.launched(engine, Path(folder), cell=cell) as server,
            ):
                return probe.judge(probe.measure(server, cell, on), cell)
        except Exception as error:
            reason, evidence = failure.describe(error)
            return Verdict(status=failure.status_of(error), reason=reason, evidence=evidence)


def _stage(mechanism: Fake, folder: Path, fault: bool) -> tuple[Cell, Bench]:
    """The cell and the bench of a mechanism's model."""
    cell = bench.with_workload(state_sequences=8, batch_sequences=40, context_sequences=16, context_longest=400)
    if mechanism.model == "scripted":
        source = ScriptSource(format="hermes")
        model = msgspec.structs.replace(cell.model, source=source, tools="hermes", reasoning="qwen3")
        cell = msgspec.structs.replace(cell, model=model)
    covered = bench.COVERAGE
    if mechanism.model == "incomplete" and fault:
        covered = msgspec.structs.replace(covered, missing=("layers.0.mlp.down_proj.weight",))
    on = bench.bench(cell.device.workload, covered)
    if mechanism.model == "windowed":
        (folder / "config.json").write_text(json.dumps({"sliding_window": WINDOW}))
        checkpoint = msgspec.structs.replace(on.reference.checkpoint, folder=folder)
        on = msgspec.structs.replace(on, reference=msgspec.structs.replace(on.reference, checkpoint=checkpoint))
    return cell, on


# --- in a model's graph -----------------------------------------------------------------------------------


def _in_graph(matrix: Matrix, recipe: str, mutants: Mapping[str, Mutant]) -> Iterator[tuple[str, Shown]]:
    environment = running.reference_environment(matrix, recipe)
    with (
        Host(environment.python) as host,
        tempfile.TemporaryDirectory() as folder,
        running.opened(matrix, recipe, host, environment, Path(folder) / "server.log") as work,
    ):
        told = msgspec.convert(http.get_json(f"{work.server.base_url}/mutants"), list[Told])
        for name, mutant in mutants.items():
            verdicts = [_judged(work, PROBES[mutant.probe], number) for number in _pair(told, mutant)]
            yield name, _shown(mutant.probe, *verdicts)


def _pair(told: list[Told], mutant: Mutant) -> tuple[int, int]:
    """The numbers of a mutant and of its null twin; LookupError where its checkpoint has none."""
    for number, one in enumerate(told):
        if one.operator == mutant.operator and one.site.startswith(mutant.site) and not one.null:
            twin = next(n for n, other in enumerate(told) if other.null and other.operator == one.operator)
            return number, twin
    raise LookupError(f"{mutant.recipe} has no mutant {mutant.operator!r} at {mutant.site!r}")


def _judged(work: running.Work, probe: Probe, number: int) -> Verdict:
    server = running.mutant(work.server, number)
    try:
        return probe.judge(
            probe.measure(server, work.cell, Bench(reference=work.reference, watch=Stopwatch())), work.cell
        )
    except Exception as error:
        reason, evidence = failure.describe(error)
        return Verdict(status=failure.status_of(error), reason=reason, evidence=evidence)


def _shown(probe: str, fault: Verdict, twin: Verdict) -> Shown:
    return Shown(
        probe=probe, status=fault.status.value, reason=fault.reason, twin=twin.status.value, twin_reason=twin.reason
    )
