"""What releases claim to run, read from their own registries before anything is launched."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from matrix.errors import EngineCrashed
from runners import claims
from runners.claims import Registry
from runners.engine import Claim, Environment
from runners.registries import packages
from runners.registry import engines

REGISTRY = Registry(by="architecture", native=("OneForCausalLM",), fallback=("ItsForCausalLM",))


@pytest.mark.parametrize(
    ("architecture", "kind", "said"),
    [
        ("OneForCausalLM", "native", "the release's registry names OneForCausalLM"),
        (
            "ItsForCausalLM",
            "fallback",
            "the release's registry names, by transformers' own classes, ItsForCausalLM",
        ),
        ("NewForCausalLM", "none", "the release's registry does not name NewForCausalLM"),
    ],
)
def test_a_registry_names_an_architecture_in_one_of_three_ways(architecture: str, kind: str, said: str) -> None:
    """By code of the engine's own, by transformers' classes, or not at all."""
    claim = REGISTRY.claim(architecture, "new")
    assert (claim.kind, claim.sentence) == (kind, said)


def test_the_checkpoints_own_config_says_what_is_looked_for(tmp_path: Path) -> None:
    """The matrix's word counts where there is no config; a registry by type of model takes the type."""
    assert claims.of_checkpoint(REGISTRY, tmp_path, "ItsForCausalLM") == Claim(kind="fallback", name="ItsForCausalLM")
    config = {"architectures": ["OneForCausalLM"], "model_type": "one"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert claims.of_checkpoint(REGISTRY, tmp_path, "ItsForCausalLM") == Claim(kind="native", name="OneForCausalLM")
    by_type = Registry(by="model_type", native=("one",), fallback=())
    assert claims.of_checkpoint(by_type, tmp_path, "ItsForCausalLM") == Claim(kind="native", name="one")
    assert claims.of_checkpoint(None, tmp_path, "ItsForCausalLM") is None


def test_a_crash_carries_what_was_claimed() -> None:
    """An engine that names an architecture and dies of it is another fault than one that never heard of it."""
    claim = REGISTRY.claim("OneForCausalLM", "one")
    with pytest.raises(EngineCrashed) as caught, claims.told(claim):
        raise EngineCrashed("exited with code 1 while loading")
    assert caught.value.__notes__ == ["the release's registry names OneForCausalLM"]


def test_a_module_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    """SGLang 0.5.17 has one."""
    (tmp_path / "model.py").write_text('EntryClass = "One"\n', encoding="utf-8-sig")
    found = packages.assigned(tmp_path / "model.py", "EntryClass")
    assert found is not None
    assert ast.literal_eval(found) == "One"


@pytest.mark.engine
@pytest.mark.parametrize(
    ("release", "named", "kind"),
    [
        ("vllm-0.32.0", "Gemma3ForCausalLM", "native"),
        ("vllm-0.32.0", "SmolLM3ForCausalLM", "fallback"),
        ("vllm-0.32.0", "RwkvForCausalLM", "none"),
        ("sglang-0.5.23", "Qwen3MoeForCausalLM", "native"),
        ("sglang-0.5.23", "SmolLM3ForCausalLM", "fallback"),
        ("transformers-5.23.0", "SmolLM3ForCausalLM", "native"),
        ("llama-cpp-python-0.3.36", "SmolLM3ForCausalLM", "native"),
        ("llama-cpp-python-0.3.36", "RwkvForCausalLM", "none"),
        ("llama-server-2026.10.11549", "SmolLM3ForCausalLM", "native"),
    ],
)
def test_releases_say_what_they_run(
    release: str, named: str, kind: str, environment_of: Callable[[str], Environment]
) -> None:
    """As installed, with nothing imported of them."""
    found = claims.in_environment(engines()[release.rpartition("-")[0]], environment_of(release))
    assert found is not None
    assert found.claim(named, "").kind == kind
