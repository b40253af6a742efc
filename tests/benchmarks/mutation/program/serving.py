"""The routes; one thread computes, so that requests which come together are answered together.

GET  /health            {"status": "ok"} once the model is loaded
GET  /version           {"version": …, "engine": "mutant"}
GET  /mutants           every mutant of this checkpoint
POST /m/N/score         {"token_ids": [n], "top_k": k} -> {"rows": [n-1]}, from mutant N
POST /m/N/generate      {"token_ids": [n], "max_tokens": m, "top_k": k} -> {"prompt_tokens": n, "events": [m]}
POST /m/N/compare       {"sequences": [[n]], "prompt": p} -> how far mutant N is from the model in float64
"""

from __future__ import annotations

import argparse
import json
import queue
import threading
import traceback
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers

from . import feeding
from .building import Built, Mutant, Subject, build, mutants
from .doubled import doubled
from .operators import OPERATORS

TOGETHER_S = 0.02
"""How long the first of several requests waits for the others."""
BATCH = 8


class Ask(NamedTuple):
    """A request on its way to the computing thread."""

    mutant: int
    what: str
    body: dict[str, Any]
    answer: queue.Queue[Any]


def rows_of(logits: Any, targets: Sequence[int], top_k: int) -> list[dict[str, Any]]:
    """Log-softmax [n, vocabulary] in float64: the targets' logprobs and the k largest of each row."""
    values = logits.numpy().astype(np.float64)
    peak = values.max(axis=1, keepdims=True)
    logprobs = values - peak - np.log(np.exp(values - peak).sum(axis=1, keepdims=True))
    rows = []
    for row, target in zip(logprobs, targets, strict=True):
        listed = np.argsort(-row, kind="stable")[:top_k]
        rows.append({"logprob": float(row[target]), "top": [[int(i), float(row[i])] for i in listed]})
    return rows


class Desk:
    """Takes requests, and answers those together that can be."""

    def __init__(self, folder: Path) -> None:
        self.subject = Subject(folder)
        self.mutants = list(mutants(self.subject, OPERATORS))
        self.asks: queue.Queue[Ask] = queue.Queue()
        self._left: Ask | None = None
        self._built: tuple[int, Built] | None = None

    def work(self) -> None:
        """Answer for ever."""
        with torch.inference_mode():
            while True:
                asks = self._next()
                try:
                    answers = self._answer(asks)
                except Exception as error:
                    traceback.print_exc()
                    answers = [error] * len(asks)
                for ask, answer in zip(asks, answers, strict=True):
                    ask.answer.put(answer)

    def _next(self) -> list[Ask]:
        asks = [self._left or self.asks.get()]
        self._left = None
        while len(asks) < BATCH and asks[0].what == "generate":
            try:
                ask = self.asks.get(timeout=TOGETHER_S)
            except queue.Empty:
                break
            if _alike(ask, asks[0]):
                asks.append(ask)
            else:
                self._left = ask
                break
        return asks

    def _answer(self, asks: list[Ask]) -> list[Any]:
        first = asks[0]
        if first.what == "compare":
            return [self.compare(self.mutants[first.mutant], first.body)]
        built = self.built(first.mutant)
        if first.what == "score":
            ids = first.body["token_ids"]
            logits = feeding.score(built.model, built.feed, [ids])[0, :-1]
            return [{"rows": rows_of(logits, ids[1:], int(first.body["top_k"]))}]
        rows = [ask.body["token_ids"] for ask in asks]
        made, logits = feeding.generate(built.model, built.feed, rows, int(first.body["max_tokens"]))
        parts = zip(asks, made, logits, strict=True)
        return [_events(ask.body, ids, values) for ask, ids, values in parts]

    def built(self, number: int) -> Built:
        """The mutant of that number; the last one is kept."""
        if self._built is None or self._built[0] != number:
            mutant = self.mutants[number]
            self._built = number, build(self.subject, mutant, mutant.path)
        return self._built[1]

    def compare(self, mutant: Mutant, body: dict[str, Any]) -> dict[str, float]:
        """How far the mutant's logits are from the model's, in float64 and fed alike."""
        found = []
        for one in (None, mutant):
            # Built in float32: what is computed of the config, such as frequencies, is the same on both sides.
            built = build(self.subject, one, mutant.path, torch.float64)
            with doubled():
                found.append(feeding.forced(built.model, built.feed, body["sequences"], int(body["prompt"])))
        right, other = found
        logprobs = [values.log_softmax(-1) for values in found]
        return {
            "relative": float((other - right).abs().max() / right.abs().max()),
            "nats": float((logprobs[1] - logprobs[0]).abs().max()),
            "double": float(right.dtype == torch.float64),
        }


def _alike(one: Ask, other: Ask) -> bool:
    same = (one.mutant, one.what, one.body.get("max_tokens")) == (other.mutant, other.what, other.body["max_tokens"])
    return same and len(one.body["token_ids"]) == len(other.body["token_ids"])


def _events(body: dict[str, Any], ids: list[int], logits: Any) -> dict[str, Any]:
    top_k = int(body.get("top_k", 0))
    rows = rows_of(logits, ids, top_k) if top_k else [{}] * len(ids)
    events = [
        {"token_id": token, "text": "", "completion_tokens": place, **({"row": row} if top_k else {}),
         "finish_reason": "length" if place == len(ids) else None}
        for place, (token, row) in enumerate(zip(ids, rows, strict=True), start=1)
    ]  # fmt: skip
    return {"prompt_tokens": len(body["token_ids"]), "events": events}


class Handler(BaseHTTPRequestHandler):
    desk: Desk
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/health":
            self.answer(200, {"status": "ok"})
        elif self.path == "/version":
            self.answer(200, {"version": transformers.__version__, "engine": "mutant"})
        elif self.path == "/mutants":
            self.answer(200, [_told(mutant) for mutant in self.desk.mutants])
        else:
            self.answer(404, {"error": f"no route {self.path}"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        _, _, number, what = self.path.split("/")
        ask = Ask(int(number), what, body, queue.Queue())
        self.desk.asks.put(ask)
        answer = ask.answer.get()
        if isinstance(answer, Exception):
            # Not every change fits every class: that is no fault of an engine, and is not to be judged as one.
            self.answer(422, {"error": f"{type(answer).__name__}: {answer}"})
        else:
            self.answer(200, answer)

    def answer(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _told(mutant: Mutant) -> dict[str, Any]:
    operator, change = mutant.operator, mutant.change
    return {
        "operator": operator.name, "group": operator.group, "site": change.site, "null": mutant.null,
        "same": change.same, "chunk": mutant.path.chunk, "path": mutant.path.number,
    }  # fmt: skip


def main(words: Sequence[str]) -> None:
    """Serve the mutants of one checkpoint."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args(words)
    Handler.desk = Desk(options.model)
    threading.Thread(target=Handler.desk.work, daemon=True).start()
    server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    print(f"{len(Handler.desk.mutants)} mutants of {options.model.name} on port {options.port}", flush=True)
    server.serve_forever()
