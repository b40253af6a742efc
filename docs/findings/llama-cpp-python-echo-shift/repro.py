"""llama-cpp-python echoes a prompt with every logprob shifted by one token, where the model has no BOS.

Run: pip install llama-cpp-python==0.3.36 && python repro.py
The logprob of token i must be that after the tokens before it: row i - 1 of the logits. The model is a tiny Llama.
Exits 1 while the fault is there, 0 once it is gone, 2 where it could not be tried.
"""

import os
import struct
import sys
import tempfile

sys.excepthook = lambda *error: (sys.__excepthook__(*error), os._exit(2))  # a crash is no answer

import numpy as np
from llama_cpp import Llama

LETTERS = [chr(code) for code in range(33, 127)] + ["Ġ"]  # a token a letter, and one for the space
META = {
    "general.architecture": "llama", "llama.context_length": 256, "llama.embedding_length": 64, "llama.block_count": 1,
    "llama.feed_forward_length": 64, "llama.attention.head_count": 2, "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": LETTERS, "tokenizer.ggml.merges": ["! !"],
    "tokenizer.ggml.add_bos_token": False,
}  # fmt: skip
SQUARE = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
SHAPES = {"token_embd": (95, 64), "output_norm": (64,), "blk.0.attn_norm": (64,), "blk.0.ffn_norm": (64,)}
SHAPES |= {f"blk.0.{name}": (64, 64) for name in SQUARE}


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def pair(key: str, value: object) -> bytes:
    if isinstance(value, list):
        return text(key) + struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))
    if isinstance(value, str):
        return text(key) + struct.pack("<I", 8) + text(value)
    kind, form = {bool: (7, "?"), int: (4, "I"), float: (6, "f")}[type(value)]
    return text(key) + struct.pack(f"<I{form}", kind, value)


head = struct.pack("<4sIQQ", b"GGUF", 3, len(SHAPES), len(META)) + b"".join(pair(*one) for one in META.items())
draw, body = np.random.default_rng(0), b""
for name, shape in SHAPES.items():
    head += text(f"{name}.weight") + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape[::-1], 0, len(body))
    body += (draw.normal(0, 0.3, shape) if len(shape) > 1 else np.ones(shape)).astype("<f4").tobytes()
with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
    file.write(head + b"\0" * (-len(head) % 32) + body)
    file.flush()
    model = Llama(file.name, logits_all=True, n_ctx=256, verbose=False)
said = model.create_completion("Shifted_by_one?", max_tokens=1, echo=True, logprobs=1, temperature=0)["choices"][0]
ids, rows = model.tokenize(b"Shifted_by_one?", add_bos=False), Llama.logits_to_logprobs(model.scores)
seen, at = np.array(said["logprobs"]["token_logprobs"][1 : len(ids)]), np.arange(1, len(ids))
right, wrong = (np.abs(seen - rows[at - shift, ids[1:]]).max() for shift in (1, 0))
print(f"the echoed logprobs are {right:.2g} off from rows i - 1, and {wrong:.2g} from rows i:", *(f"{one:.2f}" for one in seen))
print("logprobs are shifted by one" if wrong < 1e-3 < right else "logprobs are not shifted by one")
sys.exit(1 if wrong < 1e-3 < right else 0 if right < 1e-3 else 2)
