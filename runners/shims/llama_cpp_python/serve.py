"""llama-cpp-python's own Python API behind HTTP: `python -P serve.py --model FILE.gguf --port N`.

The package's server takes no token ids, has no health route and cannot score a prompt by ids, so this asks the API
that users of the package call. Standalone: it runs in the engine's environment and imports nothing of this project.

    GET  /health     {"status": "ok"} once the model is loaded
    GET  /version    {"version": …, "engine": "llama-cpp-python"}
    POST /score      {"token_ids": [n], "top_k": k, "through": "eval" | "echo"} -> {"rows": [n-1]}
    POST /generate   {"token_ids": [n], "max_tokens": m, "top_k": k, "ignore_eos": bool, "stream": bool,
                      "temperature": t, "seed": s, "reuse": bool}

    POST /v1/chat/completions  OpenAI's, handed on to the package's own chat call
    POST /v1/completions       OpenAI's stream, with usage at its end: what /generate makes, for other people's tools

`reuse` lets the package use what it still holds of the last prompt, as its own completion call does.

A row is {"logprob": x, "top": [[id, logprob], …]}. A stream is server-sent events that end with `data: [DONE]`.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import threading
import traceback
from collections.abc import Iterable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import llama_cpp
import numpy as np

WARNINGS_AND_ERRORS = (3, 4)
"""Of ggml_log_level in ggml.h; the package's own table is of an older numbering."""
LOG = os.dup(2)

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
CHAT_FIELDS = ("messages", "tools", "tool_choice", "temperature", "max_tokens", "stop", "stream", "response_format")


@llama_cpp.llama_log_callback
def report(level: int, text: bytes, _: Any) -> None:
    """Why llama.cpp refuses a file; the package closes stderr while it loads one, and says only that it failed."""
    if level in WARNINGS_AND_ERRORS:
        os.write(LOG, text)


llama_cpp.llama_log_set(report, ctypes.c_void_p(0))


def rows_of(logits: np.ndarray, targets: list[int], top_k: int) -> list[dict[str, Any]]:
    """Log-softmax [n, vocabulary] in float64, the targets' logprobs and the k largest of each row."""
    logits = logits.astype(np.float64)
    peak = logits.max(axis=1, keepdims=True)
    logprobs = logits - peak - np.log(np.exp(logits - peak).sum(axis=1, keepdims=True))
    rows = []
    for row, target in zip(logprobs, targets, strict=True):
        listed = np.argpartition(row, -top_k)[-top_k:] if top_k else []  # a full sort costs more than the forward pass
        rows.append({"logprob": float(row[target]), "top": [[int(i), float(row[i])] for i in listed]})
    return rows


def in_package(error: BaseException) -> bool:
    """True where the innermost frames of an exception lie in llama_cpp."""
    frames = traceback.extract_tb(error.__traceback__)
    return any(frame.filename.startswith(os.path.dirname(llama_cpp.__file__)) for frame in frames)


class Counting(llama_cpp.Llama):
    """Counts the tokens that go through the model: of a prompt, the others came from the cache."""

    evaluated = 0

    def eval(self, tokens: Sequence[int]) -> None:
        self.evaluated += len(tokens)
        super().eval(tokens)


class Model:
    """Two contexts over one memory-mapped file: one as users create it, one that keeps every position's logits."""

    def __init__(self, path: str, context: int, exact: bool, forget: bool, chunk: int | None) -> None:
        plain: dict[str, Any] = {"flash_attn": False} if exact else {}
        if chunk is not None:
            plain |= {"n_batch": chunk, "n_ubatch": chunk}
        if exact:
            plain |= {"type_k": llama_cpp.GGML_TYPE_F32, "type_v": llama_cpp.GGML_TYPE_F32}
        self.generator = Counting(path, n_ctx=context, verbose=False, **plain)
        self.scorer = Counting(path, n_ctx=context, verbose=False, logits_all=True, **plain)
        self.forget = forget
        self.lock = threading.Lock()  # a context holds one sequence at a time, so requests take turns

    def score(self, token_ids: list[int], top_k: int) -> list[dict[str, Any]]:
        self.scorer.reset()
        self.scorer.eval(token_ids)
        return rows_of(self.scorer.scores[: len(token_ids) - 1], token_ids[1:], top_k)

    def score_by_echo(self, token_ids: list[int], top_k: int) -> list[dict[str, Any]]:
        """What the package's own completion call reports for an echoed prompt, given as text."""
        text = self.scorer.detokenize(token_ids, special=True).decode()
        self.scorer.reset()
        answer = self.scorer.create_completion(text, echo=True, logprobs=top_k, max_tokens=1, temperature=0.0)
        logprobs = answer["choices"][0]["logprobs"]
        length = len(token_ids)
        if len(self.scorer.tokenize(text.encode(), add_bos=False, special=True)) != length:
            raise ValueError("the prompt's text does not give its token ids back")
        rows = []
        for target, top in zip(logprobs["token_logprobs"][1:length], logprobs["top_logprobs"][1:length], strict=True):
            ids = [(self.scorer.tokenize(t.encode(), add_bos=False, special=True), p) for t, p in (top or {}).items()]
            rows.append({"logprob": float(target), "top": [[i[0], float(p)] for i, p in ids if len(i) == 1]})
        return rows

    def generate(self, ask: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Tokens one by one; with `top_k`, each with the logprobs it was chosen from."""
        top_k = int(ask.get("top_k", 0))
        llama = self.scorer if top_k else self.generator
        if self.forget or not ask.get("reuse"):
            llama.reset()
        llama.set_seed(int(ask.get("seed", 0)))
        llama.evaluated = 0
        stops = {llama.token_eos()} if not ask.get("ignore_eos") else set()
        if ask["max_tokens"] < 1:
            return
        tokens = llama.generate(ask["token_ids"], temp=float(ask.get("temperature", 0.0)))
        for generated, token in enumerate(tokens, start=1):
            if generated == 1:
                cached = len(ask["token_ids"]) - llama.evaluated
            event: dict[str, Any] = {"token_id": int(token), "text": llama.detokenize([token]).decode(errors="replace")}
            if top_k:
                event["row"] = rows_of(llama.scores[llama.n_tokens - 1 : llama.n_tokens], [token], top_k)[0]
            ends = "stop" if token in stops else "length" if generated >= ask["max_tokens"] else None
            yield {**event, "finish_reason": ends, "completion_tokens": generated, "cached_tokens": cached}
            if ends:
                return

    def completion(self, ask: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The same as OpenAI's events; the prompt is text or token ids."""
        prompt = ask["prompt"]
        ids = prompt if isinstance(prompt, list) else self.generator.tokenize(prompt.encode(), special=True)
        made = 0
        for event in self.generate({**ask, "token_ids": ids, "top_k": 0, "reuse": True}):
            made = event["completion_tokens"]
            yield {"choices": [{"index": 0, "text": event["text"], "finish_reason": event["finish_reason"]}]}
        counts = {"prompt_tokens": len(ids), "completion_tokens": made, "total_tokens": len(ids) + made}
        yield {"choices": [], "usage": counts}

    def chat(self, ask: dict[str, Any]) -> Any:
        """What the package's own chat call gives: an answer, or the events of a stream."""
        given = {name: ask[name] for name in CHAT_FIELDS if name in ask}
        return self.generator.create_chat_completion(**given)


class Handler(BaseHTTPRequestHandler):
    model: Model
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/health":
            self.answer(200, {"status": "ok"})
        elif self.path == "/version":
            self.answer(200, {"version": llama_cpp.__version__, "engine": "llama-cpp-python"})
        else:
            self.answer(404, {"error": f"no route {self.path}"})

    def do_POST(self) -> None:
        ask = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == COMPLETIONS and not ask.get("stream"):
            self.answer(400, {"error": f"{COMPLETIONS} is answered as a stream alone"})
            return
        if self.path in (CHAT, COMPLETIONS):
            self.with_model(ask)
            return
        vocabulary = self.model.generator.n_vocab()
        wrong = [i for i in ask.get("token_ids", []) if not 0 <= i < vocabulary]
        if wrong or not ask.get("token_ids"):
            self.answer(400, {"error": f"token ids outside the vocabulary of {vocabulary}: {wrong[:5]}"})
            return
        self.with_model(ask)

    def with_model(self, ask: dict[str, Any]) -> None:
        """Answer a request when its turn has come."""
        try:
            with self.model.lock:
                self.route(ask)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client is gone; there is nobody to answer
        except Exception as error:
            # Only what was raised inside the package is the engine's; a slip of this file must not accuse it.
            traceback.print_exc()
            self.answer(500 if in_package(error) else 422, {"error": f"{type(error).__name__}: {error}"})

    def route(self, ask: dict[str, Any]) -> None:
        if self.path == CHAT and ask.get("stream"):
            self.stream(self.model.chat(ask))
        elif self.path == COMPLETIONS:
            self.stream(self.model.completion(ask))
        elif self.path == CHAT:
            self.answer(200, self.model.chat(ask))
        elif self.path == "/score":
            score = self.model.score_by_echo if ask.get("through") == "echo" else self.model.score
            self.answer(200, {"rows": score(ask["token_ids"], int(ask["top_k"]))})
        elif self.path == "/generate" and ask.get("stream"):
            counted = {"prompt_tokens": len(ask["token_ids"])}
            self.stream({**counted, **event} for event in self.model.generate(ask))
        elif self.path == "/generate":
            events = list(self.model.generate(ask))
            cached = events[0]["cached_tokens"] if events else 0
            self.answer(200, {"prompt_tokens": len(ask["token_ids"]), "cached_tokens": cached, "events": events})
        else:
            self.answer(404, {"error": f"no route {self.path}"})

    def stream(self, events: Iterable[dict[str, Any]]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for event in events:
            self.wfile.write(b"data: " + json.dumps(event).encode() + b"\n\n")
            self.wfile.flush()
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def answer(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass  # one line a request would drown the engine's own words


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--context", type=int, default=2048)
    parser.add_argument("--exact", action="store_true", help="no flash attention, KV cache in float32")
    parser.add_argument("--forget", action="store_true", help="use nothing of an earlier prompt")
    parser.add_argument("--chunk", type=int, help="tokens of a prompt computed at a time")
    options = parser.parse_args()
    Handler.model = Model(options.model, options.context, options.exact, options.forget, options.chunk)
    server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    print(f"llama-cpp-python {llama_cpp.__version__} serves {options.model} on port {options.port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
