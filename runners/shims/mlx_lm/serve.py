"""mlx_lm.server with what a probe needs: `python -P serve.py --model FOLDER --port N`, and its own options beside.

What computes is as published: models, batches, cache, sampling and the HTTP server. Its own start is not enough, for it
says `ok` on /health while it still loads, goes on without a model where loading fails, takes no token ids, always stops
at the end of text, and with `top_logprobs` names any one of the listed ids in the place of the generated one.
Standalone: it runs in the engine's environment and imports nothing of this project.

    It listens once the model is loaded, and ends where its generating thread dies.
    GET  /version          {"version": …, "engine": "mlx-lm"}
    POST /v1/completions   "prompt": [n] or text; "ignore_eos": true goes on after the end of text; "fresh": true uses
                           nothing of earlier prompts; whole answers have choices[0].token_ids and .token_logprobs
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from mlx_lm import server

listen_as_published = server._run_http_server


class Fresh(server.CompletionRequest):
    """A request that uses nothing of earlier prompts."""


class Endless(list[str]):
    """Stop words where nothing ends the text but the number of tokens."""


class Generator(server.ResponseGenerator):
    """The thread that loads and generates."""

    loaded = threading.Event()
    ends_by_state = hasattr(server.ResponseGenerator, "_make_state_machine")  # not in 0.31.1: one end for a whole batch

    def _generate(self) -> None:
        try:
            if hasattr(self.model_provider, "load_default"):  # before 0.31.3 it has loaded when it is made
                self.model_provider.load_default()
            self.loaded.set()
            super()._generate()
        except Exception:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)

    def _tokenize(self, tokenizer: Any, request: Any, args: Any) -> Any:
        if isinstance(request, Fresh):
            self.prompt_cache.trim_to(n_sequences=0)
        if not isinstance(request.prompt, list):
            return super()._tokenize(tokenizer, request, args)
        # Of text it also says how the prompt is parted and in which state it ends, in more words with each release.
        text = server.CompletionRequest(**{**vars(request), "prompt": "a"})
        tokens = super()._tokenize(tokenizer, text, args)
        return (request.prompt, [request.prompt], *tokens[2:]) if isinstance(tokens, tuple) else request.prompt

    def _is_batchable(self, args: Any) -> Any:
        return super()._is_batchable(args) and (self.ends_by_state or not isinstance(args.stop_words, Endless))

    def _make_state_machine(
        self, model_key: Any, tokenizer: Any, stop_words: list[str], initial_state: str = "", **named: Any
    ) -> Any:
        if initial_state:  # before 0.32
            named["initial_state"] = initial_state
        if not isinstance(stop_words, Endless):
            return super()._make_state_machine(model_key, tokenizer, stop_words, **named)
        if initial_state:  # then a state without an end breaks it, and so does having no sequence
            from mlx_lm.generate import SequenceStateMachine

            return SequenceStateMachine({}, initial=initial_state), {(): ""}
        with endless(tokenizer):
            return super()._make_state_machine((model_key, "endless"), tokenizer, [], **named)

    def _serve_single(self, asked: Any, *more: Any) -> None:
        # What cannot be batched goes through a loop that looks for the end of text by itself.
        *_, args = asked
        with endless(self.model_provider.tokenizer) if isinstance(args.stop_words, Endless) else nullcontext():
            super()._serve_single(asked, *more)


@contextmanager
def endless(tokenizer: Any) -> Iterator[None]:
    """No token ends the text."""
    ends = tokenizer.eos_token_ids
    tokenizer.eos_token_ids = ()
    try:
        yield
    finally:
        tokenizer.eos_token_ids = ends


class Handler(server.APIHandler):
    """The routes."""

    def do_GET(self) -> None:
        if self.path != "/version":
            super().do_GET()
            return
        self._set_completion_headers(200)
        self.end_headers()
        self.wfile.write(json.dumps({"version": server.__version__, "engine": "mlx-lm"}).encode())

    def validate_model_parameters(self) -> None:
        asked = self.top_logprobs
        self.top_logprobs = min(asked, 10)  # 0.31.1 knows how to list more, and refuses to
        super().validate_model_parameters()
        self.top_logprobs = asked

    def handle_text_completions(self) -> Any:
        request = super().handle_text_completions()
        return Fresh(**vars(request)) if self.body.get("fresh") else request

    def handle_completion(self, request: Any, stop_words: list[str]) -> None:
        super().handle_completion(request, Endless() if self.body.get("ignore_eos") else stop_words)

    def generate_response(self, *given: Any, **more: Any) -> Any:
        answer = super().generate_response(*given, **more)
        if not self.stream:
            answer["choices"][0] |= {"token_ids": more["tokens"], "token_logprobs": more["token_logprobs"]}
        return answer


def listen(host: str, port: int, generator: Generator) -> None:
    """Serve once there is something to serve."""
    generator.loaded.wait()
    listen_as_published(host, port, generator, handler_class=Handler)


if __name__ == "__main__":
    if "TMPDIR" in os.environ:  # where MLX keeps the kernels that it compiles
        os.makedirs(os.environ["TMPDIR"], exist_ok=True)
    server.ResponseGenerator = Generator
    server._run_http_server = listen
    server.main()
