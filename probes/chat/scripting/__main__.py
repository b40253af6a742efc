"""A checkpoint that says what is written down: `python -P scripting --format FOLDER --out FOLDER`.

A small Qwen2, which every engine runs as it runs any other, in the family whose format it speaks. A user's message
holds a script's trigger, one token; from there on each next token follows from two: the *latest* token of the script
and the *current* one, which differ where the current one is a marker or a line end that occurs more than once. Each
piece of a script has an id of its own, so the latest says where in which script we are.

    attention   every position looks at the token with the highest stage so far (a trigger has the lowest, and each
                piece of a script one more than the piece before it), and takes its code over
    MLP         one neuron for each step of each script: it fires where both codes match, and adds the next token's
    output      the token with that code

Codes are vectors of ±1 that differ in more than a quarter of their places, so what does not match stays far below zero.
Every greedy answer is checked with transformers before the checkpoint is kept. Standalone: imports nothing of this
project.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

CONTEXT = 4096
ROPE_THETA = 1e8
"""So large that the slowest pair of dimensions, which carries the stages, does not turn within the context."""
CODE = 64
"""Dimensions of a code, and of an attention head."""
HIDDEN, HEADS = 4 * CODE, 4
CURRENT, LATEST, NEXT, CONSTANT = 0, CODE, 2 * CODE, 3 * CODE
STAGE = CONSTANT + 1
LOUD = 8.0
"""The constant dimension, and the length of the two that hold the stage."""
STAGES = 80
"""More than any script has pieces."""
APART = 30.0
"""Nats of attention between two stages that follow each other."""
LARGEST_OVERLAP = 28
"""Of two codes' 64 places, agreeing less differing ones."""
THRESHOLD, FIRES = 1.75, 100.0
"""Of two matches together; what a neuron gives where both match."""


def beside(name: str) -> Any:
    """A module beside this file: with `-P`, Python does not look there."""
    found = importlib.util.spec_from_file_location(f"scripting_{name}", Path(__file__).with_name(f"{name}.py"))
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    found.loader.exec_module(module)
    return module


def codes(count: int) -> Any:
    """[count, CODE] of ±1, no two alike in too many places; drawn one after another, so repeatable."""
    import torch

    generator = torch.Generator().manual_seed(0)
    found = torch.empty(count, CODE)
    kept = 0
    while kept < count:
        drawn = torch.randint(0, 2, (CODE,), generator=generator) * 2.0 - 1.0
        if kept == 0 or (found[:kept] @ drawn).abs().max() <= LARGEST_OVERLAP:
            found[kept] = drawn
            kept += 1
    return found


def model_of(table: Any) -> Any:
    """The model whose greedy answers are the scripts of a table of steps."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=table.rows, hidden_size=HIDDEN, intermediate_size=table.neurons, num_hidden_layers=1,
        num_attention_heads=HEADS, num_key_value_heads=HEADS, max_position_embeddings=CONTEXT,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA}, rms_norm_eps=1e-6,
        tie_word_embeddings=False, bos_token_id=table.bos, eos_token_id=table.eos, pad_token_id=None,
        dtype="float32", hidden_act="silu",
    )  # fmt: skip
    model = Qwen2ForCausalLM(config)
    code = codes(table.rows)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0 if "norm" in name else 0.0)
        _embed(model.model.embed_tokens.weight, code, table.stages)
        _attend(model.model.layers[0].self_attn)
        _look_up(model.model.layers[0].mlp, code, table.steps)
        model.lm_head.weight[:, NEXT : NEXT + CODE] = code
    return model.eval()


def _embed(weight: Any, code: Any, stages: dict[int, int]) -> None:
    """Code, constant, and the stage as a point on a circle, so that every token has the same length."""
    import torch

    stage = torch.zeros(len(code))
    for token, number in stages.items():
        stage[token] = number / STAGES
    weight[:, CURRENT : CURRENT + CODE] = code
    weight[:, CONSTANT] = LOUD
    weight[:, STAGE] = LOUD * stage
    weight[:, STAGE + 1] = LOUD * (1 - stage**2).sqrt()


def _attend(attention: Any) -> None:
    """In the first head; the others add nothing."""
    import torch

    rms = ((CODE + 2 * LOUD**2) / HIDDEN) ** 0.5
    loud = LOUD / rms
    slowest = CODE // 2 - 1  # the last of the pairs that RoPE turns: dimensions i and i + CODE / 2
    attention.q_proj.weight[slowest, CONSTANT] = APART * STAGES * CODE**0.5 / loud**2
    attention.k_proj.weight[slowest, STAGE] = 1.0
    attention.v_proj.weight[:CODE, CURRENT : CURRENT + CODE] = torch.eye(CODE) * rms
    attention.o_proj.weight[LATEST : LATEST + CODE, :CODE] = torch.eye(CODE)


def _look_up(mlp: Any, code: Any, steps: list[tuple[int, int, int]]) -> None:
    """A neuron a step: (latest, current) -> next."""
    sharp = FIRES / (2 - THRESHOLD)
    rms = ((2 * CODE + 2 * LOUD**2) / HIDDEN) ** 0.5
    for neuron, (latest, current, following) in enumerate(steps):
        mlp.gate_proj.weight[neuron, LATEST : LATEST + CODE] = code[latest] * sharp * rms / CODE
        mlp.gate_proj.weight[neuron, CURRENT : CURRENT + CODE] = code[current] * sharp * rms / CODE
        mlp.gate_proj.weight[neuron, CONSTANT] = -THRESHOLD * sharp * rms / LOUD
        mlp.up_proj.weight[neuron, CONSTANT] = rms / LOUD
        mlp.down_proj.weight[NEXT : NEXT + CODE, neuron] = code[following] / FIRES


def check(folder: Path, told: dict[str, Any], table: Any) -> None:
    """Raise ValueError unless transformers reads the checkpoint back and it says what is written down."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for script, (trigger, tokens) in zip(told["script"], table.scripts, strict=True):
        messages = [{"role": "user", "content": tokenizer.convert_ids_to_tokens(trigger)}]
        prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
        made = model.generate(**ids, max_new_tokens=len(tokens) + 8, do_sample=False)[0, ids["input_ids"].shape[1] :]
        if made.tolist() != tokens:
            raise ValueError(f"{script['name']}: says {tokenizer.decode(made)!r}")
        with torch.no_grad():
            sequence = torch.cat([ids["input_ids"][0], made])[None]
            sure = model(sequence).logits[0, -len(tokens) - 1 : -1].log_softmax(-1).gather(1, made[:, None]).min()
        if sure < -1e-6:
            raise ValueError(f"{script['name']}: says a token with a logprob of {sure}")


def main(arguments: Sequence[str]) -> int:
    """Make one checkpoint; its exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--format", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    told = tomllib.loads((options.format / "scripts.toml").read_text())
    template = (options.format / "template.jinja").read_text()
    table = beside("words").write(options.out, told, template, CONTEXT)
    assert max(table.stages.values()) < STAGES
    model = model_of(table)
    model.save_pretrained(options.out)
    ends = {"bos_token_id": table.bos, "eos_token_id": [table.eos, table.other_eos]}
    (options.out / "generation_config.json").write_text(json.dumps(ends, indent=2))
    check(options.out, told, table)
    made = {"format": options.format.name, "steps": len(table.steps), "rows": table.rows}
    (options.out / "checkpoint.json").write_text(json.dumps(made, indent=2))
    return 0


def command() -> Callable[[Sequence[str]], int]:
    """The main function, for a process that calls it many times."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    return main


if __name__ == "__main__":
    sys.exit(command()(sys.argv[1:]))
