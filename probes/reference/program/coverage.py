"""Which tensors and ids a checkpoint has and its architecture wants; printed as JSON by `python -P program coverage`.

{"tensors": n, "missing": […], "unexpected": […], "mismatched": […],   names as transformers reports them
 "rows": n, "largest_id": i, "largest_special_id": i,                  of the output matrix, and of the tokenizer
 "unknown": ""}                                                        or why transformers cannot tell the rest
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .architecture import adopt, auto_class, model_type

NOTHING = {"tensors": 0, "missing": [], "unexpected": [], "mismatched": [], "rows": 0}


def coverage(folder: Path) -> dict[str, Any]:
    """All that can be told of the checkpoint."""
    unknown = unknown_config(folder)
    return {**(NOTHING if unknown else tensors(folder)), **ids(folder), "unknown": unknown}


def unknown_config(folder: Path) -> str:
    """Why transformers does not take the configuration; empty where it does."""
    from transformers import CONFIG_MAPPING, AutoConfig, __version__

    adopt(folder)
    try:
        AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ValueError, OSError) as error:
        kind = model_type(folder)
        if kind is not None and kind not in CONFIG_MAPPING:
            return f"config.json has model_type {kind!r}, which transformers {__version__} does not know"
        return f"config.json is not one that transformers {__version__} takes: {str(error).strip().splitlines()[0]}"
    return ""


def tensors(folder: Path) -> dict[str, Any]:
    """What from_pretrained would leave at random, would ignore, and cannot fit; and how many ids have a row."""
    import torch
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    model, info = auto_class(config).from_pretrained(
        folder,
        dtype=torch.bfloat16,
        output_loading_info=True,
        local_files_only=True,
        ignore_mismatched_sizes=True,  # told below, by name, where an exception would end it
    )
    matrix = model.get_output_embeddings()
    rows = model.config.get_text_config().vocab_size if matrix is None else matrix.weight.shape[0]
    return {
        "tensors": len(model.state_dict()),
        "missing": sorted(info["missing_keys"]),
        "unexpected": sorted(info["unexpected_keys"]),
        "mismatched": sorted(str(key[0] if isinstance(key, tuple) else key) for key in info["mismatched_keys"]),
        "rows": int(rows),
    }


def ids(folder: Path) -> dict[str, int]:
    """The largest ids that the tokenizer gives for text, and for special tokens; -1 where there is none."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    special = {token_id for token_id, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    plain = set(tokenizer.get_vocab(with_added_tokens=True).values()) - special
    return {"largest_id": max(plain, default=-1), "largest_special_id": max(special, default=-1)}
