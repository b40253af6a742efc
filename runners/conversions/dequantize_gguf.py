"""Make a Hugging Face checkpoint of a GGUF file: `python -P dequantize_gguf.py FILE.gguf FOLDER DTYPE`.

Standalone: it runs in the reference environment and imports nothing of this project. The weights are dequantized and
rounded to DTYPE once; from then on that checkpoint is the model, for the reference and for every engine alike.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

TOKENIZER_CLASS = "PreTrainedTokenizerFast"
"""transformers 5 writes its own `TokenizersBackend`, which transformers 4, and so llama.cpp's converter, does not know;
both read this name, as published checkpoints of these models have one that both read."""


def main(gguf: Path, folder: Path, dtype: str) -> None:
    """Load, dequantize, round to `dtype`, save with the tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    source = {"gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **source)
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, **source, dtype=getattr(torch, dtype), quantization_config=GgufConfig(dequantize=True)
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _name_tokenizer_class(folder / "tokenizer_config.json")
    _name_rope_bases(folder / "config.json")
    for path in folder.iterdir():
        if path.is_file():
            path.chmod(0o644)  # weights are saved 0600, which an engine running as another user could not read


def _name_tokenizer_class(path: Path) -> None:
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(config | {"tokenizer_class": TOKENIZER_CLASS}, indent=2) + "\n", encoding="utf-8")


def _name_rope_bases(path: Path) -> None:
    """Give RoPE's bases by the keys of the published configs too; transformers 5 saves `rope_parameters` alone."""
    config = json.loads(path.read_text(encoding="utf-8"))
    rope = config.get("rope_parameters") or {}
    layers = {"rope_theta": rope.get("full_attention", rope), "rope_local_base_freq": rope.get("sliding_attention", {})}
    bases = {key: values["rope_theta"] for key, values in layers.items() if "rope_theta" in values}
    path.write_text(json.dumps(bases | config, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 4 or not Path(sys.argv[1]).is_file():
        print(__doc__.splitlines()[0], file=sys.stderr)
        raise SystemExit(2)
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
