"""A model read part by part gives what it gives in memory, goes on after a stop, and names what is damaged."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from probes.reference.stage import PROGRAM
from tests.probes.reference_runs import Runs

pytestmark = pytest.mark.engine

VOCABULARY = 300
STREAMED = ["reference", "bf16-sdpa", "bf16-left-padded", "bf16-chunked-prefill", "bf16-halves", "bf16-eager"]

SIZES = """vocab_size=300, hidden_size=64, intermediate_size=96, num_hidden_layers=6, num_attention_heads=4,
    num_key_value_heads=2, head_dim=16"""
EXPERTS = "num_experts=8, num_experts_per_tok=2, moe_intermediate_size=32"

KINDS = {
    "dense": f"LlamaConfig({SIZES})",
    "tied embeddings, two kinds of attention": f"Gemma3TextConfig({SIZES}, sliding_window=16)",
    "an expert a tensor": f"Qwen3MoeConfig({SIZES}, {EXPERTS})",
    "experts stored as stacks, with biases": f"GptOssConfig({SIZES}, num_local_experts=4, num_experts_per_tok=2, "
    "sliding_window=16)",
    "converted on loading": f"Phi3Config({SIZES}, pad_token_id=0)",
}

MAKE = """
import json, sys, torch
from transformers import *
for place, config in enumerate(json.loads(sys.argv[2])):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(eval(config), dtype=torch.bfloat16)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.2) if parameter.ndim > 1 else parameter.normal_(1, 0.1)
    model.save_pretrained(f"{sys.argv[1]}/{place}", max_shard_size="100KB")
"""


@pytest.fixture(scope="module")
def models(reference_python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints of several shards, by kind."""
    folder = tmp_path_factory.mktemp("checkpoints")
    command = [str(reference_python), "-P", "-c", MAKE, str(folder), json.dumps(list(KINDS.values()))]
    subprocess.run(command, check=True, timeout=120)
    return {kind: folder / str(place) for place, kind in enumerate(KINDS)}


@pytest.fixture(scope="module")
def ids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five sequences of different lengths."""
    generator = np.random.default_rng(0)
    rows = [generator.integers(0, VOCABULARY, length).tolist() for length in (40, 33, 40, 25, 2)]
    path = tmp_path_factory.mktemp("ids") / "ids.json"
    path.write_text(json.dumps({"token_ids": rows}))
    return path


def score(program: Runs, model: Path, ids: Path, out: Path, *options: str) -> dict[str, Any]:
    done = program("score", "--model", model, "--ids", ids, "--out", out, "--top-k", "8", *options)
    assert done.returncode == 0, done.stderr
    return dict(np.load(out))


@pytest.mark.parametrize("kind", KINDS)
def test_part_by_part_is_as_in_memory(
    reference_program: Runs, models: dict[str, Path], ids: Path, tmp_path: Path, kind: str
) -> None:
    """Within 1e-5 where experts see the tokens of all sequences at once, to the bit where there are none."""
    model = models[kind]
    assert len(list(model.glob("*.safetensors"))) > 2
    whole = score(reference_program, model, ids, tmp_path / "whole.npz", "--alone")
    parts = score(reference_program, model, ids, tmp_path / "parts.npz", "--alone", "--memory", "0")
    assert whole.keys() == parts.keys()
    difference = np.abs(whole["reference/target_logprobs"] - parts["reference/target_logprobs"])
    assert np.nanmax(difference) <= (1e-5 if "expert" in kind else 0)
    assert (np.isnan(whole["reference/target_logprobs"]) == np.isnan(parts["reference/target_logprobs"])).all()


def test_the_noise_of_a_model_read_part_by_part(
    reference_program: Runs, models: dict[str, Path], ids: Path, tmp_path: Path
) -> None:
    """Five replicates too, with another in the place of the one that decodes token by token."""
    found = score(reference_program, models["dense"], ids, tmp_path / "parts.npz", "--memory", "0")
    assert [key.split("/")[0] for key in found if key.endswith("target_logprobs")] == STREAMED
    for name in STREAMED:
        assert np.isfinite(found[f"{name}/target_logprobs"]).sum() == 39 + 32 + 39 + 24 + 1
    assert json.loads(str(found["metadata"]))["replicates"] == STREAMED[1:]


def test_the_float32_noise_of_a_model_read_part_by_part(
    reference_program: Runs, models: dict[str, Path], ids: Path, tmp_path: Path
) -> None:
    """Off by rounding alone, each in its own way, and none of them token by token."""
    found = score(reference_program, models["dense"], ids, tmp_path / "f32.npz", "--memory", "0", "--dtype", "float32")
    names = json.loads(str(found["metadata"]))["replicates"]
    assert names == [
        "f32-sdpa", "f32-left-padded", "f32-chunked-prefill", "f32-halves", "f32-ranks", "f32-shaken-1", "f32-shaken-2",
    ]  # fmt: skip
    targets = [found[f"{name}/target_logprobs"] for name in names]
    largest = [float(np.nanmax(np.abs(one - found["reference/target_logprobs"]))) for one in targets]
    assert all(0 < value < 1e-4 for value in largest[:5]), largest
    assert all(max(largest[:5]) < value < 1e-3 for value in largest[5:]), largest
    assert len({one.tobytes() for one in targets}) == 7


def test_a_rung_that_rounds_nothing_is_left_out(
    reference_program: Runs, models: dict[str, Path], ids: Path, tmp_path: Path
) -> None:
    """Keys and values of one fused projection: no fp8 cache rather than one that costs nothing, and a line says so."""
    out = tmp_path / "ladder.npz"
    done = reference_program(
        "ladder", "--model", models["converted on loading"], "--ids", ids, "--out", out, "--top-k", "8"
    )
    assert done.returncode == 0, done.stderr
    rungs = json.loads(str(np.load(out)["metadata"]))["rungs"]
    assert rungs == ["ladder-int8", "ladder-fp8", "ladder-int4"]
    assert "ladder-fp8-kv: left out, it rounds nothing in a Phi3ForCausalLM\n" in done.stderr


def test_a_killed_run_goes_on_where_it_was(
    reference_python: Path, reference_program: Runs, models: dict[str, Path], ids: Path, tmp_path: Path
) -> None:
    """Killed while replicates are computed; what was finished is not done again, and the result is the same."""
    model, work = models["dense"], tmp_path / "work"
    work.mkdir()
    expected = score(reference_program, model, ids, tmp_path / "whole.npz", "--memory", "0")
    words = ["score", "--model", model, "--ids", ids, "--out", tmp_path / "out.npz", "--top-k", "8", "--memory", "0"]
    command = [str(reference_python), "-P", str(PROGRAM), *map(str, words), "--work", str(work)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        end = time.monotonic() + 120
        while not (work / "bf16-sdpa.npz").exists():
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.005)  # polls for the second replicate; bounded by `end`
        os.kill(process.pid, signal.SIGKILL)
    before = {path.name: path.stat().st_mtime_ns for path in work.glob("*.npz")}
    found = score(reference_program, model, ids, tmp_path / "out.npz", "--memory", "0", "--work", str(work))
    assert {path.name: path.stat().st_mtime_ns for path in work.glob("*.npz") if path.name in before} == before
    assert all(np.array_equal(found[name], expected[name], equal_nan=True) for name in expected if "/" in name)


@pytest.mark.parametrize(
    ("kind", "weight"), [("dense", "mlp.down_proj.weight"), ("an expert a tensor", "mlp.experts.0.down_proj.weight")]
)
def test_a_stopped_pass_goes_on_behind_the_last_layer_that_all_had_left(
    reference_program: Runs, models: dict[str, Path], ids: Path, tmp_path: Path, kind: str, weight: str
) -> None:
    """Stopped by a spoilt last layer, mended, gone on: what lay before is not read again, for now it is spoilt."""
    model, work = tmp_path / "model", tmp_path / "work"
    shutil.copytree(models[kind], model)
    work.mkdir()
    expected = score(reference_program, model, ids, tmp_path / "whole.npz", "--memory", "0", "--alone")
    index = json.loads((model / "model.safetensors.index.json").read_text())["weight_map"]
    first, last = (model / index[f"model.layers.{layer}.{weight}"] for layer in (0, 5))
    sound = last.read_bytes()
    options = ["--top-k", "8", "--memory", "0", "--alone", "--work", str(work), "--note-every", "0"]
    words = ["score", "--model", str(model), "--ids", str(ids), "--out", str(tmp_path / "out.npz"), *options]
    fill_with_nan(last)
    assert reference_program(*words).returncode == 2
    assert (work / "reference.notebook").exists()
    last.write_bytes(sound)
    fill_with_nan(first)
    assert reference_program(*words).returncode == 0
    assert [path.name for path in work.iterdir()] == ["reference.npz"]
    found = np.load(tmp_path / "out.npz")["reference/target_logprobs"]
    assert np.array_equal(found, expected["reference/target_logprobs"], equal_nan=True)


def cut(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[:-10])


def spoil_header(shard: Path) -> None:
    data = bytearray(shard.read_bytes())
    data[8:12] = b"oops"
    shard.write_bytes(data)


def fill_with_nan(shard: Path) -> None:
    data = bytearray(shard.read_bytes())
    data[-2:] = b"\xc0\x7f"
    shard.write_bytes(data)


def leave_out(shard: Path) -> None:
    shard.unlink()


@pytest.mark.parametrize("memory", ["0", None], ids=["part by part", "in memory"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "is damaged: {size} bytes, its header promises {more}"),
        (spoil_header, "is damaged: its header cannot be read"),
        (fill_with_nan, "not finite"),
        (leave_out, "is missing (1 of {shards} shards that model.safetensors.index.json names)"),
    ],
)
def test_a_damaged_shard_is_named(
    reference_program: Runs, models: dict[str, Path], ids: Path, tmp_path: Path,
    damage: Callable[[Path], None], message: str, memory: str | None,
) -> None:  # fmt: skip
    """One line says which file, or in memory which tensor, and nothing is written."""
    model = tmp_path / "model"
    shutil.copytree(models["dense"], model)
    shards = sorted(model.glob("*.safetensors"))
    size = shards[1].stat().st_size
    damage(shards[1])
    options = ["--memory", memory] if memory is not None else []
    out = tmp_path / "out.npz"
    done = reference_program("score", "--model", model, "--ids", ids, "--out", out, *options)
    assert done.returncode == 2 and not out.exists()
    (line,) = done.stderr.splitlines()
    assert message.format(size=size - 10, more=size, shards=len(shards)) in line
    assert shards[1].name in line or damage is fill_with_nan


@pytest.mark.parametrize("memory", ["0", None], ids=["part by part", "in memory"])
def test_a_checkpoint_that_lacks_a_tensor_is_refused(
    reference_program: Runs, models: dict[str, Path], ids: Path, tmp_path: Path, memory: str | None
) -> None:
    """transformers would go on with random numbers in its place."""
    model = tmp_path / "model"
    shutil.copytree(models["dense"], model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 7}))
    options = ["--memory", memory] if memory is not None else []
    done = reference_program("score", "--model", model, "--ids", ids, "--out", tmp_path / "out.npz", *options)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "the checkpoint lacks model.layers.6.input_layernorm.weight (9 parameters in all)" in line


def test_a_config_unknown_to_transformers_is_named(
    reference_program: Runs, models: dict[str, Path], ids: Path, tmp_path: Path
) -> None:
    """A model newer than the reference's transformers is no fault of anybody's; the version is told."""
    model = tmp_path / "model"
    shutil.copytree(models["dense"], model)
    config = json.loads((model / "config.json").read_text())
    unknown = {"model_type": "hyena", "architectures": ["Hyena9ForCausalLM"]}
    (model / "config.json").write_text(json.dumps(config | unknown))
    done = reference_program("score", "--model", model, "--ids", ids, "--out", tmp_path / "out.npz")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "config.json is not known to transformers 5.23.0" in line and "hyena" in line


@pytest.mark.parametrize(("kind", "name"), [("dense", "hyena8"), ("an expert a tensor", "hyena9")])
def test_a_new_name_for_a_known_class_is_that_class(
    reference_program: Runs, models: dict[str, Path], ids: Path, tmp_path: Path, kind: str, name: str
) -> None:
    """As Kimi K2 is a DeepseekV3ForCausalLM of a model type of its own: the logprobs are the known class's."""
    model = tmp_path / "model"
    shutil.copytree(models[kind], model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"model_type": name}))
    new = score(reference_program, model, ids, tmp_path / "new.npz")
    known = score(reference_program, models[kind], ids, tmp_path / "known.npz")
    floats = [key for key in known if known[key].dtype.kind == "f"]
    assert floats and all(np.array_equal(new[key], known[key], equal_nan=True) for key in floats)


@pytest.mark.parametrize("memory", ["0", None], ids=["part by part", "in memory"])
def test_a_tensor_of_another_shape_than_the_config_says_is_named(
    reference_program: Runs, models: dict[str, Path], ids: Path, tmp_path: Path, memory: str | None
) -> None:
    """The two shapes are told."""
    model = tmp_path / "model"
    shutil.copytree(models["dense"], model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"intermediate_size": 95}))
    options = ["--memory", memory] if memory is not None else []
    done = reference_program("score", "--model", model, "--ids", ids, "--out", tmp_path / "out.npz", *options)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "model.layers.0.mlp.down_proj.weight is [64, 96] in the checkpoint, [64, 95] by its config.json" in line
