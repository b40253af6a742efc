"""Stand-in that lets the installed torchvision be imported beside a CPU build of torch.

The torchvision on the package index is linked against CUDA, so its compiled operators never load here. Its Python part
still registers fake implementations for two of them, and torch refuses that for an operator it has never heard of: the
import dies. This package comes first on the path, declares the two operators, and then runs the installed package's
own `__init__` in its place. The operators stay without an implementation: text models call neither.

An engine that runs on this stand-in is not the build that its makers publish. A release that uses it declares
`build = "patched"`.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from pathlib import Path

import torch

_HERE = Path(__file__).resolve().parent.parent

# Kept in a name: the declarations vanish when the Library object is collected.
_SCHEMAS = torch.library.Library("torchvision", "DEF")
_SCHEMAS.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
_SCHEMAS.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def _run_the_installed_package() -> None:
    """Execute the next torchvision on the path as this module, submodules included."""
    elsewhere = [entry for entry in sys.path if Path(entry or ".").resolve() != _HERE]
    spec = PathFinder.find_spec("torchvision", elsewhere)
    if spec is None or spec.loader is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError("torchvision is not installed behind its stand-in", name="torchvision")
    module = sys.modules[__name__]
    module.__spec__, module.__file__ = spec, spec.origin
    module.__path__ = list(spec.submodule_search_locations)
    spec.loader.exec_module(module)


_run_the_installed_package()
