"""The reference program, run for real on a tiny random Llama in the reference's own environment."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from probes import noise_floor as nf
from probes.reference.stage import PROGRAM, Reference
from probes.stopwatch import Stopwatch
from runners.engine import Environment
from runners.models import Checkpoint
from tests.fake_engine import bench
from tests.probes.reference_runs import Runs

pytestmark = pytest.mark.engine

VOCABULARY = 384
REPLICATES = ["bf16-sdpa", "bf16-left-padded", "bf16-chunked-prefill", "bf16-decode", "bf16-eager"]

MAKE = f"""
import sys, torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
torch.manual_seed(0)
config = LlamaConfig(vocab_size={VOCABULARY}, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
                     num_attention_heads=4, num_key_value_heads=2, initializer_range=0.3, dtype="bfloat16")
LlamaForCausalLM(config).to(getattr(torch, sys.argv[2])).save_pretrained(sys.argv[1])
letters = sorted(pre_tokenizers.ByteLevel.alphabet())
tokenizer = Tokenizer(models.BPE(vocab={{letter: place for place, letter in enumerate(letters)}}, merges=[]))
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
fast.chat_template = "{{% for m in messages %}}<{{{{ m.role }}}}>{{{{ m.content }}}}{{% endfor %}}"
fast.save_pretrained(sys.argv[1])
"""


@pytest.fixture(scope="module")
def model(reference_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama in bfloat16 with a byte tokenizer and a chat template."""
    folder = tmp_path_factory.mktemp("model")
    subprocess.run([str(reference_python), "-P", "-c", MAKE, str(folder), "bfloat16"], check=True, timeout=120)
    return folder


@pytest.fixture(scope="module")
def float32_model(reference_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same architecture with weights that are float32 themselves."""
    folder = tmp_path_factory.mktemp("float32-model")
    subprocess.run([str(reference_python), "-P", "-c", MAKE, str(folder), "float32"], check=True, timeout=120)
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "corpus.toml"
    path.write_text(
        "version = 7\n"
        + '[[passage]]\ndomain = "prose"\n'
        + 'text = "A river that forgets its name still finds the sea at last."\n'
        + '[[passage]]\ndomain = "code"\n'
        + 'text = "for i in range(10):\\n    print(i, i * i, i ** 3, sep=chr(44))"\n'
        + '[[passage]]\ndomain = "chat"\n'
        + 'messages = [{role = "user", content = "Where does the night train stop '
        + 'for an hour?"}]\n'
        + '[[seed]]\ntext = "One"\n[[seed]]\ntext = "Two hens"\n[[seed]]\ntext = "Three"\n'
    )
    return path


@pytest.fixture(scope="module")
def built(
    reference_program: Runs, model: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("built") / "reference.npz"
    done = reference_program(
        "build",
        "--model",
        model,
        "--corpus",
        corpus,
        "--out",
        out,
        "--sequences",
        "6",
        "--length",
        "40",
        "--top-k",
        "8",
    )
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["corpus", "reference", *REPLICATES]
    assert [path.name for path in out.parent.iterdir()] == ["reference.npz"]  # no temporary file stays behind
    return dict(np.load(out))


def test_describe_tells_versions_and_threads(reference_program: Runs) -> None:
    """`describe` prints one JSON object."""
    described = json.loads(reference_program("describe").stdout)
    assert {"torch", "transformers", "threads"} <= set(described)


def test_build_writes_corpus_reference_and_noise(built: dict[str, Any]) -> None:
    """Half written, half on-policy, of exactly the length; every run finite at every position."""
    assert built["token_ids"].shape == (6, 40)
    assert built["domain"].tolist() == ["prose", "on-policy", "code", "on-policy", "chat", "on-policy"]
    assert bytes(built["token_ids"][4][:6].astype(np.uint8)) != b"" and (built["lengths"] == 40).all()
    for name in ("reference", *REPLICATES):
        assert built[f"{name}/target_logprobs"].shape == (6, 39)
        assert built[f"{name}/top_ids"].shape == built[f"{name}/top_logprobs"].shape == (6, 39, 8)
        assert np.isfinite(built[f"{name}/target_logprobs"]).all() and (built[f"{name}/target_logprobs"] <= 0).all()
        assert (np.diff(built[f"{name}/top_logprobs"]) <= 0).all()
    metadata = json.loads(str(built["metadata"]))
    assert metadata["architecture"] == "LlamaForCausalLM" and metadata["corpus_version"] == 7
    assert metadata["dtype"] == "bfloat16"
    assert metadata["replicates"] == REPLICATES and set(metadata["seconds"]) == {
        "corpus",
        "reference",
        *REPLICATES,
    }


def test_the_replicates_are_near_the_reference_and_each_is_its_own(built: dict[str, Any]) -> None:
    """Rounding moves logprobs a little, hardly any replicate repeats another, and none looks like a fault."""
    reference, replicates = nf.family(built)
    for run_ in replicates.values():
        difference = np.abs(nf.token_difference(reference, run_))
        assert 1e-5 < difference.mean() < 0.3
    verdict = nf.judge_ratio(reference, replicates, replicates["bf16-eager"])
    assert verdict.dropped == ()
    assert len(verdict.repeated) <= 1


def test_score_gives_what_build_gave(
    reference_program: Runs, model: Path, built: dict[str, Any], tmp_path: Path
) -> None:
    """The same ids cut to different lengths: the same logprobs up to each end, padding behind it."""
    lengths = [40, 31, 12, 2, 40, 25]
    given = {
        "token_ids": [built["token_ids"][row][:n].tolist() for row, n in enumerate(lengths)],
        "prompt_lengths": [5, 5, 5, 1, 5, 25],
    }
    (tmp_path / "ids.json").write_text(json.dumps(given))
    done = reference_program(
        "score",
        "--model",
        model,
        "--ids",
        tmp_path / "ids.json",
        "--out",
        tmp_path / "scores.npz",
        "--top-k",
        "8",
    )
    assert done.returncode == 0, done.stderr
    scores = dict(np.load(tmp_path / "scores.npz"))
    assert scores["lengths"].tolist() == lengths and scores["prompt_lengths"].tolist() == given["prompt_lengths"]
    inside = np.arange(39) < np.array(lengths)[:, None] - 1
    for name in ("reference", *REPLICATES):
        targets = scores[f"{name}/target_logprobs"]
        assert (np.isnan(targets) == ~inside).all()
        assert (scores[f"{name}/top_ids"][~inside] == -1).all() and (scores[f"{name}/top_ids"][inside] >= 0).all()
        limit = 1e-4 if name == "reference" else 0.5  # another shape may round another way
        assert np.abs(targets - built[f"{name}/target_logprobs"])[inside].max() < limit


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (
            {"token_ids": [[1, 2, VOCABULARY]]},
            "token id 384 at sequence 0 position 2 is outside the vocabulary",
        ),
        ({"token_ids": [[1, 2], [3, -1]]}, "token id -1 at sequence 1 position 1 is outside"),
        ({"token_ids": [[1, 2.5]]}, "2.5 is not a whole number"),
        ({"token_ids": [[1]]}, "sequence 0 has 1 tokens"),
        ({"token_ids": []}, "0 sequences"),
        ({"ids": []}, "token_ids"),
        ([], "TypeError"),
    ],
)
def test_wrong_ids_are_one_line_and_status_2(
    reference_program: Runs, model: Path, tmp_path: Path, ids: Any, message: str
) -> None:
    """What is wrong with the ids is said in one line; nothing is written."""
    (tmp_path / "ids.json").write_text(json.dumps(ids))
    done = reference_program(
        "score",
        "--model",
        model,
        "--ids",
        tmp_path / "ids.json",
        "--out",
        tmp_path / "out.npz",
    )
    assert done.returncode == 2
    assert message in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "out.npz").exists()


def test_a_missing_model_is_status_2(reference_program: Runs, corpus: Path, tmp_path: Path) -> None:
    """A folder without a model is named."""
    done = reference_program(
        "build",
        "--model",
        tmp_path / "none",
        "--corpus",
        corpus,
        "--out",
        tmp_path / "out.npz",
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: no model at ") and done.stderr.count("\n") == 1


def test_a_part_of_the_corpus_is_the_same_whatever_is_made_with_it(
    reference_program: Runs, model: Path, corpus: Path, built: dict[str, Any], tmp_path: Path
) -> None:
    """Sequences 4 to 8 by themselves: the first two as they were, then drawn ones, for the passages are used up."""
    done = reference_program(
        "build", "--model", model, "--corpus", corpus, "--out", tmp_path / "out.npz",
        "--first", "4", "--sequences", "5", "--length", "40", "--top-k", "8", "--alone",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    later = dict(np.load(tmp_path / "out.npz"))
    assert later["domain"].tolist() == ["chat", *["on-policy"] * 4]
    assert (later["token_ids"][:2] == built["token_ids"][4:]).all()
    assert len({tuple(ids) for ids in [*built["token_ids"].tolist(), *later["token_ids"].tolist()]}) == 9


def test_no_drawn_sequence_holds_the_id_of_another_medium(
    reference_program: Runs, model: Path, corpus: Path, built: dict[str, Any], tmp_path: Path
) -> None:
    """The id that the model draws most often of itself, once its config says that images stand there."""
    drawn = built["token_ids"][1::2, 8:]
    number = int(np.bincount(drawn.ravel()).argmax())
    shutil.copytree(model, tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps({**config, "image_token_id": number}))
    done = reference_program(
        "build", "--model", tmp_path / "model", "--corpus", corpus, "--out", tmp_path / "out.npz",
        "--sequences", "6", "--length", "40", "--alone",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = dict(np.load(tmp_path / "out.npz"))["token_ids"][1::2, 8:]
    assert (drawn == number).any() and not (found == number).any()


def test_a_passage_that_is_too_short_is_followed_by_the_next_of_its_domain(
    reference_program: Runs, model: Path, tmp_path: Path
) -> None:
    """Two short texts of a domain make one sequence; what is left over makes none."""
    text = '[[passage]]\ndomain = "prose"\ntext = "{}"\n'
    (tmp_path / "corpus.toml").write_text("".join(text.format(word) for word in ("abc", "def", "gh")) + SEED)
    done = reference_program(
        "build", "--model", model, "--corpus", tmp_path / "corpus.toml", "--out", tmp_path / "out.npz",
        "--sequences", "2", "--length", "5", "--alone",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = dict(np.load(tmp_path / "out.npz"))
    assert found["domain"].tolist() == ["prose", "on-policy"]
    letters = json.loads((model / "tokenizer.json").read_text())["model"]["vocab"]
    assert found["token_ids"][0].tolist() == [letters[letter] for letter in "abcde"]


SEED = '[[seed]]\ntext = "One"\n'


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sequences", "4", "--length", "40", "--memory", "0"], "has 3 written sequences of 40 tokens, 4 are needed"),
        (["--sequences", "0"], "--sequences must be at least 1"),
        (["--first", "-1"], "--first must be at least 0"),
    ],
)
def test_wrong_parts_of_the_corpus_are_status_2(
    reference_program: Runs, model: Path, corpus: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    """A model too large to draw from has the written sequences alone, and is told how many there are."""
    done = reference_program(
        "build",
        "--model",
        model,
        "--corpus",
        corpus,
        "--out",
        tmp_path / "out.npz",
        *options,
    )
    assert done.returncode == 2
    assert message in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("stored", ["model", "float32_model"])
def test_float32_has_a_noise_of_its_own(
    reference_program: Runs, built: dict[str, Any], tmp_path: Path, request: pytest.FixtureRequest, stored: str
) -> None:
    """Five other orders of the same float32 sums: off by rounding alone, each in its own way; and two shaken inputs."""
    model = request.getfixturevalue(stored)
    (tmp_path / "ids.json").write_text(json.dumps({"token_ids": built["token_ids"][:3].tolist()}))
    done = reference_program(
        "score", "--model", model, "--ids", tmp_path / "ids.json", "--out", tmp_path / "out.npz", "--dtype", "float32"
    )
    assert done.returncode == 0, done.stderr
    found = dict(np.load(tmp_path / "out.npz"))
    metadata = json.loads(str(found["metadata"]))
    assert metadata["dtype"] == "float32"
    assert metadata["checkpoint_dtype"] == ("float32" if stored == "float32_model" else "bfloat16")
    reference, replicates = nf.family(found)
    assert list(replicates) == [
        "f32-sdpa", "f32-left-padded", "f32-chunked-prefill", "f32-decode", "f32-ranks", "f32-shaken-1", "f32-shaken-2",
    ]  # fmt: skip
    targets = [run.target_logprobs for run in replicates.values()]
    largest = [float(np.abs(one - reference.target_logprobs).max()) for one in targets]
    assert all(0 < value < 1e-4 for value in largest[:5]), largest
    assert all(max(largest[:5]) < value < 1e-3 for value in largest[5:]), largest
    assert not any(np.array_equal(one, other) for n, one in enumerate(targets) for other in targets[:n])


def test_the_ladder_rises(reference_program: Runs, model: Path, built: dict[str, Any], tmp_path: Path) -> None:
    """Each rung is a run of its own, int4 further from the reference than int8; beyond memory there is none."""
    (tmp_path / "ids.json").write_text(json.dumps({"token_ids": built["token_ids"].tolist()}))
    words: list[str | Path] = [
        "ladder",
        "--model",
        model,
        "--ids",
        tmp_path / "ids.json",
        "--out",
        tmp_path / "out.npz",
        "--top-k",
        "8",
    ]
    done = reference_program(*words)
    assert done.returncode == 0, done.stderr
    found = dict(np.load(tmp_path / "out.npz"))
    assert (found["token_ids"] == built["token_ids"]).all()
    rungs = nf.runs(found)
    metadata = json.loads(str(found["metadata"]))
    assert metadata["architecture"] == "LlamaForCausalLM" and metadata["rungs"] == list(rungs)
    assert list(rungs) == ["ladder-fp8-kv", "ladder-int8", "ladder-fp8", "ladder-int4"]
    ratios = nf.ladder(*nf.family(built), rungs, 8)
    assert ratios["int4 weights"] > 3 * ratios["int8 weights"] > 3
    assert len({run.target_logprobs.tobytes() for run in rungs.values()}) == 4
    done = reference_program(*words, "--memory", "0")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "ladder: none, the model does not fit into 0 bytes of memory\n"
    assert nf.runs(dict(np.load(tmp_path / "out.npz"))) == {}


ROUND = """
import json, runpy, sys, torch
runpy.run_path(sys.argv[1])["command"]()
ladder = sys.modules["reference_program.ladder"]
from transformers import *
SIZES = dict(vocab_size=96, hidden_size=64, intermediate_size=96, num_hidden_layers=1, num_attention_heads=4,
             num_key_value_heads=2, head_dim=16, num_experts_per_tok=2)
found = {}
for config in (
    LlamaConfig(**SIZES),
    Qwen3MoeConfig(**SIZES, num_experts=4, moe_intermediate_size=32),
    GptOssConfig(**SIZES, num_local_experts=4),
    Phi3Config(**SIZES, pad_token_id=0),
):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    rungs = {rung.name: rung.apply for rung in ladder.RUNGS}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.2)
        before = {name: parameter.clone() for name, parameter in model.named_parameters()}
        cached, rounded = rungs["ladder-fp8-kv"](model), rungs["ladder-int8"](model)
    changed, steps = [], 0.0
    for name, parameter in model.named_parameters():
        if not torch.equal(parameter, before[name]):
            changed.append(name)
            inputs = 1 if "experts" in name and config.model_type == "gpt_oss" else -1
            places = parameter / before[name].abs().amax(inputs, keepdim=True) * 127
            steps = max(steps, float((places - places.round()).abs().max()))
    found[config.model_type] = dict(changed=changed, rounded=rounded, cached=cached, off=steps)
print(json.dumps(found))
"""

ATTENTION = [f"model.layers.0.self_attn.{name}_proj.weight" for name in "qkvo"]
STACKS = [f"model.layers.0.mlp.experts.{name}_proj" for name in ("gate_up", "down")]
ROUNDED = {
    "llama": [*ATTENTION, *(f"model.layers.0.mlp.{name}_proj.weight" for name in ("gate", "up", "down"))],
    "qwen3_moe": [*ATTENTION, *STACKS],
    "gpt_oss": [*ATTENTION, *STACKS],
    "phi3": [
        *(f"model.layers.0.self_attn.{name}_proj.weight" for name in ("o", "qkv")),
        *(f"model.layers.0.mlp.{name}_proj.weight" for name in ("gate_up", "down")),
    ],
}


def test_what_the_ladder_rounds(reference_python: Path) -> None:
    """Linear weights and stacks of experts by output row, whichever way they lie; no norm, router or embedding."""
    command = [str(reference_python), "-P", "-c", ROUND, str(PROGRAM / "__main__.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    found = json.loads(done.stdout)
    assert {kind: sorted(one["changed"]) for kind, one in found.items()} == {
        kind: sorted(names) for kind, names in ROUNDED.items()
    }
    assert all(one["rounded"] == len(ROUNDED[kind]) and one["off"] < 1e-3 for kind, one in found.items())
    assert {kind: one["cached"] for kind, one in found.items()} == {"llama": 2, "qwen3_moe": 2, "gpt_oss": 2, "phi3": 0}


def test_a_part_of_the_corpus_is_computed_once(reference_python: Path, model: Path, cache_root: Path) -> None:
    """First number, count and dtype tell cached tables apart; the line says which sequences are being made."""
    lines: list[str] = []
    reference = Reference(
        checkpoint=Checkpoint(folder=model, digest="0" * 40),
        environment=Environment(
            folder=reference_python.parents[1], python=reference_python, requirements_sha256="0" * 64
        ),
        workload=msgspec.structs.replace(bench.WORKLOAD, corpus_sequences=1, corpus_length=8),
        watch=Stopwatch(),
        say=lines.append,
    )
    begin, later = reference.corpus(), reference.corpus(first=1, count=2)
    assert begin["token_ids"].shape == (1, 8) and later["token_ids"].shape == (2, 8)
    assert begin["domain"].tolist() == ["prose"] and later["domain"][0] == "on-policy"
    assert (reference.corpus(0, 1)["token_ids"] == begin["token_ids"]).all()
    other = msgspec.structs.replace(reference, dtype="float32").corpus()
    assert json.loads(str(other["metadata"]))["dtype"] == "float32"
    assert lines == [
        "reference: 1 sequences of 8 tokens in float32 and its bfloat16 replicates",
        "reference: sequences 2 to 3 of 8 tokens in float32 and its bfloat16 replicates",
        "reference: 1 sequences of 8 tokens in float32 and its float32 replicates",
    ]
