"""llama.cpp's converter as it is, but for checkpoints whose tokenizer was made here: `python convert.py CONVERTER …`.

`--quantize TYPE` at the end quantizes what it made, by llama.cpp's own quantizer, which llama-cpp-python binds.

The converter knows a tokenizer by what it makes of a fixed text, and refuses those it has not seen: a fault that users
of a new model meet, and that must be seen. A checkpoint with random weights has a tokenizer of one character a token,
which no converter can know; it is marked by the record beside its weights, and for it alone the question is answered.
Standalone: it runs in the engine's environment and imports nothing of this project.
"""

from __future__ import annotations

import ctypes
import runpy
import sys
from pathlib import Path
from typing import Any

RECORD = "checkpoint.json"
"""Beside the weights of a checkpoint that was made here."""


def take_made_here() -> None:
    """Whatever tokenizer the code for a class of models asks for, the byte-level one that is there is read.

    Nor are there layers for multi-token prediction, which is what `--no-mtp` says where a class knows it.
    """
    import conversion
    from conversion.base import TextModel

    published = conversion.get_model_class

    def as_made_here(name: str, mmproj: bool = False) -> Any:
        model = published(name, mmproj)
        if issubclass(model, TextModel):
            model.set_vocab = TextModel._set_vocab_gpt2
            model.no_mtp = True
        return model

    TextModel.get_vocab_base_pre = lambda self, tokenizer: "gpt-2"
    conversion.get_model_class = as_made_here


def quantize(path: Path, kind: str) -> None:
    """Quantize a file in place; the process fails where llama.cpp says that it could not."""
    import llama_cpp

    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind}")
    whole = path.rename(path.with_suffix(".whole.gguf"))
    code = llama_cpp.llama_model_quantize(str(whole).encode(), str(path).encode(), ctypes.byref(params))
    whole.unlink()
    if code != 0:
        sys.exit(f"llama_model_quantize to {kind} returned {code}")


def main() -> None:
    kind = None
    if sys.argv[-2] == "--quantize":
        kind = sys.argv.pop()
        sys.argv.pop()
    converter, checkpoint = Path(sys.argv[1]), Path(sys.argv[2])
    sys.path[:0] = [str(converter.parent), str(converter.parent / "gguf-py")]
    sys.argv[:2] = [str(converter)]
    if (checkpoint / RECORD).is_file():
        take_made_here()
    runpy.run_path(str(converter), run_name="__main__")
    if kind is not None:
        quantize(Path(sys.argv[sys.argv.index("--outfile") + 1]), kind)


if __name__ == "__main__":
    main()
