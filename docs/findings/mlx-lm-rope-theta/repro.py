"""mlx-lm ignores the RoPE base of a checkpoint that transformers 5 has saved, and computes with 10000 instead.

Run: pip install "mlx-lm[cpu]==0.32.2" && python repro.py        (on Apple hardware without [cpu])
transformers 5 writes the base as rope_parameters.rope_theta and no longer as rope_theta. Two folders hold the same
weights and the same base, one in each spelling; a third holds the base 10000.
Exits 1 while the fault is there, 0 once it is gone, 2 where it could not be tried.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

sys.excepthook = lambda *error: (sys.__excepthook__(*error), os._exit(2))  # a crash is no answer

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.models import llama
from mlx_lm.utils import load_model

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 128,
    "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 128,
    "rms_norm_eps": 1e-5, "max_position_embeddings": 256, "tie_word_embeddings": True,
}  # fmt: skip
BASE = 1_000_000.0
SPELLINGS = {
    "rope_theta": {"rope_theta": BASE},
    "rope_parameters": {"rope_parameters": {"rope_type": "default", "rope_theta": BASE}},
    "10000": {"rope_theta": 10_000.0},
}


def logprobs(folder: Path, spelling: dict, weights: dict) -> mx.array:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG | spelling))
    mx.save_safetensors(str(folder / "model.safetensors"), weights)
    loaded = load_model(folder)
    model = loaded[0] if isinstance(loaded, tuple) else loaded
    logits = model(mx.array([[(7 * i) % 128 for i in range(100)]]))[0].astype(mx.float32)
    return logits - mx.logsumexp(logits, axis=-1, keepdims=True)


mx.random.seed(0)
shapes = dict(tree_flatten(llama.Model(llama.ModelArgs.from_dict(CONFIG | {"rope_theta": BASE})).parameters()))
drawn = {name: 0.3 * mx.random.normal(w.shape) if w.ndim > 1 else mx.ones(w.shape) for name, w in shapes.items()}
with tempfile.TemporaryDirectory() as work:
    seen = {name: logprobs(Path(work) / name, spelling, drawn) for name, spelling in SPELLINGS.items()}
off = {name: mx.abs(seen["rope_parameters"] - seen[name]).max().item() for name in ("rope_theta", "10000")}
print("largest difference of logprobs over 100 positions, expected 0 from the first and more from the second:")
print(f"rope_parameters against rope_theta, both {BASE:.0f}: {off['rope_theta']:.3g}")
print(f"rope_parameters against the base 10000: {off['10000']:.3g}")
faulty = off["rope_theta"] > 1e-3 and off["10000"] < 1e-3
print("the base is ignored: 10000 is used" if faulty else "the base is used")
sys.exit(1 if faulty else 0)
