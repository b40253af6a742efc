"""Tiny checkpoints are made of recipes and of unseen configs, alike every time, and engines can be judged on them."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from probes.checkpoints import recipes, tiny
from probes.checkpoints.recipes import Recipe
from runners.host import Host

pytestmark = pytest.mark.engine

RECIPES = ("llama-3.2-1b-instruct", "deepseek-v3.1", "gpt-oss-20b")
"""Tied; latent attention and grouped experts with a bias; sinks, a window and scaled RoPE."""


def readiness(folder: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "readiness", *map(str, words))
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.parametrize("name", RECIPES)
def test_a_checkpoint_is_the_same_every_time_and_every_tensor_of_it_shows(
    reference_python: Path, tmp_path: Path, name: str
) -> None:
    """Bit for bit; and no tensor could be lost without being seen."""
    config = recipes.named(name).whole_config()
    (tmp_path / "config.json").write_text(json.dumps(config))
    for place in ("one", "other"):
        (tmp_path / place).mkdir()
        with Host(reference_python) as host:
            host.run(
                tiny.PROGRAM, "--config", str(tmp_path / "config.json"), "--name", name, "--out", str(tmp_path / place)
            )
    one, other = tmp_path / "one", tmp_path / "other"
    assert (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
    assert json.loads((one / "config.json").read_text()) == config
    assert tiny.made(one).silent == {}


def unseen(**more: Any) -> dict[str, Any]:
    """A config as a new release might bring it: a known class with a key of its own."""
    return {
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 2560, "num_attention_heads": 32,
        "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 9728, "num_hidden_layers": 36,
        "vocab_size": 151936, "max_position_embeddings": 40960, "rope_theta": 1000000, "rms_norm_eps": 1e-06,
        "tie_word_embeddings": True, "bos_token_id": 151643, "eos_token_id": 151645, **more,
    }  # fmt: skip


@pytest.mark.usefixtures("reference_python")
def test_an_unseen_config_makes_a_checkpoint_and_says_what_it_could_not_shrink(tmp_path: Path) -> None:
    """That is what a new release brings: its config.json, before anybody here has read it."""
    (tmp_path / "new.json").write_text(json.dumps(unseen(memory_slots=4096)))
    made = readiness(tmp_path, "checkpoint", "new.json", "--out", "made", "--recipe", "new.toml")
    assert made.returncode == 0, made.stderr
    assert "could not shrink: memory_slots = 4096" in made.stdout
    assert json.loads((tmp_path / "made" / "config.json").read_text())["memory_slots"] == 4096
    assert (tmp_path / "made" / "model.safetensors").is_file()
    recipe = msgspec.convert(tomllib.loads((tmp_path / "new.toml").read_text()), Recipe)
    assert (recipe.published, recipe.family) == ("new", "new")
    assert "memory_slots = 4096" in recipe.kept_large
    again = readiness(tmp_path, "checkpoint", "new.json", "--out", "made")
    assert (again.returncode, "not empty" in again.stderr) == (2, True)


@pytest.mark.usefixtures("reference_python")
def test_a_class_that_transformers_does_not_know_is_refused_in_its_words(tmp_path: Path) -> None:
    """There is no reference to compare with, and nothing is written."""
    (tmp_path / "new.json").write_text(json.dumps(unseen(architectures=["NextForCausalLM"], model_type="next")))
    made = readiness(tmp_path, "checkpoint", "new.json")
    assert made.returncode == 2
    assert "does not recognize this architecture" in " ".join(made.stderr.split())
    assert not (tmp_path / "tiny-new").exists()


@pytest.mark.usefixtures("reference_python")
def test_tensors_have_the_names_of_the_published_files(tmp_path: Path) -> None:
    """transformers writes Kimi K2.5's text layers under the name of its image tower's."""
    assert readiness(tmp_path, "checkpoint", "kimi-k2.5", "--out", "made").returncode == 0
    data = (tmp_path / "made" / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    names = json.loads(data[8 : 8 + length]).keys() - {"__metadata__"}
    assert "language_model.model.layers.1.mlp.gate.e_score_correction_bias" in names
    assert {name.partition(".")[0] for name in names} == {"language_model", "mm_projector", "vision_tower"}


@pytest.mark.usefixtures("reference_python")
def test_a_model_of_images_brings_what_engines_read_before_they_serve_text(tmp_path: Path) -> None:
    """Its processors by transformers' own names, the tokens that they ask for, and defaults of generation."""
    assert readiness(tmp_path, "checkpoint", "gemma-4-e2b-it", "--out", "made").returncode == 0
    files = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "made").glob("*.json")}
    images = {"patch_size": 14, "image_processor_type": "Gemma4ImageProcessor"}
    sounds = {"feature_extractor_type": "Gemma4AudioFeatureExtractor"}
    assert files["preprocessor_config"] == {"processor_class": "Gemma4Processor", **images, **sounds}
    assert files["processor_config"]["image_processor"] == images
    named = files["tokenizer_config"]["extra_special_tokens"]
    assert int(named["image_token"].strip("<>media")) + 4 == files["config"]["image_token_id"]
    assert files["generation_config"] == {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


@pytest.mark.usefixtures("reference_python", "llama_cpp_python_environment")
def test_an_engine_is_judged_on_a_tiny_checkpoint(tmp_path: Path) -> None:
    """In float32 a real engine lies within a few times float32's own rounding."""
    cells = "llama-cpp-python-*__tiny-qwen3-30b-a3b__*"
    run = readiness(tmp_path, "run", "--profile", "microscope", "--launcher", "venv", "--select", cells)
    assert run.returncode == 0, run.stdout + run.stderr
    (stored,) = tmp_path.glob("results/*/*/correctness.result.json")
    numbers = json.loads(stored.read_text())["verdict"]["numbers"]
    assert numbers["prefill_rms"] < 5 * numbers["prefill_noise_rms"]
