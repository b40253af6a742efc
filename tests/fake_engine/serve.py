"""A real HTTP server of a tiny model, which misbehaves as it is told: `python -P serve.py --port N [--behaviour B …]`.

    GET  /health     {"status": "ok"} once it is ready, 503 before
    GET  /version    {"version": …, "engine": "fake"}
    POST /score      {"token_ids": [n], "top_k": k} -> {"rows": [n-1]}
    POST /generate   {"token_ids": [n] or "text": …, "max_tokens": m, "top_k": k, "ignore_eos": bool, "stream": bool,
                      "temperature": t, "seed": s, "namespace": name, "fresh": bool}
    POST /v1/chat/completions  as OpenAI's, with its own behaviours: see chat.py

A row is {"id": i, "logprob": x, "top": [[id, logprob], …]}; answers and stream events also count tokens as `usage`
does. A stream is server-sent events that end with `data: [DONE]`. What a prompt shares with an earlier one of its
namespace is taken from the prefix cache, unless it is `fresh`. Standalone: imports pocket.py and prefix_cache.py beside
it and NumPy, and those only after the ways to die while loading, which should be quick.

Behaviours, combined freely, `NAME` or `NAME=VALUE`:

    healthy  say=WORDS  slow-start=SECONDS  never-healthy  exit-loading=CODE  exit-silently=CODE  signal-loading=NUMBER
    eats-loading  eats-serving                                     takes memory until it is killed
    shouts=MIB                                                     that much log before it is ready
    bare                                                           serves no model, and so needs no NumPy
    stubborn  stubborn-child                                       ignores SIGTERM, itself or a child in its own session
    die-on-request=CODE  die-midway=CODE  signal-on-request=NUMBER dies of the first request, or within its stream
    wants-key=WORD                                                 answers 401 to who does not send it as a bearer token
    answer-500  answer-500-and-die=CODE  answer-400  not-json  wrong-shape  not-json-compliant
    nan  minus-infinity  sentinel                                  one logprob of each scored sequence
    other-id  fewer-rows  more-rows                                one row is of another id, or lacks, or comes twice
    lists-id=N  generates-id=N                                     an id that need not be in the vocabulary
    shifted  shifted-back  permuted  uniform  constant  other-model  noisy=TIMES
    linger=SECONDS                          a request waits so long before it is computed, so that several are in flight
    one-by-one=SECONDS                      each request takes so long, and of those that wait the last comes first
    masks=ID                                                       never chooses that id
    forgetful                                                      uses nothing cached
    hides-cache                                                    does not say how much was cached
    stale-block                             a block answers for any that begins as it does
    chunk-start-state                       a hit gives the state of its last block's beginning
    crosstalk=WEIGHT                        a memory takes so much of another request's that is in flight
    swaps=N                                 one in N requests that are in flight with others gets another's answer
    fails-beyond=TOKENS                     longer prompts are answered with 500
    fails-together                          requests in flight with others are answered with 500
    window-lost=TOKENS                      what is further back is forgotten
    decode-crossing=TOKENS                  decode forgets its memory where a shorter prompt reaches this length
    conv-off-by-one                         decode takes the token before the last for the last
    processed-logprobs  half-processed      logprobs at a temperature: of what is drawn from, or of neither
    close-midway  cut-midway  stall  stall-midway  usage-twice  stops-early=COUNT  generates-nothing  unhealthy-after
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

VERSION = "0.0.1"
NOISE_SEED = 1000
"""Another draw than any of the reference's replicates."""

MIDWAY = 3
"""Events of a stream before it goes wrong."""

BAD_ROW = 4
"""The scored row that is not finite, so position 5 of its sequence."""

BAD_TOKEN = 2
"""The generated token that is not what it should be."""

BAD_LOGPROBS = {"nan": float("nan"), "minus-infinity": float("-inf"), "sentinel": -9999.0}

CHILD = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(300)"


def beside(name: str) -> Any:
    """A module beside this file: with `-P`, Python does not look there."""
    found = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def cry(words: str = "RuntimeError: the fake engine broke down") -> None:
    """What a Python engine writes before it dies."""
    print(f'Traceback (most recent call last):\n  File "engine.py", line 1, in step\n{words}', flush=True)


class InFlight:
    """The requests that are being computed, and what batching them can mix up."""

    def __init__(self, told: dict[str, str]) -> None:
        self.linger_s = float(told.get("linger", "0"))
        self.weight = float(told.get("crosstalk", "0"))
        self.every = int(told.get("swaps", "0"))
        self.prompts: dict[int, list[int]] = {}
        self.came = 0
        self.together = 0
        self.lock = threading.Lock()

    def enter(self, ids: list[int]) -> int:
        """Take a request in; the number is for `leave`."""
        with self.lock:
            self.came += 1
            number, self.prompts[self.came] = self.came, ids
        time.sleep(self.linger_s)  # no wait for a state: that is how long another has to come
        return number

    def crowded(self) -> bool:
        """Whether a request is in flight."""
        with self.lock:
            return bool(self.prompts)

    def leave(self, number: int) -> None:
        with self.lock:
            del self.prompts[number]

    def other(self, number: int) -> list[int] | None:
        """The prompt of another request in flight; None where there is none."""
        with self.lock:
            return next((ids for other, ids in self.prompts.items() if other != number), None)

    def mistaken_for(self, number: int) -> list[int] | None:
        """The prompt whose answer a request gets in the place of its own, where it is its turn."""
        other = self.other(number)
        if other is None or not self.every:
            return None
        with self.lock:
            self.together += 1
            return other if self.together % self.every == 0 else None


class Queue:
    """Serves one request after another; of those that wait the last to come goes first."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.waiting: list[object] = []
        self.busy = False

    @contextmanager
    def turn(self) -> Iterator[None]:
        me = object()
        with self.changed:
            self.waiting.append(me)
            self.changed.wait_for(lambda: not self.busy and self.waiting[-1] is me)
            self.waiting.pop()
            self.busy = True
        try:
            yield
        finally:
            with self.changed:
                self.busy = False
                self.changed.notify_all()


class Model:
    """The tiny model, with the ways in which its numbers can be wrong."""

    def __init__(self, behaviours: dict[str, str]) -> None:
        import numpy

        self.np = numpy
        self.pocket = beside("pocket")
        self.behaviours = behaviours
        self.cache = beside("prefix_cache").PrefixCache(set(behaviours))
        self.in_flight = InFlight(behaviours)
        self.window = int(behaviours.get("window-lost", "0"))
        self.crossing = int(behaviours.get("decode-crossing", "0"))
        self.seed = self.pocket.OTHER_MODEL if "other-model" in behaviours else self.pocket.THIS_MODEL
        self.pocket.NOISE *= float(behaviours.get("noisy", "1"))
        self.permutation = numpy.random.default_rng(7).permutation(self.pocket.VOCABULARY)

    @functools.cached_property
    def chat(self) -> Any:
        """Its chat route; made when it is first asked, for it needs Jinja."""
        return beside("chat").Chat(self.behaviours, self)

    def score(self, ids: list[int], top_k: int) -> list[dict[str, Any]]:
        """Rows of tokens 1 … n-1."""
        logits = self.pocket.logits(ids, self.remembered(ids), model=self.seed)
        after = self.pocket.log_softmax(logits + self.pocket.noise(NOISE_SEED, ids, len(ids)))
        rows, first = self.distort(after), after[:1]
        if "shifted" in self.behaviours:
            rows = rows[1:]
        elif "shifted-back" in self.behaviours:
            rows = self.np.concatenate([first, rows[:-2]])
        else:
            rows = rows[:-1]
        answer = [self.row(row, target, top_k) for row, target in zip(rows, ids[1:], strict=True)]
        for name, value in BAD_LOGPROBS.items():
            if name in self.behaviours:
                answer[BAD_ROW]["logprob"] = value
        for row in answer[BAD_ROW : BAD_ROW + 1]:
            self.mislead(row)
        if "fewer-rows" in self.behaviours:
            return answer[:-1]
        return answer + answer[-1:] if "more-rows" in self.behaviours else answer

    def generate(self, ask: dict[str, Any], ids: list[int]) -> Iterator[dict[str, Any]]:
        """Tokens one by one, with rows where `top_k` asks for them."""
        count = int(self.behaviours.get("stops-early", ask["max_tokens"]))
        if "generates-nothing" in self.behaviours:
            return
        number = self.in_flight.enter(ids)
        try:
            yield from self.decode(ask, self.in_flight.mistaken_for(number) or ids, count, self.in_flight.other(number))
        finally:
            self.in_flight.leave(number)

    def decode(
        self, ask: dict[str, Any], ids: list[int], count: int, other: list[int] | None
    ) -> Iterator[dict[str, Any]]:
        namespace, prompt = ask.get("namespace", ""), len(ids)
        cached, memory = (0, None) if self.forgets(ask) else self.cache.longest(ids, namespace)
        memories = self.remembered(ids) if self.window else self.remembered(ids[cached:], memory)
        self.cache.keep(ids, memories[-(prompt - cached) :], cached, namespace)
        memory, ids = memories[-1], list(ids)
        if other is not None and self.in_flight.weight:
            memory = memory + self.in_flight.weight * self.remembered(other)[-1]
        noise = self.pocket.noise(NOISE_SEED, ids, count, way=2 * cached + (other is not None))
        random = self.np.random.default_rng(ask.get("seed", 0))
        for made in range(1, count + 1):
            if prompt < self.crossing <= len(ids):
                memory = self.np.zeros_like(memory)
            decodes_late = "conv-off-by-one" in self.behaviours and made > 1
            logits = self.pocket.logits([ids[-2 if decodes_late else -1]], memory[None], model=self.seed)[0]
            row = self.distort(self.pocket.log_softmax(logits + noise[made - 1]))
            token = self.choose(row, ask.get("temperature", 0.0), random)
            row = self.processed(row, ask.get("temperature", 0.0))
            ids.append(token)
            memory = self.remembered([token], memory)[-1]
            self.cache.keep(ids, memory[None], len(ids) - 1, namespace)
            event: dict[str, Any] = {"token_id": token, "text": f" {self.pocket.WORDS[token]}"}
            if ask.get("top_k"):
                event["row"] = self.row(row, token, ask["top_k"])
            if made == BAD_TOKEN + 1:
                self.mislead_event(event)
            stopped = token == self.pocket.EOS and not ask.get("ignore_eos")
            ends = "stop" if stopped else "length" if made == count else None
            said = {} if "hides-cache" in self.behaviours else {"cached_tokens": cached}
            yield {**event, **self.usage(prompt, made), **said, "finish_reason": ends}
            if ends:
                return

    def remembered(self, ids: list[int], memory: Any = None) -> Any:
        """[n, WIDTH] memories after each id; cut off behind the window, where that is the behaviour."""
        after = self.pocket.remember(ids, model=self.seed, memory=memory)
        if self.window and memory is None and len(ids) > self.window:
            gone = self.pocket.DECAY**self.window * after[: -self.window]
            after = self.np.concatenate([after[: self.window], after[self.window :] - gone])
        return after

    def forgets(self, ask: dict[str, Any]) -> bool:
        """Whether nothing cached may be used for a request."""
        return bool(ask.get("fresh")) or "forgetful" in self.behaviours

    def choose(self, row: Any, temperature: float, random: Any) -> int:
        """The likeliest id, or a drawn one."""
        if "masks" in self.behaviours:
            row = self.np.where(self.np.arange(len(row)) == int(self.behaviours["masks"]), -self.np.inf, row)
        if not temperature:
            return int(row.argmax())
        return int((row / temperature + random.gumbel(size=row.shape)).argmax())

    def processed(self, row: Any, temperature: float) -> Any:
        """The logprobs that are told: the model's own, or those that the token was drawn by."""
        if not temperature or not {"processed-logprobs", "half-processed"} & self.behaviours.keys():
            return row
        scaled = row / temperature
        return scaled if "half-processed" in self.behaviours else self.pocket.log_softmax(scaled)

    def distort(self, rows: Any) -> Any:
        """The same numbers for every id, for every context, or for the wrong ids, where that is the behaviour."""
        if "uniform" in self.behaviours:
            return self.np.full_like(rows, -self.np.log(self.pocket.VOCABULARY))
        if "constant" in self.behaviours:
            return self.np.broadcast_to(self.pocket.logprobs([1])[0], rows.shape)
        return rows[..., self.permutation] if "permuted" in self.behaviours else rows

    def row(self, logprobs: Any, target: int, top_k: int) -> dict[str, Any]:
        listed = self.np.argsort(logprobs)[::-1][:top_k]
        top = [[int(i), float(logprobs[i])] for i in listed]
        return {"id": target, "logprob": float(logprobs[target]), "top": top}

    def mislead(self, row: dict[str, Any]) -> None:
        """Make a row one of another id, or one that lists another, where that is the behaviour."""
        if "other-id" in self.behaviours:
            row["id"] += 1
        if "lists-id" in self.behaviours:
            row["top"][0][0] = int(self.behaviours["lists-id"])

    def mislead_event(self, event: dict[str, Any]) -> None:
        """The same for a generated token, which may also be another or have no row."""
        if "generates-id" in self.behaviours:
            event["token_id"] = int(self.behaviours["generates-id"])
        if "row" in event and "fewer-rows" in self.behaviours:
            del event["row"]
        if "row" in event:
            event["row"]["id"] = event["token_id"]
            self.mislead(event["row"])

    def usage(self, prompt: int, completion: int) -> dict[str, int]:
        times = 2 if "usage-twice" in self.behaviours else 1
        return {"prompt_tokens": prompt, "completion_tokens": completion * times}

    def ids_of(self, ask: dict[str, Any]) -> list[int]:
        """The prompt as ids: as they are given, or word by word."""
        given: list[int] = ask.get("token_ids") or [self.pocket.WORDS.index(word) for word in ask["text"].split()]
        return given


class Handler(BaseHTTPRequestHandler):
    model: Model
    behaviours: dict[str, str]
    queue = Queue()
    ready_at: float
    asked: bool = False
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.is_stranger():
            self.answer(401, {"error": "unauthorized"})
        elif self.path == "/health":
            self.health()
        elif self.path == "/version":
            self.answer(200, {"version": VERSION, "engine": "fake"})
        else:
            self.answer(404, {"error": f"no route {self.path}"})

    def health(self) -> None:
        loading = "never-healthy" in self.behaviours or time.monotonic() < self.ready_at
        ill = "unhealthy-after" in self.behaviours and Handler.asked
        self.answer(503, {"status": "loading"}) if loading or ill else self.answer(200, {"status": "ok"})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        Handler.asked = True
        try:
            if self.misbehave():
                return
            if "one-by-one" in self.behaviours:
                with Handler.queue.turn():
                    time.sleep(float(self.behaviours["one-by-one"]))
            if self.path == "/v1/chat/completions":
                self.chat(raw)
            else:
                self.route(json.loads(raw))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client is gone; there is nobody to answer

    def is_stranger(self) -> bool:
        """True for a request without the key that this server wants."""
        key = self.behaviours.get("wants-key")
        return key is not None and self.headers.get("Authorization") != f"Bearer {key}"

    def misbehave(self) -> bool:
        """True where the request has been dealt with, badly."""
        told = self.behaviours
        if "eats-serving" in told:
            eat()
        elif "signal-on-request" in told:
            os.kill(os.getpid(), int(told["signal-on-request"]))
        elif "die-on-request" in told:
            die(int(told["die-on-request"] or 0))
        elif "stall" in told:
            time.sleep(300)
        elif self.is_stranger():
            self.answer(401, {"error": "unauthorized"})
        elif "answer-400" in told:
            self.answer(400, {"error": "no such parameter"})
        elif "answer-500" in told or "answer-500-and-die" in told:
            self.answer(500, {"error": "the engine loop is dead"})
            if "answer-500-and-die" in told:
                self.wfile.flush()
                threading.Timer(0.3, die, (int(told["answer-500-and-die"] or 0),)).start()
        elif "not-json-compliant" in told:
            self.answer(500, {"error": "Out of range float values are not JSON compliant: nan"})
        elif "not-json" in told:
            self.send(200, "text/html", b"<html>hello</html>")
        elif "wrong-shape" in told:
            self.answer(200, {"choices": []})
        else:
            return False
        return True

    def route(self, ask: dict[str, Any]) -> None:
        ids = self.model.ids_of(ask)
        if len(ids) > int(self.behaviours.get("fails-beyond", sys.maxsize)):
            self.answer(500, {"error": "index out of range"})
            return
        if "fails-together" in self.behaviours and self.model.in_flight.crowded():
            self.answer(500, {"error": "no room in the KV cache"})
            return
        if self.path == "/score":
            self.answer(200, {"rows": self.model.score(ids, int(ask["top_k"])), **self.model.usage(len(ids), 0)})
        elif self.path == "/generate" and ask.get("stream"):
            self.stream(ask, ids)
        elif self.path == "/generate":
            events = list(self.model.generate(ask, ids))
            cached = events[0].get("cached_tokens") if events else None
            self.answer(200, {"events": events, **self.model.usage(len(ids), len(events)), "cached_tokens": cached})
        else:
            self.answer(404, {"error": f"no route {self.path}"})

    def chat(self, raw: bytes) -> None:
        """OpenAI's chat route (see chat.py)."""
        try:
            status, body = self.model.chat.respond(raw)
        except SystemExit:
            die(1)
        if isinstance(body, dict):
            self.answer(status, body)
            return
        self.send_response(status)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        for event in body:
            self.wfile.write(b"data: " + json.dumps(event).encode() + b"\n\n")
        self.wfile.write(b"data: [DONE]\n\n")

    def stream(self, ask: dict[str, Any], ids: list[int]) -> None:
        chunked = "cut-midway" in self.behaviours
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header(*(("Transfer-Encoding", "chunked") if chunked else ("Connection", "close")))
        self.end_headers()
        self.close_connection = True
        for sent, event in enumerate(self.model.generate(ask, ids)):
            if sent == MIDWAY and self.breaks_off():
                return
            line = b"data: " + json.dumps(event).encode() + b"\n\n"
            self.wfile.write(b"%x\r\n%b\r\n" % (len(line), line) if chunked else line)
            self.wfile.flush()
        self.wfile.write(b"data: [DONE]\n\n")

    def breaks_off(self) -> bool:
        """True where the stream ends here, by the server's will or with the server."""
        if "die-midway" in self.behaviours:
            die(int(self.behaviours["die-midway"] or 0))
        if "stall-midway" in self.behaviours:
            time.sleep(300)
        return "close-midway" in self.behaviours or "cut-midway" in self.behaviours

    def answer(self, status: int, body: dict[str, Any]) -> None:
        self.send(status, "application/json", json.dumps(body).encode())  # writes NaN and -Infinity as Python does

    def send(self, status: int, kind: str, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass  # the log holds the engine's own words alone


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


def die(code: int) -> None:
    """End the whole process from whichever thread, after a last cry."""
    cry()
    os._exit(code)


def eat() -> None:
    """Take memory, and touch it, for as long as there is some."""
    eaten = []
    while True:
        eaten.append(b"x" * 2**22)


def shout(mib: int) -> None:
    """Fill the log."""
    line = "shout" * 13 + "\n"
    for _ in range(mib):
        sys.stdout.write(line * (2**20 // len(line)))
    sys.stdout.flush()


def die_while_loading(told: dict[str, str]) -> None:
    """The deaths that come before the port is opened."""
    if "eats-loading" in told:
        eat()
    if "signal-loading" in told:
        os.kill(os.getpid(), int(told["signal-loading"]))
        time.sleep(300)  # a signal needs a moment
    if "exit-loading" in told:
        cry()
        sys.exit(int(told["exit-loading"]))
    if "exit-silently" in told:
        sys.exit(int(told["exit-silently"]))


def refuse_to_stop(told: dict[str, str]) -> None:
    """Ignore SIGTERM, itself or in a child that has left the process group."""
    if "stubborn" in told:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "stubborn-child" in told:
        child = subprocess.Popen([sys.executable, "-c", CHILD], start_new_session=True, stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()  # deaf from here on


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--behaviour", action="append", default=[])
    options = parser.parse_args()
    pairs = (behaviour.partition("=") for behaviour in options.behaviour)
    told = {name: value for name, _, value in pairs}
    if "say" in told:
        print(told["say"], flush=True)
    shout(int(told.get("shouts", "0")))
    die_while_loading(told)
    refuse_to_stop(told)
    Handler.behaviours = told
    if "bare" not in told:
        Handler.model = Model(told)
    Handler.ready_at = time.monotonic() + float(told.get("slow-start", "0"))
    server = Server(("127.0.0.1", options.port), Handler)
    print(f"fake engine {VERSION} serves on port {options.port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
