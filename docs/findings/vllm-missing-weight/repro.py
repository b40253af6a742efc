"""vLLM serves a checkpoint that lacks the weight of a Linear layer, reports itself healthy and answers from garbage.

    docker run --rm --gpus all -v "$PWD:/repro" --entrypoint python3 vllm/vllm-openai:v0.32.0 /repro/repro.py
    (or: pip install vllm==0.32.0 requests && python repro.py)
A tiny Llama is saved whole, and without one weight. The whole one must be served, the other must be refused.
Exits 1 while the fault is there, 0 once it is gone, 2 where it could not be tried.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time

sys.excepthook = lambda *error: (sys.__excepthook__(*error), os._exit(2))  # a crash of this program is no answer

import requests
import torch
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB
LOST, URL = "model.layers.1.mlp.down_proj.weight", "http://127.0.0.1:18432"
LOG = tempfile.TemporaryFile("w+", errors="replace")


def served(folder: str, without: str) -> list[float] | None:
    """Logprobs of a prompt; None where the server ends by itself instead."""
    tiny.save_pretrained(folder, state_dict={name: w for name, w in tiny.state_dict().items() if name != without})
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(folder)
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", folder, "--port", "18432"]
    body = {"model": folder, "prompt": list(range(9)), "max_tokens": 1, "prompt_logprobs": 0}
    server = subprocess.Popen([*command, "--dtype", "float32", "--enforce-eager"], stdout=LOG, stderr=LOG)
    try:
        while server.poll() is None:
            time.sleep(1)
            with contextlib.suppress(requests.ConnectionError):
                if requests.get(f"{URL}/health", timeout=60).ok:
                    answer = requests.post(f"{URL}/v1/completions", json=body, timeout=120).json()
                    return [one["logprob"] for row in answer["choices"][0]["prompt_logprobs"][1:] for one in row.values()]
    finally:
        server.terminate()
        server.wait()


torch.manual_seed(0)
tiny = LlamaForCausalLM(LlamaConfig(vocab_size=128, hidden_size=128, intermediate_size=256, num_hidden_layers=2,
                                    num_attention_heads=4, max_position_embeddings=256, initializer_range=0.3))  # fmt: skip
words = Tokenizer(models.WordLevel({str(i): i for i in range(128)}, unk_token="0"))
with tempfile.TemporaryDirectory() as work:
    whole, damaged = served(f"{work}/whole", ""), served(f"{work}/lost", LOST)
said = LOG.seek(0) or LOG.read()
assert whole is not None and (damaged is not None or LOST in said), said[-1000:]  # refused, but for another reason
for what, row in (("of the whole checkpoint", whole), (f"without {LOST}", damaged)):
    print(f"logprobs {what}:", "refused" if row is None else " ".join(f"{one:.3f}" for one in row))
print("the damaged checkpoint is", "refused" if damaged is None else "served as healthy")
sys.exit(0 if damaged is None else 1)
