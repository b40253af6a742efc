"""Accused engines compared with each other on disk: run folders as a run, or a night's artifacts, leave them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

import commands.results
from matrix.cells import Cell
from matrix.results import (
    Measurement,
    Status,
    Table,
    Verdict,
    read_measurement,
    read_result,
    write_measurement,
    write_result,
)
from probes import arbitrate, correctness, rejudge
from probes.noise_floor import TokenLogprobs
from probes.noise_floor.arbitration import REFERENCE_LINEAGE, Suspicion
from runners import registry
from tests.fake_engine.bench import CELL
from tests.probes.noise_floor.synthetic import Array, World
from tests.reports.samples import result

ENGINES = registry.engines()
VLLM, SGLANG, LLAMA, TRANSFORMERS = "vllm", "sglang", "llama-cpp-python", "transformers"


@pytest.fixture(scope="module")
def world() -> World:
    return World(5, sequences=16, columns=63)


@pytest.fixture(scope="module")
def corpus(world: World) -> Table:
    """The world as the reference program writes it."""
    rows = len(world.targets)
    table: Table = {
        "token_ids": np.concatenate([np.zeros((rows, 1), np.int64), world.targets], axis=1).astype(np.int32),
        "lengths": np.full(rows, world.targets.shape[1] + 1, np.int32),
        "prompt_lengths": np.ones(rows, np.int32),
        "metadata": np.array("{}"),
    }
    for name, run in {"reference": world.reference, **world.replicates()}.items():
        table |= {f"{name}/{key}": array for key, array in arrays(run).items()}
    return table


def arrays(run: TokenLogprobs) -> Table:
    return {name: getattr(run, name) for name in ("target_logprobs", "top_ids", "top_logprobs")}


def fault(world: World, seed: int) -> Array:
    return np.asarray(3.0 * world.size * np.random.default_rng(seed).standard_normal(world.logits.shape))


def cell_of(engine: str, config: str = "default") -> Cell:
    release = msgspec.structs.replace(CELL.release, engine=engine, version="1.0")
    model = msgspec.structs.replace(CELL.model, unpublished=False)  # or no night would collect it
    of_config = msgspec.structs.replace(CELL.config, id=config)
    return msgspec.structs.replace(CELL, release=release, model=model, config=of_config)


def put(
    run: Path, engine: str, world: World, corpus: Table, wrong: Array | float,
    *, config: str = "default", sequences: slice = slice(None), minute: int = 0,
) -> Path:  # fmt: skip
    """Measure an engine with this fault in the prefill, judge it as a run does, and store both."""
    said = arrays(world.run(world.noisy() + wrong))
    asked = {name: array[sequences] if array.ndim else array for name, array in corpus.items()}
    tables = {
        "corpus": asked,
        "prefill": {name: array[sequences] for name, array in said.items()},
        "decode reference": corpus,
        "decode": arrays(world.run(world.noisy())),
    }
    values = {"top_k": 20, "prefill": True, "decode": "logprobs"}
    cell = cell_of(engine, config)
    path = write_measurement(run, cell.id, "correctness", Measurement(values=values, tables=tables))
    verdict = correctness.PROBE.judge(read_measurement(path), cell)
    return store(run, cell, verdict, path.name, minute)


def store(run: Path, cell: Cell, verdict: Verdict, measurement: str | None, minute: int = 0) -> Path:
    made = result("correctness", of=cell, minute=minute, run_id=run.name)
    return write_result(
        run,
        msgspec.structs.replace(
            made, verdict=verdict, measurement=measurement, probe_version=correctness.PROBE.version, tier="correctness"
        ),
    )


def statuses(*paths: Path) -> list[Status]:
    return [read_result(path).verdict.status for path in paths]


def test_accused_engines_that_agree_are_accused_no_longer(world: World, corpus: Table, tmp_path: Path) -> None:
    """The sentence names them, how closely they agree, and what each was accused of; the numbers stay."""
    wrong = fault(world, 7)
    vllm, llama = (put(tmp_path, name, world, corpus, wrong) for name in (VLLM, LLAMA))
    before = read_result(vllm)
    assert before.verdict.status is Status.FAIL
    rewritten = arbitrate.arbitrate([tmp_path], ENGINES)
    assert {one.cell_id for one in rewritten} == {vllm.parent.name, llama.parent.name}
    assert statuses(vllm, llama) == [Status.REF_SUSPECT, Status.REF_SUSPECT]
    after = read_result(vllm)
    assert after.verdict.reason.startswith(
        "llama-cpp-python-1.0 and vllm-1.0, of different lineage, agree with each other ("
    )
    assert (
        " x the rounding noise between two runs) and both differ from the reference; prefill: " in after.verdict.reason
    )
    assert after.verdict.evidence["judged alone"] == f"FAIL: {before.verdict.reason}"
    assert after.verdict.numbers == before.verdict.numbers
    assert (after.measurement, after.provenance) == (before.measurement, before.provenance)


def test_doing_it_twice_changes_nothing(world: World, corpus: Table, tmp_path: Path) -> None:
    """Whoever is suspected with the reference is no longer accused."""
    wrong = fault(world, 7)
    path, _ = (put(tmp_path, name, world, corpus, wrong) for name in (VLLM, LLAMA))
    arbitrate.arbitrate([tmp_path], ENGINES)
    once = path.read_bytes()
    assert arbitrate.arbitrate([tmp_path], ENGINES) == []
    assert path.read_bytes() == once


def test_a_suspected_result_is_explained_by_its_measurement(world: World, corpus: Table, tmp_path: Path) -> None:
    """Judged again, alone, the engine gets the verdict that it had alone: nothing has changed."""
    wrong = fault(world, 7)
    path, _ = (put(tmp_path, name, world, corpus, wrong) for name in (VLLM, LLAMA))
    arbitrate.arbitrate([tmp_path], ENGINES)
    again = rejudge.rejudge(tmp_path, read_result(path), {"correctness": correctness.PROBE})
    assert again is not None and again.same
    assert again.verdict.status is Status.FAIL
    other = msgspec.structs.replace(again, verdict=msgspec.structs.replace(again.verdict, status=Status.DEGRADED))
    assert not other.same


@pytest.mark.parametrize(
    ("engines", "seeds"),
    [((VLLM, LLAMA), (7, 8)), ((VLLM, SGLANG), (7, 7)), ((VLLM, TRANSFORMERS), (7, 7))],
    ids=["faults of their own", "shared code", "the reference's own code"],
)
def test_whoever_has_no_independent_witness_stays_accused(
    engines: tuple[str, str], seeds: tuple[int, int], world: World, corpus: Table, tmp_path: Path
) -> None:
    """Different faults, or the same one in engines that share code."""
    paths = [put(tmp_path, name, world, corpus, fault(world, seed)) for name, seed in zip(engines, seeds, strict=True)]
    assert arbitrate.arbitrate([tmp_path], ENGINES) == []
    assert statuses(*paths) == [Status.FAIL, Status.FAIL]


def test_an_engine_that_is_right_is_no_witness(world: World, corpus: Table, tmp_path: Path) -> None:
    """One accused engine among healthy ones is wrong by itself."""
    paths = [put(tmp_path, VLLM, world, corpus, fault(world, 7)), put(tmp_path, LLAMA, world, corpus, 0.0)]
    assert arbitrate.arbitrate([tmp_path], ENGINES) == []
    assert statuses(*paths) == [Status.FAIL, Status.PASS]


def test_accused_for_what_they_generated_they_are_not_compared_where_both_are_right(
    world: World, corpus: Table, tmp_path: Path
) -> None:
    """Two decode faults: that the corpus is scored rightly by both says nothing about the reference."""
    paths = [put(tmp_path, name, world, corpus, 0.0) for name in (VLLM, LLAMA)]
    for path in paths:
        found = read_result(path)
        verdict = msgspec.structs.replace(found.verdict, status=Status.FAIL, reason="decode: wrong")
        write_result(tmp_path, msgspec.structs.replace(found, verdict=verdict))
    assert arbitrate.arbitrate([tmp_path], ENGINES) == []
    assert statuses(*paths) == [Status.FAIL, Status.FAIL]


def test_configs_are_apart(world: World, corpus: Table, tmp_path: Path) -> None:
    """Another config is another question."""
    wrong = fault(world, 7)
    put(tmp_path, VLLM, world, corpus, wrong)
    put(tmp_path, LLAMA, world, corpus, wrong, config="parity")
    assert arbitrate.arbitrate([tmp_path], ENGINES) == []


def test_engines_that_were_asked_for_more_are_compared_where_both_were_asked(
    world: World, corpus: Table, tmp_path: Path
) -> None:
    """One was undecided at first and scored further sequences; the shared ones count, in whatever order."""
    wrong = fault(world, 7)
    put(tmp_path, VLLM, world, corpus, wrong)
    put(tmp_path, LLAMA, world, corpus, wrong, sequences=slice(None, 3, -1))
    assert len(arbitrate.arbitrate([tmp_path], ENGINES)) == 2


def test_jobs_of_a_night_are_brought_together(world: World, corpus: Table, tmp_path: Path) -> None:
    """Each release runs in a job, and so in a run, of its own; each result is rewritten in its own run."""
    wrong = fault(world, 7)
    paths = [put(tmp_path / name, name, world, corpus, wrong) for name in (VLLM, LLAMA)]
    arbitrate.arbitrate(sorted(tmp_path.glob("*")), ENGINES)
    assert statuses(*paths) == [Status.REF_SUSPECT, Status.REF_SUSPECT]


def test_collecting_a_night_compares_its_engines(
    world: World, corpus: Table, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What arrives on the data branch accuses nobody, and a second time nothing changes."""
    incoming, data = tmp_path / "incoming", tmp_path / "data"
    wrong = fault(world, 7)
    paths = [put(incoming / name, name, world, corpus, wrong) for name in (VLLM, LLAMA)]
    kept = [data / path.relative_to(incoming) for path in paths]
    commands.results.collect(incoming, data)
    assert statuses(*kept) == [Status.REF_SUSPECT, Status.REF_SUSPECT]
    said = capsys.readouterr().out
    assert f"{paths[0].parent.name}: REF-SUSPECT: llama-cpp-python-1.0 and vllm-1.0, of different lineage" in said
    commands.results.collect(incoming, data)
    assert capsys.readouterr().out == "0 new files, 2 known already\n"


def test_the_newest_answer_of_a_cell_counts(world: World, corpus: Table, tmp_path: Path) -> None:
    """A job that was tried again and passed takes its engine out; one that could not measure does not."""
    wrong = fault(world, 7)
    vllm = put(tmp_path / "1", VLLM, world, corpus, wrong)
    put(tmp_path / "1", LLAMA, world, corpus, wrong)
    put(tmp_path / "2", LLAMA, world, corpus, 0.0, minute=1)
    store(tmp_path / "3", cell_of(VLLM), Verdict(status=Status.ERROR, reason="disk full"), None, minute=2)
    assert arbitrate.arbitrate(sorted(tmp_path.glob("*")), ENGINES) == []
    assert statuses(vllm) == [Status.FAIL]


def test_an_engine_that_fell_back_on_transformers_classes_bears_nothing_out(
    world: World, corpus: Table, tmp_path: Path
) -> None:
    """It runs the reference's own code, and an engine that agrees with it agrees with the reference's lineage."""
    wrong = fault(world, 7)
    vllm, llama = (put(tmp_path, name, world, corpus, wrong) for name in (VLLM, LLAMA))
    write_measurement(tmp_path, cell_of(VLLM).id, "loading", Measurement(values={"fell_back": True}))
    assert arbitrate.arbitrate([tmp_path], ENGINES) == []
    assert statuses(vllm, llama) == [Status.FAIL, Status.FAIL]


def test_what_cannot_be_read_takes_no_part(world: World, corpus: Table, tmp_path: Path) -> None:
    """No measurement, no scored corpus, a damaged result: nobody is cleared, and the rest goes on."""
    wrong = fault(world, 7)
    path = put(tmp_path, VLLM, world, corpus, wrong)
    bare = Verdict(status=Status.FAIL, reason="text alone")
    store(tmp_path, cell_of("alpha"), bare, None)
    store(tmp_path, cell_of("beta"), bare, "lost.measurement.json")
    write_measurement(tmp_path, cell_of("gamma").id, "correctness", Measurement(values={"top_k": 0}))
    store(tmp_path, cell_of("gamma"), bare, "correctness.measurement.json")
    store(tmp_path, cell_of("delta"), bare, None).write_text("{")
    assert arbitrate.arbitrate([tmp_path], ENGINES) == []
    assert statuses(path) == [Status.FAIL]


def test_nothing_is_read_where_nothing_is(tmp_path: Path) -> None:
    """A folder that is not there, or holds a file."""
    (tmp_path / "7.night.json").write_text("{}")
    assert arbitrate.arbitrate([tmp_path / "nowhere", tmp_path / "7.night.json"], ENGINES) == []


def test_every_engine_says_whose_code_it_runs() -> None:
    """Left out, it is the engine's own; SGLang's began as vLLM's; the reference runs transformers'."""
    lineages: dict[str, str] = {name: ENGINES[name].lineage for name in (VLLM, SGLANG, LLAMA, TRANSFORMERS)}
    assert lineages == {
        VLLM: "vllm", SGLANG: "vllm", LLAMA: "llama.cpp", TRANSFORMERS: REFERENCE_LINEAGE
    }  # fmt: skip


@pytest.mark.parametrize(
    ("engines", "words"),
    [
        (("a", "b"), "a and b, of different lineage, agree with each other (0.9 x the rounding noise between two "
         "runs) and both differ from the reference"),
        (("a", "b", "c"), "a, b and c, of different lineage, agree with each other (0.9 x the rounding noise between "
         "two runs) and all differ from the reference"),
    ],
)  # fmt: skip
def test_the_sentence_names_all_of_them(engines: tuple[str, ...], words: str) -> None:
    """Two or more."""
    found = Suspicion(engines=engines, smallest=0.9, largest=0.9)
    assert arbitrate.sentence(found) == words


def test_the_sentence_has_both_ends() -> None:
    """Three engines agree more or less closely."""
    found = Suspicion(engines=("a", "b", "c"), smallest=0.91, largest=1.12)
    assert "(0.91 to 1.1 x the rounding noise between two runs)" in arbitrate.sentence(found)
