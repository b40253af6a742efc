"""What is told of a checkpoint before any engine is judged on it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordLevel

from matrix.errors import WrongInput
from matrix.results import Status
from probes.reference import stage
from probes.reference.program import architecture, coverage
from probes.reference.stage import Reference
from probes.stopwatch import Stopwatch
from runners import failure
from runners.engine import Environment
from runners.models import Checkpoint
from tests.fake_engine.bench import ENVIRONMENT, WORKLOAD

ROWS = 16

MAKE = f"""
import sys, torch
from transformers import LlamaConfig, LlamaForCausalLM
from safetensors.torch import load_file, save_file
config = LlamaConfig(vocab_size={ROWS}, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                     num_attention_heads=2, num_key_value_heads=2, tie_word_embeddings=False, dtype="bfloat16")
LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(sys.argv[1])
path = sys.argv[1] + "/model.safetensors"
tensors = load_file(path)
del tensors["model.layers.0.mlp.up_proj.weight"]
tensors["model.layers.0.mlp.down_proj.weight"] = torch.zeros(16, 8, dtype=torch.bfloat16)
tensors["mtp.fc.weight"] = torch.zeros(2, 2, dtype=torch.bfloat16)
save_file(tensors, path, metadata={{"format": "pt"}})
"""


def write_tokenizer(folder: Path, size: int, *special: str, plain: tuple[str, ...] = ()) -> None:
    """A tokenizer of `size` words, and after them added tokens."""
    tokenizer = Tokenizer(WordLevel({f"w{i}": i for i in range(size)}, unk_token="w0"))
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in special])
    tokenizer.add_tokens([AddedToken(word, special=False) for word in plain])
    tokenizer.save(str(folder / "tokenizer.json"))


def reference(folder: Path, environment: Environment = ENVIRONMENT) -> Reference:
    checkpoint = Checkpoint(folder=folder, digest="0" * 40)
    return Reference(checkpoint=checkpoint, environment=environment, workload=WORKLOAD, watch=Stopwatch())


def test_special_tokens_are_counted_apart(tmp_path: Path) -> None:
    """Text gives the plain ids, added or not; special ones stand behind them."""
    write_tokenizer(tmp_path, 5, "<image>", plain=("added",))
    assert coverage.ids(tmp_path) == {"largest_id": 6, "largest_special_id": 5}


def test_a_tokenizer_without_special_tokens(tmp_path: Path) -> None:
    """None is told as -1, below any number of rows."""
    write_tokenizer(tmp_path, 5)
    assert coverage.ids(tmp_path) == {"largest_id": 4, "largest_special_id": -1}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"model_type": 3}', "{}"])
def test_a_config_may_name_no_model_type(text: str, tmp_path: Path) -> None:
    """Whatever else is in the file."""
    (tmp_path / "config.json").write_text(text)
    assert architecture.model_type(tmp_path) is None


@pytest.mark.usefixtures("cache_root")
def test_a_reference_that_cannot_be_made_blames_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the program refuses a checkpoint with a hole, the cells of the model say so, with the tensor's name."""
    words = "error: the checkpoint lacks lm_head.weight (1 parameters in all)"
    program = tmp_path / "program"
    program.mkdir()
    (program / "__main__.py").write_text(f"import sys\nprint({words!r}, file=sys.stderr)\nsys.exit(2)\n")
    monkeypatch.setattr(stage, "PROGRAM", program)
    here = replace(ENVIRONMENT, python=Path(sys.executable))
    with pytest.raises(WrongInput, match=r"the checkpoint lacks lm_head\.weight \(1 parameters in all\)") as caught:
        reference(tmp_path, here).corpus()
    assert failure.status_of(caught.value) is Status.ERROR


@pytest.fixture(scope="module")
def holey(reference_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama that lacks one tensor, has another of a wrong shape, and one too many."""
    folder = tmp_path_factory.mktemp("holey")
    subprocess.run([str(reference_python), "-P", "-c", MAKE, str(folder)], check=True, timeout=120)
    return folder


def covered(python: Path, folder: Path) -> stage.Coverage:
    return reference(folder, replace(ENVIRONMENT, python=python)).coverage()


@pytest.mark.engine
@pytest.mark.usefixtures("cache_root")
def test_tensors_are_told_by_name(reference_python: Path, holey: Path) -> None:
    """Missing, of another shape, and without a use; the rows are those of the output matrix."""
    write_tokenizer(holey, ROWS)
    found = covered(reference_python, holey)
    assert found.missing == ("model.layers.0.mlp.up_proj.weight",)
    assert found.mismatched == ("model.layers.0.mlp.down_proj.weight",)
    assert found.unexpected == ("mtp.fc.weight",)
    assert (found.rows, found.largest_id, found.fault) == (ROWS, ROWS - 1, None)


@pytest.mark.engine
@pytest.mark.usefixtures("cache_root")
def test_a_tokenizer_with_ids_beyond_the_rows_is_at_fault(reference_python: Path, holey: Path) -> None:
    """One word more than there are rows."""
    write_tokenizer(holey, ROWS + 1)
    fault = covered(reference_python, holey).fault
    assert fault == f"the tokenizer gives ids up to {ROWS} but the model has {ROWS} rows"


@pytest.mark.engine
@pytest.mark.usefixtures("cache_root")
@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (
            {"model_type": "nextmodel"},
            "config.json has model_type 'nextmodel', which transformers 5.23.0 does not know",
        ),
        (
            {"model_type": "nextmodel", "auto_map": {"AutoConfig": "code.Config"}},
            "config.json has model_type 'nextmodel', which transformers 5.23.0 does not know",
        ),
    ],
    ids=["unknown", "with code of its own"],
)
def test_a_config_that_transformers_does_not_know_is_at_fault(
    reference_python: Path, tmp_path: Path, config: dict[str, Any], sentence: str
) -> None:
    """Its kind of model is named, and code that comes with it is not run."""
    (tmp_path / "config.json").write_text(json.dumps(config))
    write_tokenizer(tmp_path, ROWS)
    assert covered(reference_python, tmp_path).fault == sentence
