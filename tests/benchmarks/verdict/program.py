"""`python -m tests.benchmarks.verdict.program MODEL OUT …`: what healthy and faulty engines say of one corpus.

Runs in the reference's environment, beside the reference program whose models, sheets and ways it uses. Writes one file
for each run under OUT, and does not do again what is there.

    reference.npz      the corpus: ids, the reference and its replicates, as `build` of the reference program writes it
    healthy/N.npz      the same tokens through another numeric path, each its own: no fault, other rounding
    faults/NAME.npz    the same through another path still, with a fault
"""

from __future__ import annotations

import argparse
import runpy
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from tests.benchmarks.verdict import faults as fault_list

BATCH_TOKENS = 1024
"""Tokens of a forward call; the logits of a large vocabulary fill the memory otherwise."""
FAULT_PATH = 1000
"""The number of the numeric path that faults go through: none of the healthy ones."""


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--reference", type=Path, required=True, help="folder of the reference program")
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--sequences", type=int, required=True)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--fault-sequences", type=int, required=True)
    parser.add_argument("--healthy", type=int, required=True)
    parser.add_argument("--top-k", type=int, default=32)
    options = parser.parse_args()
    command = runpy.run_path(str(options.reference / "__main__.py"))["command"]()
    reference = options.out / "reference.npz"
    if not reference.is_file():
        command([
            "build", "--model", str(options.model), "--corpus", str(options.corpus), "--out", str(reference),
            "--sequences", str(options.sequences), "--length", str(options.length), "--top-k", str(options.top_k),
        ])  # fmt: skip
    with np.load(reference) as archive:
        sequences = archive["token_ids"].tolist()
    with torch.inference_mode():
        Runs(options.model, options.out, sequences, options.top_k).all(options.healthy, options.fault_sequences)


class Runs:
    """Every run of one model."""

    def __init__(self, model: Path, out: Path, sequences: Sequence[list[int]], top_k: int) -> None:
        self.folder, self.out, self.sequences, self.top_k = model, out, sequences, top_k
        self.models = sys.modules["reference_program.models"]
        self.sheet = sys.modules["reference_program.sheet"]

    def all(self, healthy: int, fault_sequences: int) -> None:
        """Faults first, then healthy paths."""
        config = self.models.load_config(self.folder)
        for fault in fault_list.faults(config, config.bos_token_id):
            name = "".join(letter if letter.isalnum() or letter in ".+-" else "_" for letter in fault.name)
            self._once(self.out / "faults" / f"{name}.npz", fault.name, FAULT_PATH, fault, fault_sequences)
        for number in range(healthy):
            self._once(
                self.out / "healthy" / f"{number}.npz", str(number), number, fault_list.Fault("", ""),
                len(self.sequences),
            )  # fmt: skip

    def _once(self, target: Path, name: str, path: int, fault: Any, count: int) -> None:
        if target.is_file():
            return
        started = time.monotonic()
        model = self.models.load_model(self.folder, "bfloat16", "eager" if path % 2 else "sdpa")
        fault.apply(model)
        sheet = self.sheet.Sheet(self.sequences[:count], self.top_k)
        with numeric_path(path, model):
            for rows in batches(len(sheet.sequences), max(1, BATCH_TOKENS // len(sheet.sequences[0]))):
                forward(model, sheet, rows, fault.feed)
        arrays = sheet.arrays("run") | {"name": np.array(name), "kind": np.array(fault.kind)}
        self.sheet.save(target, arrays)
        print(f"{target.parent.name} {name}: {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)


def forward(model: Any, sheet: Any, rows: list[int], feed: Callable[[list[int]], fault_list.Feed]) -> None:
    """One forward call for some sequences of one length."""
    feeds = [feed(sheet.sequences[row]) for row in rows]
    first = feeds[0]
    # Masks and positions are the same for all rows, which have one length; the model spreads them over the batch.
    more = {name: value.expand(len(rows), *value.shape[1:]) for name, value in first.more.items()}
    output = model(input_ids=torch.tensor([one.ids for one in feeds]), use_cache=False, **more).logits
    for place, row in enumerate(rows):
        sheet.write_run(row, first.ahead, output[place, first.skip :])
        if first.ahead:
            begin = model(input_ids=torch.tensor([sheet.sequences[row][: first.ahead]]), use_cache=False).logits
            sheet.write(list([row] * first.ahead), list(range(first.ahead)), begin[0])


def batches(count: int, size: int) -> Iterator[list[int]]:
    for start in range(0, count, size):
        yield list(range(start, min(start + size, count)))


@contextmanager
def numeric_path(number: int, model: Any) -> Iterator[None]:
    """Another order of the same sums: the matrices' columns in parts, cut at random, each part rounded by itself.

    That is what tensor-parallel devices and split-K kernels do. Two numbers give two ways to cut, in every matrix that
    adds to the residual stream and, with every third number, in all others too.
    """
    random = np.random.default_rng(number)
    kernel: AbstractContextManager[Any] = sdpa_kernel([SDPBackend.MATH]) if number % 4 == 2 else nullcontext()
    ways = sys.modules["reference_program.ways"]
    changed = [
        layer
        for name, layer in model.named_modules()
        if type(layer) is torch.nn.Linear
        and (name.endswith(ways.ROW_PARALLEL) or (number % 3 == 0 and "lm_head" not in name))
    ]
    for layer in changed:
        layer.forward = cut(layer, random)
    with kernel:
        yield


def cut(layer: Any, random: Any) -> Callable[[Any], Any]:
    """The layer's product as a sum of 2 to 4 parts."""
    width = layer.weight.shape[1]
    places = sorted(random.choice(np.arange(1, width), size=random.integers(1, 4), replace=False).tolist())
    sizes = [right - left for left, right in zip([0, *places], [*places, width], strict=True)]
    order = [int(place) for place in random.permutation(len(sizes))]
    weights = layer.weight.split(sizes, 1)

    def forward_(values: Any) -> Any:
        pieces = values.split(sizes, -1)
        total = sum(torch.nn.functional.linear(pieces[place], weights[place]) for place in order)
        return total if layer.bias is None else total + layer.bias

    return forward_


if __name__ == "__main__":
    main()
