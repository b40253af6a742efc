"""What the device can do, measured in the engine's own environment while the engine is up and idle."""

from __future__ import annotations

from pathlib import Path

import msgspec

from matrix.cells import Cell, Record
from matrix.errors import Infrastructure, NotSupported
from probes.pace import DeviceSpeed
from runners.engine import Server

PROGRAM = Path(__file__).with_name("device_program.py")


class _Told(Record, frozen=True, kw_only=True):
    """What the program prints."""

    rates: dict[str, tuple[float, ...]]
    by: str
    dtype: str
    state: dict[str, str]


def measured(server: Server, cell: Cell) -> DeviceSpeed:
    """Bandwidth and FLOP/s; raises NotSupported for a server that somebody else started, Infrastructure otherwise."""
    if server.beside is None:
        raise NotSupported("the server runs where nothing else of ours can")
    printed = server.beside(PROGRAM, (cell.device.kind, cell.dtype))
    return read(printed)


def read(printed: str) -> DeviceSpeed:
    """What the program printed; raises Infrastructure where that holds no rates above zero."""
    try:
        told = msgspec.json.decode(printed.strip().splitlines()[-1], type=_Told)
        bandwidth = max(max(told.rates["copy"]), max(told.rates["sum"]))
        flops = max(told.rates["flops"])
    except (IndexError, KeyError, ValueError) as error:
        raise Infrastructure(f"the device's speed could not be read from {printed[-200:]!r}: {error}") from error
    if not (bandwidth > 0 and flops > 0):
        raise Infrastructure(f"the device shows a bandwidth of {bandwidth} bytes/s and {flops} FLOP/s")
    return DeviceSpeed(
        bandwidth_bytes_per_s=bandwidth, flops_per_s=flops, dtype=told.dtype, by=told.by, state=told.state
    )
