"""The page of the reference's benchmark says what was measured, met or not."""

from __future__ import annotations

import datetime as dt

from tests.benchmarks.reference import Everything, Measured, Run, document

MADE_AT = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)


def measured(peak_mb: int, seconds: float, difference: float | None) -> Measured:
    run = Run(seconds=seconds, reading_seconds=seconds / 2, peak_bytes=peak_mb * 10**6, bytes=2 * 10**9)
    return Measured(
        name="2 GB", nbytes=2 * 10**9, layer_bytes=100 * 10**6, limit_bytes=500 * 10**6, disk_gb_s=(1.0, 2.0, 1.5),
        runs=(run, run, run), difference=difference, resumed="killed after 3 s", damaged="a.safetensors is damaged",
    )  # fmt: skip


def page(one: Measured) -> str:
    return document(Everything(baseline_bytes=350 * 10**6, checkpoints=(one,)), MADE_AT)


def test_goals_that_were_met() -> None:
    """Peaks are told without what the program takes anyway; rates beside the disk's."""
    assert (
        "| 2 GB | 500 MB | 100 MB | 150 MB | 1.50 | 1.50 GB/s (1.00-2.00) | 1.60 GB/s (1.60-1.60) | 107% | "
        "0.80 GB/s (0.80-0.80) | 53% | 0.0e+00 |\n"
    ) in page(measured(500, 2.5, 0.0))


def test_goals_that_were_missed_are_said_to_be() -> None:
    """More than two layers, less than 70% of the disk, another result than in memory."""
    text = page(measured(600, 5.0, 2e-5))
    assert "| 250 MB | 2.50, missed | 1.50 GB/s (1.00-2.00) | 0.80 GB/s (0.80-0.80) | 53%, missed |" in text
    assert "| 2.0e-05, missed |" in text
