"""Throughput: tokens per second under named loads, and how near that is to what the device could do.

Definitions are in `streamed.py`, loads in the device's workload, what the model needs in `roofline/`. Each shape is
repeated, after a warm-up; medians over repeats are reported, with the median absolute deviation.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from matrix.cells import Cell, Device, Record, Shape
from matrix.errors import ReadinessError
from matrix.results import Measurement, Status, Verdict
from probes import curves, loads, pace
from probes.client import connect
from probes.loads import Asked, Loader, Prompts
from probes.pace import DeviceSpeed, Needs
from probes.probe import Bench, Probe
from probes.roofline import device
from probes.roofline.tensors import read_table
from probes.roofline.work import Work, work
from runners.engine import Server

ITEMSIZE = {"float32": 4, "bfloat16": 2, "float16": 2}

KIND = ("name", "driver_version")
"""Of a device's state what stays the same while it is measured."""

CLOCKS_APART_S = 0.1
CLOCKS_APART = 0.01
"""How far the wall clock may have moved against the monotonic one: seconds, or a share of the time."""


class Throughput(Record, frozen=True, kw_only=True):
    """The measurement's values; the answers themselves are in its tables."""

    shapes: tuple[Shape, ...]
    warm_up_s: float
    workers: int
    """pytest-xdist workers that shared the machine; 1 is undisturbed."""
    clock_s: float
    """From the first request to the last answer by the monotonic clock."""
    wall_s: float
    """The same by the wall clock."""
    needs: dict[str, Needs] = {}
    """By shape; none where `needs_unknown` says why."""
    needs_unknown: str = ""
    before: DeviceSpeed | None = None
    after: DeviceSpeed | None = None
    device_unknown: str = ""


def measure(server: Server, cell: Cell, bench: Bench) -> Measurement:
    """The device, every shape as often as the workload says, and the device again."""
    shapes = cell.device.workload.shapes
    needs, needs_unknown = _needs(bench.reference.checkpoint.folder, cell, shapes)
    before, device_unknown = _device(server, cell)
    started, wall = time.monotonic(), time.time()
    warm_up_s, asked = asyncio.run(_load(server, cell, bench))
    clock_s, wall_s = time.monotonic() - started, time.time() - wall
    after, _ = _device(server, cell) if before is not None else (None, "")
    values = Throughput(
        shapes=shapes,
        warm_up_s=warm_up_s,
        workers=int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")),
        clock_s=clock_s,
        wall_s=wall_s,
        needs=needs,
        needs_unknown=needs_unknown,
        before=before,
        after=after,
        device_unknown=device_unknown,
    )
    return Measurement(values=msgspec.to_builtins(values), tables=loads.to_tables(asked, shapes))


async def _load(server: Server, cell: Cell, bench: Bench) -> tuple[float, list[Asked]]:
    shapes = cell.device.workload.shapes
    async with connect(server, bench.watch) as client:
        loader = Loader(client, server, Prompts(bench.reference.tokenizer()))
        warm_up_s = await loader.warm_up(shapes)
        asked = [
            one
            for number in range(cell.device.workload.speed_repeats)
            for shape in shapes  # shapes take turns, so that a slow minute is not one shape's alone
            for one in await loader.repeat(shape, number)
        ]
    return warm_up_s, asked


def _needs(folder: Path, cell: Cell, shapes: Sequence[Shape]) -> tuple[dict[str, Needs], str]:
    """What the model needs at each shape, or why that is not known."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        model = work(config, read_table(folder), ITEMSIZE[cell.dtype])
    except OSError as error:  # its own words name a folder of this machine
        return {}, f"what the model needs is not known (config.json: {error.strerror})"
    except (ValueError, KeyError, ReadinessError) as error:
        return {}, f"what the model needs is not known ({error})"
    return {shape.id: need(model, shape) for shape in shapes}, ""


def need(model: Work, shape: Shape) -> Needs:
    """Of one shape."""
    middle = shape.longest_prompt + shape.output_tokens // 2
    return Needs(
        step_bytes=model.step_bytes(shape.concurrency, middle),
        prefill_flops=model.prefill_flops(shape.longest_prompt),
    )


def _device(server: Server, cell: Cell) -> tuple[DeviceSpeed | None, str]:
    try:
        return device.measured(server, cell), ""
    except ReadinessError as error:
        return None, f"what the device can do is not known ({error})"


# --- what it means ----------------------------------------------------------------------------------------


def judge(measurement: Measurement, cell: Cell) -> Verdict:
    """PASS where every stream held what was asked and counted it rightly, and nothing disturbed the clock."""
    values = msgspec.convert(measurement.values, Throughput)
    asked = loads.from_tables(measurement.tables, values.shapes)
    wanted = {shape.id: shape.output_tokens for shape in values.shapes}
    wrong = next((text for one in asked if (text := miscounted(one, wanted[one.shape]))), None)
    if wrong is not None:
        return Verdict(status=Status.FAIL, reason=wrong)
    if any(one.answer.total is None for one in asked):
        return Verdict(status=Status.UNDECIDED, reason="the stream says neither token ids nor usage: tokens unknown")
    if (disturbed := disturbance(values, cell)) is not None:
        return Verdict(status=Status.ERROR, reason=disturbed)
    numbers = {"warm_up_s": values.warm_up_s, **dict(_numbers(values, asked, cell.device))}
    sentences = [_sentence(shape, numbers) for shape in values.shapes]
    sentences += [text for text in (_device_sentence(values, cell.device), values.needs_unknown) if text]
    if cell.build == "patched":
        sentences.append("not compared, for it runs on stand-ins of ours")
    if values.workers > 1:
        sentences.append(f"measured beside {values.workers - 1} other worker(s)")
    return Verdict(
        status=Status.PASS, reason="; ".join(sentences), numbers=numbers, evidence=_evidence(values),
        curves=curves.of_speeds(asked, values.shapes),
    )  # fmt: skip


def miscounted(one: Asked, wanted: int) -> str | None:
    """What is wrong with the number of tokens of an answer; None where nothing is."""
    ids, usage, total = one.answer.id_tokens, one.answer.usage_tokens, one.answer.total
    if ids is not None and usage is not None and ids != usage:
        return f"usage counts {usage} generated tokens, the stream carried {ids} token ids"
    if total is not None and total != wanted:
        return f"generated {total} tokens where exactly {wanted} were asked for"
    return None


def disturbance(values: Throughput, cell: Cell) -> str | None:
    """Why these times cannot be trusted; None where they can."""
    apart = values.wall_s - values.clock_s
    if abs(apart) > max(CLOCKS_APART_S, CLOCKS_APART * values.clock_s):
        return f"the machine's wall clock moved by {apart:+.2f} s against its steady one while speed was measured"
    if values.before is None or values.after is None:
        return None
    ratio = values.after.bandwidth_bytes_per_s / values.before.bandwidth_bytes_per_s
    most = 1.0 + cell.device.canary_tolerance
    if not 1.0 / most <= ratio <= most:
        return (
            f"the device's own bandwidth moved by {ratio - 1.0:+.0%} while speed was measured, "
            f"by more than a factor of {most:.3g}"
        )
    return None


def _numbers(values: Throughput, asked: Sequence[Asked], device: Device) -> Iterator[tuple[str, float]]:
    if values.before is not None:
        yield "device_bandwidth_bytes_per_s", values.before.bandwidth_bytes_per_s
        yield "device_flops_per_s", values.before.flops_per_s
    for shape in values.shapes:
        found = pace.samples(asked, shape)
        found |= pace.utilisation(found, shape, values.needs.get(shape.id), values.before)
        found |= {"speed_per_s": speeds} if (speeds := pace.speed(found, shape)) else {}
        found |= pace.cost(found, device.price_per_hour)
        for name, sample in found.items():
            centre, spread = pace.middle(sample)
            yield f"{shape.id}_{name}", centre
            yield f"{shape.id}_{name}_mad", spread


def _sentence(shape: Shape, numbers: dict[str, float]) -> str:
    def said(name: str, unit: str, scale: float = 1.0) -> str:
        key = f"{shape.id}_{name}"
        if key not in numbers:
            return "unknown"
        return f"{plain(numbers[key] * scale, 3)} ± {plain(numbers[key + '_mad'] * scale, 2)} {unit}"

    if shape.turns > 1:
        share = numbers.get(f"{shape.id}_warm_over_cold")
        warm = said("warm_ttft_s", "ms warm", 1000) + ("" if share is None else f" ({share:.0%} of cold)")
        return f"{shape.id}: TTFT {said('cold_ttft_s', 'ms cold', 1000)}, {warm}"
    words = [said("output_tokens_per_s", "output tokens/s")]
    words += [f"TTFT {said('ttft_s', 'ms', 1000)}", f"TPOT {said('tpot_s', 'ms', 1000)}"]
    shares = {name.upper(): numbers.get(f"{shape.id}_{name}") for name in ("mbu", "mfu")}
    words += [f"{name} {share:.0%}" for name, share in shares.items() if share is not None]
    cost = numbers.get(f"{shape.id}_usd_per_million_output_tokens")
    words += [] if cost is None else [f"${plain(cost, 3)} per million output tokens"]
    return f"{shape.id}: {', '.join(words)}"


def _device_sentence(values: Throughput, device: Device) -> str:
    """What the device did, beside what its maker says where that is known."""
    if values.before is None:
        return values.device_unknown
    rates = (
        (values.before.bandwidth_bytes_per_s / 1e9, device.datasheet_bytes_per_s, 1e9, "GB/s"),
        (values.before.flops_per_s / 1e12, device.datasheet_flops_per_s, 1e12, f"TFLOP/s in {values.before.dtype}"),
    )
    said = [
        f"{plain(rate, 3)} {unit}" + (f" (datasheet: {plain(sheet / scale, 3)})" if sheet else "")
        for rate, sheet, scale, unit in rates
    ]
    return f"the device does {' and '.join(said)}"


def _evidence(values: Throughput) -> dict[str, str]:
    """What the device is, and how warm and fast it was before and after."""
    if values.before is None or values.after is None:
        return {}
    before, after = values.before, values.after
    kind = ", ".join([*(before.state[name] for name in KIND if name in before.state), f"measured with {before.by}"])
    moved = [f"{name}: {before.state[name]}, then {after.state.get(name)}" for name in before.state if name not in KIND]
    return {"device": kind} | ({"clocks": "\n".join(moved)} if moved else {})


def plain(value: float, digits: int) -> str:
    """Significant digits without an exponent."""
    return f"{value:.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def not_asked(cell: Cell) -> str | None:
    """Why a cell is not asked; None where it is."""
    if not cell.config.speed_counts:
        return f"speed is not measured in config {cell.config.id!r}"
    return None if cell.device.workload.shapes else f"no load is defined for device {cell.device.id!r}"


PROBE = Probe(
    name="throughput",
    version=2,
    tier="smoke",
    timing=True,
    order=9,
    deadline_s=900,
    measure=measure,
    judge=judge,
    not_asked=not_asked,
)
