"""vllm 0.32.0: logprobs that are not transformers' in float32, of a tiny random Ernie4_5_MoeForCausalLM.
    docker run --rm --gpus all -v "$PWD:/repro" --entrypoint python3 vllm/vllm-openai:v0.32.0 /repro/repro.py
    or: pip install vllm==0.32.0 && python repro.py
Exits 1 while the fault is there, 0 once it is gone, 2 where it could not be tried.
"""

import contextlib, os, subprocess, sys, tempfile, time

sys.excepthook = lambda *error: (sys.__excepthook__(*error), os._exit(2))  # a crash of this program is no answer

import requests
import torch
import transformers
from tokenizers import Tokenizer, models

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
torch.manual_seed(0)
FOLDER, LOG = tempfile.mkdtemp(prefix="tiny-"), tempfile.TemporaryFile("w+", errors="replace")
open(f"{FOLDER}/config.json", "w").write("""{"architectures": ["Ernie4_5_MoeForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
 "hidden_act": "silu", "hidden_size": 256, "intermediate_size": 640, "max_position_embeddings": 1024, "model_type":
 "ernie4_5_moe", "moe_intermediate_size": 160, "moe_k": 2, "moe_layer_end_index": 4, "moe_layer_interval": 1,
 "moe_layer_start_index": 1, "moe_num_experts": 8, "moe_num_shared_experts": 2, "num_attention_heads": 4,
 "num_hidden_layers": 4, "num_key_value_heads": 2, "num_nextn_predict_layers": 0, "rms_norm_eps": 1e-05,
 "rope_theta": 500000.0, "tie_word_embeddings": true, "vocab_size": 128}""")
config = transformers.AutoConfig.from_pretrained(FOLDER)
model = getattr(transformers, config.architectures[0])(config).float().eval()
for weight in (one for one in model.state_dict().values() if one.is_floating_point() and one.numel() > 1):
    drawn = torch.randn(weight.shape)
    weight.copy_(drawn * weight.shape[-1] ** -0.5 if weight.dim() > 1 else weight + drawn / 4)
model.save_pretrained(FOLDER)
SIZE = config.get_text_config().vocab_size
words = Tokenizer(models.WordLevel({str(i): i for i in range(SIZE)}, unk_token="0"))
transformers.PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(FOLDER)
IDS, URL, END = torch.randint(SIZE, (160,)).tolist(), "http://127.0.0.1:18434", time.monotonic() + 1800
BODY = {"model": FOLDER, "prompt": IDS, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 5}
COMMAND = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", FOLDER, "--port", URL[-5:],
           "--dtype", "float32", "--generation-config", "vllm", "--enable-prompt-tokens-details", "--enforce-eager",
           "--max-model-len", "1024", "--no-enable-prefix-caching"]
server = subprocess.Popen(COMMAND, stdout=LOG, stderr=LOG)
try:
    while server.poll() is None and time.monotonic() < END:
        time.sleep(1)  # polls; bounded by END
        with contextlib.suppress(requests.ConnectionError):
            if requests.get(URL + "/health", timeout=60).ok:
                break
    assert server.poll() is None, LOG.seek(0) or LOG.read()[-500:]
    answer = requests.post(URL + "/v1/completions", json=BODY, timeout=600).json()
finally:
    server.kill()
seen = [{int(i): one["logprob"] for i, one in row.items()} for row in answer["choices"][0]["prompt_logprobs"][1:]]
expected = model(torch.tensor([IDS])).logits[0].detach().float().log_softmax(-1)
LIMIT = 0.0037  # nats (RMS): between float32's own rounding and what was seen
off = [row[i] - expected[at, i].item() for at, (row, i) in enumerate(zip(seen, IDS[1:]))]
at = next((place for place, one in enumerate(off) if abs(one) > 3 * LIMIT), 0)
for who, row in (("transformers", dict(enumerate(expected[at].tolist()))), ("the server", seen[at])):
    print(f"after {at + 1} tokens, {who}:", sorted(((round(p, 4), i) for i, p in row.items()), reverse=True)[:5])
rms = (sum(one**2 for one in off) / len(off)) ** 0.5
print(f"{len(off)} logprobs are off by {rms:.2g} nats (RMS), {max(map(abs, off)):.2g} at most; allowed are {LIMIT:.2g}")
sys.exit(0 if rms <= LIMIT else 1)
