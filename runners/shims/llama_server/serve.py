"""llama-server out of a wheel without its program: `python -P serve.py --model FILE.gguf --port N …`.

xllamacpp carries llama.cpp's HTTP server as it is and starts it from Python, but reads no command line. This takes the
words that llama-server takes, so far as they are needed, and sets what they set there. Standalone: it runs in the
engine's environment and imports nothing of this project.
"""

from __future__ import annotations

import argparse
import signal
from typing import Any

import xllamacpp

FLASH_ATTENTION = {
    name: getattr(xllamacpp.llama_flash_attn_type, f"LLAMA_FLASH_ATTN_TYPE_{member}")
    for name, member in (("on", "ENABLED"), ("off", "DISABLED"), ("auto", "AUTO"))
}
CACHE_TYPES = {name: getattr(xllamacpp.ggml_type, f"GGML_TYPE_{name.upper()}") for name in ("f32", "f16", "bf16")}
AUTO = -1
"""As many slots as the server thinks fit, on one shared cache: what llama-server does where nothing is said."""


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("-m", "--model", required=True)
    parser.add_argument("-a", "--alias")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("-c", "--ctx-size", type=int, default=0, help="0: the model's own")
    parser.add_argument("-b", "--batch-size", type=int, default=2048)
    parser.add_argument("-ub", "--ubatch-size", type=int, default=512)
    parser.add_argument("-fa", "--flash-attn", choices=FLASH_ATTENTION, default="auto")
    parser.add_argument("-ctk", "--cache-type-k", choices=CACHE_TYPES, default="f16")
    parser.add_argument("-ctv", "--cache-type-v", choices=CACHE_TYPES, default="f16")
    parser.add_argument("--cache-prompt", action=argparse.BooleanOptionalAction, default=True)
    return parser.parse_args()


def params_of(words: argparse.Namespace) -> Any:
    """The server's own record of its settings; what is not set here has the defaults of its command line."""
    params = xllamacpp.CommonParams()
    params.model.path = words.model
    if words.alias:
        params.model_alias = {words.alias}
    if hasattr(params, "hostnames"):
        params.hostnames = [words.host]
    else:  # before llama.cpp's server listened on several
        params.hostname = words.host
    params.port = words.port
    params.n_ctx = words.ctx_size
    params.n_parallel = AUTO
    params.n_batch = words.batch_size
    params.n_ubatch = words.ubatch_size
    params.flash_attn_type = FLASH_ATTENTION[words.flash_attn]
    params.cache_type_k = CACHE_TYPES[words.cache_type_k]
    params.cache_type_v = CACHE_TYPES[words.cache_type_v]
    params.cache_prompt = words.cache_prompt
    return params


def main() -> None:
    params = params_of(options())
    server = xllamacpp.Server(params)  # returns once the model is loaded; raises where it cannot be
    print(f"llama-server of xllamacpp {xllamacpp.__version__} listens on {server.listening_address}", flush=True)
    # Until SIGTERM, which ends it at once: by its own way to stop, a stream under way would hold it for 30 s.
    signal.pause()


if __name__ == "__main__":
    main()
