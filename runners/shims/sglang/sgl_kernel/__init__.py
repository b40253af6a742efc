"""Stand-in for SGLang's compiled kernels, so that SGLang imports on a CPU with packages alone.

SGLang imports these names at start-up when its CPU engine is chosen. The package that holds them is published for
CUDA only; the CPU build has to be compiled from source. With the `torch_native` attention backend none of them runs
for a plain text model, so each one only says so when it is called: a wrong answer is impossible, an error is not.

An SGLang that runs on this stand-in is not the build that its makers publish. A release that uses it declares
`build = "patched"`, and a failure seen on it must be reproduced on an official build before anyone is told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn


def _absent(name: str) -> Callable[..., NoReturn]:
    def kernel(*_args: object, **_kwargs: object) -> NoReturn:
        raise NotImplementedError(f"sgl_kernel.{name} is not compiled here: this is an import stand-in")

    kernel.__name__ = kernel.__qualname__ = name
    return kernel


assign_draft_cache_locs_contiguous_cpu = _absent("assign_draft_cache_locs_contiguous_cpu")
assign_extend_cache_locs_cpu = _absent("assign_extend_cache_locs_cpu")
assign_req_to_token_pool_cpu = _absent("assign_req_to_token_pool_cpu")
build_tree_kernel_efficient_cpu = _absent("build_tree_kernel_efficient_cpu")
copy_all_layer_kv_cache_cpu = _absent("copy_all_layer_kv_cache_cpu")
fill_accept_out_cache_loc_cpu = _absent("fill_accept_out_cache_loc_cpu")
fill_bonus_tokens_cpu = _absent("fill_bonus_tokens_cpu")
rotate_input_ids_cpu = _absent("rotate_input_ids_cpu")
verify_tree_greedy_cpu = _absent("verify_tree_greedy_cpu")
