"""A GGUF file's weights in the place of a checkpoint's own: `python -P dequantize_weights.py FILE.gguf FOLDER TARGET`.

Standalone: it runs in the reference environment and imports nothing of this project. Configuration and tokenizer are
the checkpoint's, for transformers reads only a part of them back from such a file (no scaled RoPE, say). In float32,
for what is quantized lies between the numbers of the released dtype.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

WEIGHTS = ("*.safetensors", "*.safetensors.index.json")


def main(gguf: Path, released: Path, target: Path) -> None:
    """Load and dequantize by transformers, under the checkpoint's own configuration; save beside its other files."""
    from transformers import AutoConfig, AutoModelForCausalLM, GgufConfig

    config = AutoConfig.from_pretrained(released)
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, config=config, dtype="float32",
        quantization_config=GgufConfig(dequantize=True),
    )  # fmt: skip
    model.save_pretrained(target)
    for path in released.iterdir():
        if path.is_file() and not any(path.match(pattern) for pattern in WEIGHTS):
            shutil.copyfile(path, target / path.name)
    config_file = target / "config.json"
    given = json.loads(config_file.read_text(encoding="utf-8"))
    given |= {key: "float32" for key in ("dtype", "torch_dtype") if key in given}
    config_file.write_text(json.dumps(given, indent=2) + "\n", encoding="utf-8")
    for path in target.iterdir():
        path.chmod(0o644)


if __name__ == "__main__":
    if len(sys.argv) != 4 or not Path(sys.argv[1]).is_file() or not Path(sys.argv[2]).is_dir():
        print(__doc__.splitlines()[0], file=sys.stderr)
        raise SystemExit(2)
    main(*map(Path, sys.argv[1:]))
