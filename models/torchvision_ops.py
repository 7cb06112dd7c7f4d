"""Make ``import torchvision`` work where its compiled operators cannot load.

The torchvision 0.28.0 wheel on PyPI is linked against CUDA, so beside a CPU-only torch its library ``_C.so`` does not
load and ``import torchvision`` stops with ``RuntimeError: operator torchvision::nms does not exist`` (seen with torch
2.13.0+cpu). Architectures and transforms need none of these operators. Where, and only where, that import fails for
that reason, this module declares the missing operators and gives ``nms`` a plain-torch implementation.

torchvision 0.28.0 also imports torch's compiler, and sympy with it, for one function that is called nowhere here: a
third of the time that a process of ours takes to start. It is imported here when that function is called.

Import this module before torchvision. It can be deleted once torchvision's wheel loads beside every torch build, and
without the compiler.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch

MISSING_OPERATOR = "operator torchvision::"

_declared: list[torch.library.Library] = []
"""Keeps the declared operators registered: they live as long as their library object."""


def plain_nms(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Non-maximum suppression in plain torch, with the result of ``torchvision.ops.nms``.

    boxes: float [N, 4] as (x1, y1, x2, y2); scores: float [N]; iou_threshold: in [0, 1].
    Returns int64 [K], the indices of the boxes kept, by falling score.
    """
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    candidates = scores.argsort(descending=True, stable=True)
    kept = []
    while candidates.numel():
        best, candidates = candidates[0], candidates[1:]
        kept.append(best)
        corners = torch.maximum(boxes[best, :2], boxes[candidates, :2])
        opposite = torch.minimum(boxes[best, 2:], boxes[candidates, 2:])
        overlap = (opposite - corners).clamp(min=0).prod(dim=1)
        candidates = candidates[overlap / (areas[best] + areas[candidates] - overlap) <= iou_threshold]
    return torch.stack(kept) if kept else torch.empty(0, dtype=torch.int64, device=boxes.device)


def is_compile_supported(device_type: str) -> bool:
    """Stands in for the function of that name of ``torch._dynamo.utils``, which is imported when this is called."""
    from torch._dynamo import utils

    return bool(utils.is_compile_supported(device_type))


@contextmanager
def _compiler_left_out() -> Iterator[None]:
    """What is imported within gets ``is_compile_supported`` without the compiler, unless that is there already."""
    if "torch._dynamo" in sys.modules:
        yield
        return
    package, utils = ModuleType("torch._dynamo"), ModuleType("torch._dynamo.utils")
    utils.is_compile_supported = is_compile_supported  # type: ignore[attr-defined]
    sys.modules |= {package.__name__: package, utils.__name__: utils}
    try:
        yield
    finally:
        del sys.modules[package.__name__], sys.modules[utils.__name__]


def _declare_operators() -> None:
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.impl("nms", plain_nms, "CompositeExplicitAutograd")
    _declared.append(library)


def load() -> str | None:
    """Import torchvision, declaring its operators first where the compiled ones cannot load.

    Returns None where torchvision loaded as it is, else the reason why the plain operators were declared.
    Raises whatever importing torchvision raises for any other reason.
    """
    try:
        with _compiler_left_out():
            importlib.import_module("torchvision")
    except RuntimeError as error:
        if MISSING_OPERATOR not in str(error):
            raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        _declare_operators()
        with _compiler_left_out():
            importlib.import_module("torchvision")
        # ``torchvision.ops.nms`` asks for the compiled library, though the operator alone is enough.
        boxes: Any = importlib.import_module("torchvision.ops.boxes")
        boxes._assert_has_ops = lambda: None
        return f"torchvision's compiled operators do not load beside torch {torch.__version__} ({error})"
    return None


REPLACED_BECAUSE: str | None = load()
"""Why the compiled operators were replaced; None where they loaded."""
