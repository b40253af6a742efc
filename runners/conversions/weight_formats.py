"""Weights in the formats of quantized releases: `python -P weight_formats.py pack FORMAT FOLDER TARGET`, and back.

    python -P weight_formats.py pack awq|fp8|mxfp4 FOLDER TARGET    a checkpoint of FOLDER in a format
    python -P weight_formats.py unpack FOLDER TARGET                its weights dense again, in float32
    python -P weight_formats.py widen FOLDER TARGET                 weights that are in no format, in float32

Standalone: it runs in the reference environment and imports nothing of this project. One file of weights is in memory
at a time, dense in float32 where it is unpacked. Packing rounds to nearest, with no look at data: what is measured with
it is how an engine computes with such weights, not how well somebody chose them.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

PROJECTION = re.compile(r"\.(?:q|k|v|o|gate|up|down|q_a|q_b|kv_b)_proj\.weight$")
"""The matrices that every format here packs, wherever they are; embeddings, routers and norms stay as they are."""
EXPERTS = re.compile(r"\.mlp\.experts\.(?:gate_up|down)_proj$")
"""Stacks of experts as gpt-oss has them: (experts, inputs, outputs)."""

INTS_PER_WORD = 8
AWQ_GROUP = 32
"""Inputs that share a scale: 128 in most releases, which the widths of small models are no multiples of."""
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
"""Which of eight neighbouring outputs lies in which nibble of a word, from the lowest."""
FP8_BLOCKS = (128, 64, 32, 16)
"""Sizes of a block; the largest that divides every matrix is taken, 128 wherever it can be."""
FP8_LARGEST = 448.0
"""The largest number of e4m3."""
MXFP4_BLOCK = 32
MXFP4_BIAS = 127
"""Of the exponent that a block shares, as E8M0 keeps it."""
E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""Magnitudes of a 4-bit float; the highest bit is the sign (OCP Microscaling Formats 1.0, section 5.3.3)."""

Tensors = dict[str, Any]


class Unfit(Exception):
    """A checkpoint that a format cannot hold, or a format that is not known here."""


# --- AWQ: 4-bit integers in groups of inputs, with a scale and a zero point each ------------------------------


def pack_awq(name: str, weight: Any) -> Tensors:
    """`weight`: (outputs, inputs). qweight (inputs, outputs / 8); qzeros and scales one row for a group of inputs."""
    outputs, inputs = weight.shape
    if inputs % AWQ_GROUP or outputs % INTS_PER_WORD:
        raise Unfit(f"{name} is {outputs} by {inputs}: AWQ wants multiples of {INTS_PER_WORD} and {AWQ_GROUP}")
    groups = weight.float().t().unflatten(0, (-1, AWQ_GROUP))
    low, high = groups.amin(1).clamp(max=0), groups.amax(1).clamp(min=0)
    scales = ((high - low) / 15).clamp(min=1e-6).half()
    zeros = (-low / scales.float()).round().clamp(0, 15)
    found = (groups / scales.float()[:, None] + zeros[:, None]).round().clamp(0, 15)
    stem = name.removesuffix(".weight")
    return {
        f"{stem}.qweight": _in_words(found.flatten(0, 1).int()),
        f"{stem}.qzeros": _in_words(zeros.int()),
        f"{stem}.scales": scales,
    }


def unpack_awq(parts: Tensors) -> Any:
    """(outputs, inputs): (q - zero) x scale of the group."""
    group = parts["qweight"].shape[0] // parts["scales"].shape[0]
    whole, zeros = _out_of_words(parts["qweight"]), _out_of_words(parts["qzeros"])
    scaled = (whole.unflatten(0, (-1, group)) - zeros[:, None]) * parts["scales"].float()[:, None]
    return scaled.flatten(0, 1).t()


def _in_words(numbers: Any) -> Any:
    columns = numbers.unflatten(1, (-1, INTS_PER_WORD))[..., list(AWQ_ORDER)].long()
    shifts = 4 * torch.arange(INTS_PER_WORD)
    words = (columns << shifts).sum(-1)
    return torch.where(words >= 2**31, words - 2**32, words).int()


def _out_of_words(words: Any) -> Any:
    nibbles = (words.long()[..., None] >> (4 * torch.arange(INTS_PER_WORD))) & 15
    places = torch.tensor(AWQ_ORDER).argsort()
    return nibbles[..., places].flatten(1).float()


# --- FP8: e4m3 in square blocks, with a float32 scale each ----------------------------------------------------


def pack_fp8(block: int, name: str, weight: Any) -> Tensors:
    """`weight`: (outputs, inputs). The same shape in e4m3, and a factor for each square block."""
    blocks = weight.float().unflatten(0, (-1, block)).unflatten(2, (-1, block))
    scales = blocks.abs().amax((1, 3)).clamp(min=1e-12) / FP8_LARGEST
    packed = (blocks / scales[:, None, :, None]).flatten(2).flatten(0, 1).to(torch.float8_e4m3fn)
    return {name: packed, f"{name}_scale_inv": scales}


def unpack_fp8(parts: Tensors, block: tuple[int, int]) -> Any:
    """The product with the block's factor; the last blocks of a row or column may be smaller."""
    weight, scales = parts["weight"].float(), parts["weight_scale_inv"].float()
    rows, columns = weight.shape[-2:]
    spread = scales.repeat_interleave(block[0], -2)[..., :rows, :].repeat_interleave(block[1], -1)[..., :columns]
    return weight * spread


# --- MXFP4: 4-bit floats in blocks of 32 inputs, with a power of two each -------------------------------------


def pack_mxfp4(name: str, stack: Any) -> Tensors:
    """`stack`: (experts, inputs, outputs). Blocks (experts, outputs, inputs / 32, 16) of two numbers a byte, scales."""
    if stack.shape[1] % MXFP4_BLOCK:
        raise Unfit(f"{name} has {stack.shape[1]} inputs: MXFP4 wants a multiple of {MXFP4_BLOCK}")
    values = stack.float().transpose(1, 2).unflatten(-1, (-1, MXFP4_BLOCK))
    # The largest of a block is a number with the exponent 2, the largest that e2m1 has.
    exponents = values.abs().amax(-1).clamp(min=2.0**-100).log2().floor() - 2
    scaled = values / torch.exp2(exponents)[..., None]
    nearest = (scaled.abs()[..., None] - torch.tensor(E2M1)).abs().argmin(-1)
    nibbles = nearest + 8 * ((scaled < 0) & (nearest > 0))
    packed = nibbles[..., 0::2] | (nibbles[..., 1::2] << 4)
    return {f"{name}_blocks": packed.to(torch.uint8), f"{name}_scales": (exponents + MXFP4_BIAS).to(torch.uint8)}


def unpack_mxfp4(parts: Tensors) -> Any:
    """(experts, inputs, outputs)."""
    table = torch.tensor((*E2M1, *(-number for number in E2M1)))
    blocks = parts["blocks"].long()
    numbers = torch.stack((table[blocks & 15], table[blocks >> 4]), -1).flatten(-2)
    factors = torch.exp2(parts["scales"].float() - MXFP4_BIAS)
    return (numbers * factors[..., None]).flatten(-2).transpose(1, 2)


# --- whole checkpoints ----------------------------------------------------------------------------------------

METHODS = ("awq", "fp8", "mxfp4")
PARTS = {
    "awq": (".qweight", ".qzeros", ".scales"),
    "fp8": (".weight", ".weight_scale_inv"),
    "mxfp4": ("_blocks", "_scales"),
}
"""What a packed matrix is stored as; the second of each is found beside nothing else."""


class Reader:
    """The tensors of a folder, by name, wherever they lie."""

    def __init__(self, folder: Path) -> None:
        """Open every file; nothing is read yet."""
        self.files = {path.name: safe_open(path, "pt") for path in sorted(folder.glob("*.safetensors"))}
        # An open file of safetensors has keys() and is not iterable itself, so SIM118 is wrong here.
        self.places = {name: place for place, file in self.files.items() for name in file.keys()}  # noqa: SIM118

    def __call__(self, name: str) -> Any:
        """One tensor."""
        return self.files[self.places[name]].get_tensor(name)

    def shape(self, name: str) -> tuple[int, ...]:
        """Of one tensor, without reading it."""
        return tuple(self.files[self.places[name]].get_slice(name).get_shape())


def pack(method: str, folder: Path, target: Path) -> None:
    """Write `folder` with its matrices in a format; raises Unfit where it has none that the format is for."""
    pattern = EXPERTS if method == "mxfp4" else PROJECTION
    read = Reader(folder)
    packed = {name for name in read.places if pattern.search(name)}
    if not packed:
        raise Unfit(f"{folder.name} has no weights that {method} is for")
    packer, settings = _packer(method, [read.shape(name) for name in packed])

    def convert(name: str) -> Tensors:
        return packer(name, read(name)) if name in packed else {name: read(name)}

    _rewrite(folder, target, read, convert)
    left = sorted(name.removesuffix(".weight") for name in read.places.keys() - packed if len(read.shape(name)) > 1)
    _configure(folder, target, {"quant_method": method, **settings, "modules_to_not_convert": left}, None)


def _packer(method: str, shapes: list[tuple[int, ...]]) -> tuple[Callable[[str, Any], Tensors], dict[str, Any]]:
    """How the matrices of a checkpoint are packed, and what its config.json then says of them."""
    if method == "mxfp4":
        return pack_mxfp4, {}
    if method == "awq":
        return pack_awq, {"bits": 4, "group_size": AWQ_GROUP, "zero_point": True, "version": "gemm"}
    sizes = [size for shape in shapes for size in shape]
    block = next((block for block in FP8_BLOCKS if all(size % block == 0 for size in sizes)), None)
    if block is None:
        raise Unfit(f"no block of {', '.join(map(str, FP8_BLOCKS))} divides every matrix: FP8 needs one")
    settings = {"fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [block, block]}
    return partial(pack_fp8, block), settings


def unpack(folder: Path, target: Path) -> None:
    """Write `folder` with all weights dense, in float32; raises Unfit where its format is not known here."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    settings = config.get("quantization_config") or config.get("text_config", {}).get("quantization_config") or {}
    method = _method(settings)
    read = Reader(folder)
    marker = PARTS[method][1]
    stems = {name.removesuffix(marker) for name in read.places if name.endswith(marker)}
    parts_of = {stem + part: stem for stem in stems for part in PARTS[method]}

    def convert(name: str) -> Tensors:
        if name not in parts_of:
            return {name: _widened(read(name))}
        if not name.endswith(marker):
            return {}  # its matrix is written where the marker lies
        stem = parts_of[name]
        parts = {part.lstrip("._"): read(stem + part) for part in PARTS[method]}
        return {stem if method == "mxfp4" else f"{stem}.weight": _whole(method, parts, settings).contiguous()}

    _rewrite(folder, target, read, convert)
    _configure(folder, target, None, "float32")


def widen(folder: Path, target: Path) -> None:
    """Write `folder` with its weights in float32, which loses nothing; raises Unfit where they are in a format."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if "quantization_config" in (config | config.get("text_config", {})):
        raise Unfit(f"{folder.name} is quantized: its weights are unpacked, and not widened")
    read = Reader(folder)
    _rewrite(folder, target, read, lambda name: {name: _widened(read(name))})
    _configure(folder, target, None, "float32")


def _widened(tensor: Any) -> Any:
    return tensor.float() if tensor.is_floating_point() else tensor


def _method(settings: dict[str, Any]) -> str:
    method = settings.get("quant_method")
    if method not in METHODS:
        raise Unfit(f"weights in {method or 'no format'} are not known here, only in {', '.join(METHODS)}")
    if method == "awq" and (settings.get("bits"), settings.get("version")) != (4, "gemm"):
        raise Unfit("AWQ is known here with 4 bits and of version gemm alone")
    if method == "fp8" and not settings.get("weight_block_size"):
        raise Unfit("FP8 is known here in blocks alone")
    return str(method)


def _whole(method: str, parts: Tensors, settings: dict[str, Any]) -> Any:
    if method == "awq":
        return unpack_awq(parts)
    if method == "mxfp4":
        return unpack_mxfp4(parts)
    rows, columns = settings["weight_block_size"]
    return unpack_fp8(parts, (rows, columns))


def _rewrite(folder: Path, target: Path, read: Reader, convert: Callable[[str], Tensors]) -> None:
    """Each file of weights anew, under its own name, with an index of all; every other file as it is."""
    target.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_file() and not path.name.endswith((".safetensors", ".safetensors.index.json")):
            shutil.copyfile(path, target / path.name)
    index: dict[str, str] = {}
    size = 0
    for place in read.files:
        tensors: Tensors = {}
        for name in sorted(name for name, file in read.places.items() if file == place):
            tensors |= convert(name)
        save_file(tensors, target / place, metadata={"format": "pt"})
        index |= dict.fromkeys(tensors, place)
        size += sum(tensor.nbytes for tensor in tensors.values())
    if len(read.files) > 1:
        told = {"metadata": {"total_size": size}, "weight_map": index}
        (target / "model.safetensors.index.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def _configure(folder: Path, target: Path, quantization: dict[str, Any] | None, dtype: str | None) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for part in (config, config.get("text_config", {})):
        part.pop("quantization_config", None)
        if dtype is not None:
            part |= {key: dtype for key in ("dtype", "torch_dtype") if key in part}
    if quantization is not None:
        config["quantization_config"] = quantization
    (target / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    for path in target.iterdir():
        path.chmod(0o644)


def main(words: list[str]) -> None:
    """Do what the command line says; exits 2 where the checkpoint or the format is not one that this is for."""
    try:
        match words:
            case ["pack", ("awq" | "fp8" | "mxfp4") as method, folder, target]:
                pack(method, Path(folder), Path(target))
            case ["unpack", folder, target]:
                unpack(Path(folder), Path(target))
            case ["widen", folder, target]:
                widen(Path(folder), Path(target))
            case _:
                raise Unfit(__doc__.splitlines()[0])
    except Unfit as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main(sys.argv[1:])
