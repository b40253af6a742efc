"""mlx-lm does not scale the keys of Falcon-H1 by key_multiplier, which every published checkpoint sets.

Run: pip install "mlx-lm[cpu]==0.32.2" && python repro.py        (on Apple hardware without [cpu])
Two folders hold the same weights, one with key_multiplier 0.25 and one with 4: their logprobs must differ. So must those
of ssm_in_multiplier, which shows that the comparison sees a multiplier that works.
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
from mlx_lm.models import falcon_h1
from mlx_lm.utils import load_model

CONFIG = {
    "architectures": ["FalconH1ForCausalLM"], "model_type": "falcon_h1", "hidden_size": 64, "intermediate_size": 128,
    "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32, "vocab_size": 128,
    "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "max_position_embeddings": 256, "tie_word_embeddings": False,
    "attention_bias": False, "mlp_bias": False, "projectors_bias": False, "mamba_chunk_size": 16, "mamba_d_conv": 4,
    "mamba_conv_bias": True, "mamba_d_head": 32, "mamba_d_ssm": 128, "mamba_d_state": 32, "mamba_expand": 2,
    "mamba_n_groups": 1, "mamba_n_heads": 4, "mamba_norm_before_gate": False, "mamba_proj_bias": False,
    "mamba_rms_norm": False, "mamba_use_mlp": True, "attention_in_multiplier": 1.0, "attention_out_multiplier": 1.0,
    "embedding_multiplier": 1.0, "key_multiplier": 1.0, "lm_head_multiplier": 1.0, "mlp_multipliers": [1.0, 1.0],
    "ssm_in_multiplier": 1.0, "ssm_multipliers": [1.0, 1.0, 1.0, 1.0, 1.0], "ssm_out_multiplier": 1.0,
}  # fmt: skip


def logprobs(folder: Path, weights: dict, **changed: float) -> mx.array:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG | changed))
    mx.save_safetensors(str(folder / "model.safetensors"), weights)
    loaded = load_model(folder)
    model = loaded[0] if isinstance(loaded, tuple) else loaded
    logits = model(mx.array([[(7 * i) % 128 for i in range(60)]]))[0].astype(mx.float32)
    return logits - mx.logsumexp(logits, axis=-1, keepdims=True)


mx.random.seed(0)
shapes = dict(tree_flatten(falcon_h1.Model(falcon_h1.ModelArgs.from_dict(CONFIG)).parameters()))
drawn = {name: 0.3 * mx.random.normal(w.shape) if w.ndim > 1 else mx.ones(w.shape) for name, w in shapes.items()}
conv = [name for name in drawn if "conv1d.weight" in name]  # published as [channels, 1, kernel]
drawn |= {name: drawn[name].transpose(0, 2, 1) for name in conv}
seen = {}
for name in ("key_multiplier", "ssm_in_multiplier"):
    with tempfile.TemporaryDirectory() as work:
        low, high = (logprobs(Path(work, str(value)), drawn, **{name: value}) for value in (0.25, 4.0))
        seen[name] = mx.abs(low - high).max().item()
    print(f"{name} 0.25 against 4: logprobs differ by {seen[name]:.3g} at most")
faulty = seen["key_multiplier"] == 0 and seen["ssm_in_multiplier"] > 1e-3
print("key_multiplier is ignored" if faulty else "key_multiplier is used")
sys.exit(1 if faulty else 0)
