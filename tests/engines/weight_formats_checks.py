"""What is true of `weight_formats`, run in the reference environment: `python -P THIS PROGRAM FOLDER WORK`.

Prints one line of JSON for the test beside it. `PROGRAM` is the file, `FOLDER` holds checkpoints.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, FineGrainedFP8Config, Mxfp4Config


def main(program: Path, llama: Path, gpt_oss: Path, work: Path) -> None:
    """Everything, as one answer."""
    formats = loaded(program)
    answer = {"worst": rounding(formats), "repeated": repeated(formats)}
    for method, folder in (("awq", llama), ("fp8", llama), ("mxfp4", gpt_oss)):
        formats.pack(method, folder, work / method)
        formats.unpack(work / method, work / f"{method}-dense")
        answer[f"{method} kept"] = kept(folder, work / f"{method}-dense")
    for method, config in (("fp8", FineGrainedFP8Config(dequantize=True)), ("mxfp4", Mxfp4Config(dequantize=True))):
        answer[f"{method} apart"] = apart(work, method, config)
    answer["widened"] = widened(formats, llama, work)
    print(json.dumps(answer))


def loaded(program: Path) -> Any:
    """The program as a module."""
    spec = importlib.util.spec_from_file_location("weight_formats", program)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rounding(formats: Any) -> dict[str, float]:
    """How far rounding moves a number at most, over half a step of its format there."""
    torch.manual_seed(0)
    weight = torch.randn(64, 96) * torch.exp2(torch.randint(-6, 6, (64, 1)).float())
    awq = formats.pack_awq("x.weight", weight)
    step = awq["x.scales"].float().repeat_interleave(32, 0).t()
    found = {"awq": float(((formats.unpack_awq(parts(awq, "x.")) - weight).abs() / step).max())}
    fp8 = formats.pack_fp8(32, "x.weight", weight)
    back = formats.unpack_fp8({"weight": fp8["x.weight"], "weight_scale_inv": fp8["x.weight_scale_inv"]}, (32, 32))
    scale = fp8["x.weight_scale_inv"].repeat_interleave(32, 0).repeat_interleave(32, 1)
    exponent = (weight / scale).abs().log2().floor().clamp(min=-6)  # e4m3: three bits behind the point
    found["fp8"] = float(((back - weight) / scale).abs().div(torch.exp2(exponent - 3)).max())
    stack = weight.t().contiguous()[None]
    mxfp4 = formats.pack_mxfp4("x", stack)
    off = (formats.unpack_mxfp4(parts(mxfp4, "x_")) - stack).transpose(1, 2).unflatten(-1, (-1, 32)).abs()
    # Steps are 2 at most, and what lies beyond the largest number is cut to it: 8 at most, 6 is the largest.
    found["mxfp4"] = float((off / torch.exp2(mxfp4["x_scales"].float() - 127)[..., None]).max() / 2)
    return found


def repeated(formats: Any) -> bool:
    """Whether packing what was unpacked changes nothing more, where the scale is a power of two."""
    stack = torch.randn(2, 64, 32)
    once = formats.pack_mxfp4("x", stack)
    twice = formats.pack_mxfp4("x", formats.unpack_mxfp4(parts(once, "x_")))
    return all(torch.equal(once[name], twice[name]) for name in once)


def parts(packed: dict[str, Any], prefix: str) -> dict[str, Any]:
    """By what they are called within a matrix."""
    return {name.removeprefix(prefix): tensor for name, tensor in packed.items()}


def kept(folder: Path, dense: Path) -> list[bool]:
    """Whether the names are those of the source, and whether what is not packed is as it was."""
    source, back = tensors(folder), tensors(dense)
    same = all(torch.equal(back[name], source[name].float()) for name in source if "norm" in name or "embed" in name)
    return [source.keys() == back.keys(), same, all(tensor.dtype == torch.float32 for tensor in back.values())]


def widened(formats: Any, folder: Path, work: Path) -> list[bool]:
    """Whether weights in bfloat16 are the same numbers in float32, and the config says so."""
    narrow, wide = work / "narrow", work / "wide"
    narrow.mkdir()
    config = json.loads((folder / "config.json").read_text())
    (narrow / "config.json").write_text(json.dumps(config | {"dtype": "bfloat16"}))
    source = {name: tensor.bfloat16() for name, tensor in tensors(folder).items()}
    save_file(source, narrow / "model.safetensors", metadata={"format": "pt"})
    formats.widen(narrow, wide)
    back = tensors(wide)
    same = all(torch.equal(back[name], source[name].float()) for name in source)
    kinds = {tensor.dtype for tensor in back.values()}
    said = json.loads((wide / "config.json").read_text())["dtype"]
    return [source.keys() == back.keys(), same, kinds == {torch.float32}, said == "float32"]


def tensors(folder: Path) -> dict[str, Any]:
    """Of all files."""
    return {name: tensor for path in folder.glob("*.safetensors") for name, tensor in load_file(path).items()}


def apart(work: Path, method: str, config: Any) -> float:
    """The largest difference from what transformers makes of the packed checkpoint."""
    if method == "fp8":
        given = json.loads((work / method / "config.json").read_text())["quantization_config"]
        config.weight_block_size = tuple(given["weight_block_size"])
    theirs = AutoModelForCausalLM.from_pretrained(work / method, dtype=torch.float32, quantization_config=config)
    ours = AutoModelForCausalLM.from_pretrained(work / f"{method}-dense", dtype=torch.float32)
    pairs = zip(theirs.state_dict().values(), ours.state_dict().values(), strict=True)
    return max(float((one.float() - other).abs().max()) for one, other in pairs)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
