"""The microscope's page: a row a checkpoint, a column an engine, a sentence for all that is not right."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec

from matrix.cells import Cell, RecipeSource
from matrix.results import Result, Status
from reports import microscope, runs
from reports.cost import Cost
from reports.grid import grid
from reports.standing import standing
from tests.reports.samples import cell, result, whole_cell

RATIOS = {
    "prefill_rms": 3e-6, "prefill_noise_rms": 2e-6, "prefill_largest": 4e-5, "prefill_noise_largest": 2e-5,
    "prefill_nonfinite": 0.0,
}  # fmt: skip


def tiny(engine: str, *, text_only: bool = False) -> Cell:
    plain = cell(engine, config="float32")
    model = msgspec.structs.replace(
        plain.model, id="tiny-x", source=RecipeSource(recipe="x"), architecture="XForCausalLM", text_only=text_only
    )
    return msgspec.structs.replace(plain, model=model)


def page(results: list[Result]) -> str:
    spent = Cost(total_s=5400.0, parts_s={}, harness_s=0.0, cells=1)
    run = runs.Run(
        run_id="one", folder=Path("one"), results=tuple(results), timings=(), cost=spent,
        log_tails=(), files=(), unreadable=(),
    )  # fmt: skip
    return microscope.render(grid(standing(results)), [run], made_at=dt.datetime(2026, 1, 3, tzinfo=dt.UTC))


def test_a_right_square_says_how_far_off_it_is() -> None:
    """The larger of its ratios to float32's own rounding."""
    of = tiny("alpha")
    text = page([result("loading", of=of), result("correctness", of=of, numbers=RATIOS)])
    assert "| tiny-x | `XForCausalLM` | 3 right 2 x |" in text
    assert "| alpha-1.0 | 1 | 0 | 0 | 0 | 0 | 0 |" in text
    machine = result("loading").provenance.machine
    assert f"1 checkpoints, 1 classes. 1 run, 90 minutes in all; each engine had {machine}." in text


def test_wrong_absent_and_skipped_are_told_apart_and_each_has_its_sentence() -> None:
    """A crash is not an architecture that an engine does not claim to know, nor what a build leaves out."""
    unknown = "does not know the architecture: Model architectures ['X'] are not supported for now"
    results = [
        *whole_cell(tiny("alpha"), correctness=Status.FAIL),
        result("loading", Status.CRASH, of=tiny("beta"), reason="exited with code 1"),
        result("loading", Status.FAIL, of=tiny("gamma"), reason=unknown),
        result("loading", Status.SKIP, of=tiny("delta"), reason="no kernel on this device"),
        result("correctness", Status.NOTRUN, of=tiny("delta"), reason="the engine had ended before this probe"),
        result("loading", Status.ERROR, of=tiny("epsilon"), reason="the disk is full"),
        *whole_cell(tiny("zeta"), correctness=Status.REF_SUSPECT),
    ]
    text = page(results)
    assert "| **wrong** | **wrong** | skip | grey | 0 absent | suspect |" in text
    assert f"- `tiny-x` on `gamma-1.0`, absent: loading FAIL: {unknown}" in text
    assert "- `tiny-x` on `delta-1.0`, skipped: loading SKIP: no kernel on this device" in text
    assert "- `tiny-x` on `epsilon-1.0`, grey: loading ERROR: the disk is full" in text


def test_released_weights_are_not_on_the_page() -> None:
    """They have a page of their own."""
    assert "small" not in page(whole_cell(cell()))


def test_a_class_with_other_media_is_marked() -> None:
    """What was not asked about is said."""
    assert "| tiny-x\\* |" in page([result("loading", of=tiny("alpha", text_only=True))])
