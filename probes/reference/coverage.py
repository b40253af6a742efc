"""Which tensors a checkpoint has and its architecture wants: `python -P coverage.py FOLDER` prints JSON.

Standalone: it runs in the reference environment and imports nothing of this project.
    {"tensors": n, "missing": […], "unexpected": […], "mismatched": […]}   names as transformers reports them
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def coverage(folder: Path) -> dict[str, int | list[str]]:
    """What from_pretrained would leave at random, would ignore, and cannot fit."""
    import torch
    from transformers import AutoModelForCausalLM

    model, info = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.bfloat16, output_loading_info=True, local_files_only=True
    )
    return {
        "tensors": len(model.state_dict()),
        "missing": sorted(info["missing_keys"]),
        "unexpected": sorted(info["unexpected_keys"]),
        "mismatched": sorted(str(key[0] if isinstance(key, tuple) else key) for key in info["mismatched_keys"]),
    }


if __name__ == "__main__":
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / "config.json").is_file():
        print("usage: coverage.py FOLDER (with a config.json in it)", file=sys.stderr)
        raise SystemExit(2)
    print(json.dumps(coverage(Path(sys.argv[1]))))
