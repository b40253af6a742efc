"""What the device can do: read from what a program measured, and never guessed."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from matrix.errors import Infrastructure, NotSupported
from probes.roofline import device
from tests.fake_engine.bench import CELL
from tests.probes.roofline.servers import server

REST = '"by": "numpy", "dtype": "float32", "state": {}}'
GOOD = '{"rates": {"copy": [3.0, 4.0], "sum": [5.0], "flops": [7.0, 6.0]}, ' + REST


def test_the_best_rate_is_the_bound() -> None:
    """Of copies and sums whichever was faster; of products the fastest; whatever was printed before is no answer."""
    found = device.read(f"a warning\n{GOOD}\n")
    assert (found.bandwidth_bytes_per_s, found.flops_per_s, found.by, found.dtype) == (5.0, 7.0, "numpy", "float32")


@pytest.mark.parametrize(
    "printed", ["", "Segmentation fault", "{}", '{"rates": {}, ' + REST, GOOD.replace("[3.0, 4.0]", "[]")]
)
def test_what_is_no_answer_is_refused(printed: str) -> None:
    """Nothing, words, or an answer without rates."""
    with pytest.raises(Infrastructure, match=r"^the device's speed could not be read from"):
        device.read(printed)


@pytest.mark.parametrize("none", ["0.0", "-1.0"])
def test_a_rate_that_is_none_is_refused(none: str) -> None:
    """It would be divided by."""
    with pytest.raises(Infrastructure, match=r"^the device shows a bandwidth of 5.0 bytes/s and .* FLOP/s$"):
        device.read(GOOD.replace("7.0, 6.0", none))


def test_beside_a_strangers_server_nothing_can_be_measured() -> None:
    """What is served elsewhere runs on a device that we have no way to."""
    with pytest.raises(NotSupported, match=r"^the server runs where nothing else of ours can$"):
        device.measured(server(beside=None), CELL)


def test_the_program_runs_where_there_is_no_torch() -> None:
    """By numpy, whose products are of float32 whatever the model's dtype is."""
    told = subprocess.run(
        [sys.executable, "-P", str(device.PROGRAM), "cpu", "bfloat16"], capture_output=True, text=True, check=True
    )
    found = device.read(told.stdout)
    assert (found.by, found.dtype) == ("numpy", "float32")
    assert set(msgspec.json.decode(told.stdout)["rates"]) == {"copy", "sum", "flops"}
