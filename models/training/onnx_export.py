"""A network as one self-contained ONNX file."""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path

import torch
from onnx import ModelProto
from torch import nn

from models.classifiers.onnx_graph import parts

OPSET = 18
LARGEST_BATCH = 1024


def to_onnx(network: nn.Module, side: int) -> ModelProto:
    """A graph with input ``images`` float32 [N, 3, side, side], already normalised, and output ``logits`` [N, C].

    Nothing is written to disk: a confined process may export too.
    """
    batch = {0: torch.export.Dim("batch", min=1, max=LARGEST_BATCH)}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network.cpu().eval(),
            (torch.zeros(2, 3, side, side),),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=(batch,),
        )
    assert program is not None  # torch gives none without `dynamo` only
    model: ModelProto = program.model_proto
    forget_origin(model)
    return model


def forget_origin(model: ModelProto) -> None:
    """Take out what the exporter notes for debugging: paths of the machine are in it."""
    for part in parts(model):
        for field in ("doc_string", "metadata_props"):
            if field in part.DESCRIPTOR.fields_by_name:
                part.ClearField(field)


def export_onnx(network: nn.Module, side: int, path: Path) -> None:
    """Write the graph of `to_onnx` as a file."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(to_onnx(network, side).SerializeToString())
    partial.replace(path)
