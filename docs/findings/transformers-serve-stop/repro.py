"""`transformers serve` ends an answer behind the stop string that was asked for, and not before it.

Run: pip install "transformers[serving]==5.23.0" torch requests && python repro.py
A tiny random Llama answers once without `stop`, and once with a piece of that answer as `stop`: by OpenAI's API, which
this route follows, the answer then ends before that piece.
Exits 1 while the fault is there, 0 once it is gone, 2 where it could not be tried.
"""

import json
import os
import subprocess
import sys
import tempfile
import urllib.request

sys.excepthook = lambda *error: (sys.__excepthook__(*error), os._exit(2))  # a crash is no answer

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

URL = "http://127.0.0.1:18433/v1/chat/completions"
LETTERS = [chr(code) for code in range(33, 127)] + ["Ġ"]  # a token a letter, and one for the space
TEMPLATE = "{% for message in messages %}{{ message['content'] }} {% endfor %}"


def ask(model: str, **more: object) -> str:
    chat = [{"role": "user", "content": "Say something."}]
    body = {"model": model, "messages": chat, "max_tokens": 12, "temperature": 0, "stream": False, **more}
    request = urllib.request.Request(URL, json.dumps(body).encode(), {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=120))["choices"][0]["message"]["content"]


torch.manual_seed(0)
config = LlamaConfig(vocab_size=len(LETTERS), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
                     num_attention_heads=2, max_position_embeddings=256, initializer_range=0.5)  # fmt: skip
words = Tokenizer(models.BPE({letter: number for number, letter in enumerate(LETTERS)}, []))
words.pre_tokenizer, words.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
with tempfile.TemporaryDirectory() as folder:
    LlamaForCausalLM(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=words, chat_template=TEMPLATE).save_pretrained(folder)
    program = os.path.join(os.path.dirname(sys.executable), "transformers")
    server, plain = subprocess.Popen([program, "serve", "--port", "18433"]), None
    try:
        while plain is None:
            assert subprocess.call(["sleep", "1"]) == 0 and server.poll() is None, "the server has ended"
            try:
                plain = ask(folder)
            except urllib.error.URLError as error:
                if isinstance(error, urllib.error.HTTPError):
                    raise
        stop = plain[5:7]
        cut = ask(folder, stop=[stop])
    finally:
        server.kill()
print(f"without stop: {plain!r}\nwith stop {stop!r}: {cut!r}\nexpected: {plain[: plain.index(stop)]!r}")
print("the stop string is part of the answer" if cut.endswith(stop) else "the answer ends before the stop string")
sys.exit(1 if cut.endswith(stop) else 0)
