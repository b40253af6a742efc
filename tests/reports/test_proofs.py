"""What the site says of the verdicts themselves is what the benchmarks' own pages say."""

from __future__ import annotations

import math
import re

import pytest

from reports import proofs
from reports.proofs import FaultFound, ModelPower
from tests.conftest import ROOT


@pytest.mark.parametrize("name", list(proofs.verdict_power().models))
def test_the_power_of_the_verdict_is_that_of_its_page(name: str) -> None:
    """Fault by fault: sizes, and shares found for each size of a set."""
    text = (ROOT / "docs" / "verdict-power.md").read_text()
    (table,) = re.findall(rf"<summary>{name}, in numbers</summary>\n\n(.*?)\n\n?</details>", text, re.S)
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    model = proofs.verdict_power().models[name]
    assert [[one.fault, f"{one.ratio:.3g}", f"{one.ratio_d:.3g}"] for one in model.faults] == [
        line[:3] for line in lines
    ]
    alarms = text.partition("## False alarms\n")[2].partition("\nA unit is one set")[0]
    said = re.findall(rf"^\| {name} \| \d+ \| (\d+) \| \d+ \| \d+ \| (\d+) \| (\d+) \|", alarms, re.M)
    assert sum(int(units) for units, _, _ in said) == model.healthy_units
    assert sum(int(fail) + int(degraded) for _, fail, degraded in said) == model.false_alarms
    found = [[f"{one.found[size]:.1%}" for size in model.sizes] for one in model.faults]
    assert found == [[cell.split(" ")[0] for cell in line[4:]] for line in lines]


def test_the_coverage_of_faults_is_that_of_its_page() -> None:
    """As many caught, of as many, and as many verdicts on healthy engines."""
    text, coverage = (ROOT / "docs" / "fault-coverage.md").read_text(), proofs.fault_coverage()
    assert f"| {coverage.caught} of {coverage.faults}, 100.0% |" in text
    assert f"| {coverage.false_alarms} in {coverage.healthy_verdicts} verdicts on " in text
    assert coverage.made_at[:10] in text


def test_beyond_some_size_every_fault_is_found() -> None:
    """The least fault that is larger than all that were not always found; infinite where the largest was not."""
    faults = [(1.1, 0.0), (1.5, 0.9), (1.2, 1.0), (2.0, 1.0), (3.0, 1.0)]
    found = tuple(FaultFound(fault="", ratio=1.0, ratio_d=size, found={"16": share}) for size, share in faults)
    model = ModelPower(healthy_units=1, false_alarms=0, faults=found)
    assert (model.surely_from("16"), model.surely_from("64")) == (2.0, math.inf)
