"""Context: wrong beyond a window, wrong where decode crosses it, and right on its two sides."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from tokenizers import Tokenizer
from tokenizers.models import BPE

from matrix.cells import Cell
from matrix.results import Status, Table, Verdict
from probes import breakpoints, context
from probes.context import Stretch, stretches
from probes.probe import Bench
from runners.engine import Engine
from tests.fake_engine import adapter, bench

WINDOW = 128
CELL = bench.with_workload(context_sequences=16, context_longest=400)
EVERY = f"below {WINDOW}, beyond {WINDOW}, a copy from beyond {WINDOW}, decode across {WINDOW}"


def verdict_of(engine: Engine, folder: Path, cell: Cell = CELL, **config: object) -> Verdict:
    """The verdict on a model with such a config."""
    (folder / "config.json").write_text(json.dumps(config))
    on = bench.bench(cell.device.workload)
    checkpoint = msgspec.structs.replace(on.reference.checkpoint, folder=folder)
    on = msgspec.structs.replace(on, reference=msgspec.structs.replace(on.reference, checkpoint=checkpoint))
    return bench.verdict_of(context.PROBE, engine, folder, cell=cell, on=on)


def test_an_engine_that_is_right_on_both_sides_passes(tmp_path: Path) -> None:
    """And the sentence says where it was asked."""
    verdict = verdict_of(adapter.fake_engine("window-lost=0", "decode-crossing=0"), tmp_path, sliding_window=WINDOW)
    assert (verdict.status, verdict.reason) == (Status.PASS, f"right in 4 stretches up to 177 tokens: {EVERY}")


def test_what_is_lost_beyond_a_window_is_found_beyond_it_alone(tmp_path: Path) -> None:
    """Its two sides have verdicts of their own."""
    verdict = verdict_of(adapter.fake_engine(f"window-lost={WINDOW}"), tmp_path, sliding_window=WINDOW)
    assert verdict.status is Status.FAIL
    assert verdict.reason.startswith(f"beyond {WINDOW}: ")
    assert f"a copy from beyond {WINDOW}: " in verdict.reason
    assert verdict.reason.endswith(f"right: below {WINDOW}, decode across {WINDOW}")


def test_what_goes_wrong_where_decode_crosses_is_found_there(tmp_path: Path) -> None:
    """A prompt of any length is answered rightly, and one that grows past the window is not."""
    verdict = verdict_of(adapter.fake_engine(f"decode-crossing={WINDOW}"), tmp_path, sliding_window=WINDOW)
    assert verdict.status is Status.FAIL
    assert verdict.reason.startswith(f"decode across {WINDOW}: ")
    assert verdict.reason.endswith(f"right: below {WINDOW}, beyond {WINDOW}, a copy from beyond {WINDOW}")


def test_an_engine_of_text_alone_is_judged_by_what_it_generates(tmp_path: Path) -> None:
    """Its margins, where decode forgets."""
    wrong = verdict_of(adapter.fake_engine(f"decode-crossing={WINDOW}", takes="text"), tmp_path, sliding_window=WINDOW)
    assert wrong.status is Status.FAIL
    assert wrong.reason.startswith(f"decode across {WINDOW}: ")
    healthy = verdict_of(adapter.fake_engine("decode-crossing=0", takes="text"), tmp_path, sliding_window=WINDOW)
    beyond = f"beyond {WINDOW}, a copy from beyond {WINDOW}, decode across {WINDOW}"
    assert (healthy.status, healthy.reason) == (Status.PASS, f"right in 3 stretches up to 177 tokens: {beyond}")


class Merging(bench.StandIn, frozen=True, kw_only=True):
    """A corpus of b's and then a's, and a tokenizer that reads a and b as one token: so is every joint read."""

    def corpus(self, first: int = 0, count: int | None = None) -> Table:
        halves = [(1,) * (16 + n) + (0,) * (16 + n) for n in range(count or self.workload.corpus_sequences)]
        return bench.arrays(halves, [1] * len(halves))

    def tokenizer(self) -> Tokenizer:
        return Tokenizer(BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))


@pytest.mark.parametrize(("takes", "joint"), [("token-ids", (0, 1)), ("text", (2,))])
def test_pieces_are_joined_as_the_engine_reads_them(takes: str, joint: tuple[int, ...], tmp_path: Path) -> None:
    """An engine of text alone would read other tokens at every joint; its sequences hold those, and lose none."""
    engine = adapter.fake_engine(takes="text" if takes == "text" else "token-ids")
    plain = bench.bench().reference
    on = Bench(reference=Merging(**msgspec.structs.asdict(plain)), watch=plain.watch)
    stretch = Stretch(name="at 100", kind="text", length=100, judged=8)
    with bench.launched(engine, tmp_path) as server:
        made = context.sequences_of(server, on, stretch, 8, 0)
    assert [len(ids) for ids in made] == [100] * 8
    assert made[0][: 31 + len(joint)] == (1,) * 16 + (0,) * 15 + joint


def test_a_breakpoint_that_was_not_reached_is_not_green(tmp_path: Path) -> None:
    """All that was asked is right, and the sentence says what was not."""
    verdict = verdict_of(
        adapter.fake_engine(), tmp_path, sliding_window=WINDOW, rope_scaling={"original_max_position_embeddings": 400}
    )
    beyond = (
        "of what changes with length, 400 (original_max_position_embeddings) lies beyond what is asked of this device"
    )
    assert (verdict.status, verdict.reason.endswith(beyond)) == (Status.UNDECIDED, True)


def test_a_model_whose_length_changes_nothing_is_skipped_where_no_length_is_asked(tmp_path: Path) -> None:
    """Nothing was asked, and that is said."""
    verdict = verdict_of(adapter.fake_engine(), tmp_path)
    assert (verdict.status, verdict.reason) == (Status.SKIP, "nothing is asked of this device at any length")


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"sliding_window": 512, "max_position_embeddings": 32768}, {512: "sliding_window"}),
        ({"sliding_window": 4096, "use_sliding_window": False}, {}),
        ({"sliding_window": None}, {}),
        ({"text_config": {"attention_chunk_size": 64}, "vision_config": {"window_size": 112}},
         {64: "attention_chunk_size"}),
        ({"rope_parameters": {"full": {"original_max_position_embeddings": 4096}}, "sliding_window": 4096},
         {4096: "original_max_position_embeddings, sliding_window"}),
        ({"mamba_chunk_size": 256, "index_topk": 2048}, {256: "mamba_chunk_size", 2048: "index_topk"}),
        ({"sliding_window": True}, {}),
    ],
)  # fmt: skip
def test_breakpoints_are_read_from_a_config(config: dict[str, object], found: dict[int, str], tmp_path: Path) -> None:
    """At any depth, but for the parts that no text goes through."""
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert breakpoints.of_checkpoint(tmp_path) == found


def test_no_stretch_is_longer_than_may_be_asked_nor_too_short_to_hold_what_it_asks() -> None:
    """Each has tokens before those that are judged."""
    found = stretches([16, 512, 4096], [1024], 1500)
    assert all(one.given > 1 and one.length <= 1500 for one in found)
    assert {one.name for one in found if "4096" in one.name} == set()
    assert [one.name for one in found if "1024" in one.name] == ["at 1024", "a copy over 1024"]
