"""What a run cost: seconds of wall clock, in all and by part."""

from __future__ import annotations

from matrix.cells import Record

FILE = "cost.json"
"""Where a run keeps it, in its own folder."""


class Cost(Record, frozen=True, kw_only=True):
    """The time of one run; the parts add up to the total where cells ran one after another."""

    total_s: float
    parts_s: dict[str, float]
    """By part, the harness's own share among them."""
    harness_s: float
    cells: int

    @property
    def harness_s_per_cell(self) -> float:
        """The harness's own seconds for each cell; 0 where no cell ran."""
        return self.harness_s / self.cells if self.cells else 0.0


def sentence(cost: Cost) -> str:
    """One line: total, parts, and the harness's share of a cell."""
    parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in cost.parts_s.items())
    return f"total {cost.total_s:.0f} s: {parts} (harness: {cost.harness_s_per_cell:.1f} s a cell)"
