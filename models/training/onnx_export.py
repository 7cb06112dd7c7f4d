"""Write a trained network as one self-contained ONNX file."""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path

import torch
from torch import nn

OPSET = 18
LARGEST_BATCH = 1024


def export_onnx(network: nn.Module, side: int, path: Path) -> None:
    """Export with input ``images`` float32 [N, 3, side, side], already normalised, and output ``logits`` [N, C]."""
    partial = path.with_name(path.name + ".partial")
    batch = {0: torch.export.Dim("batch", min=1, max=LARGEST_BATCH)}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.cpu().eval(),
            (torch.zeros(2, 3, side, side),),
            str(partial),
            dynamo=True,
            external_data=False,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=(batch,),
        )
    partial.replace(path)
