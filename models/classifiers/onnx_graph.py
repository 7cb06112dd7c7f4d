"""What an ONNX file says before anything of it runs: no weights elsewhere, no foreign operators."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, Message
from onnx import ModelProto, NodeProto, TensorProto

from models.classifiers.signatures import refuse_disguise
from models.errors import ClassifierError

MOST_BYTES = 2**31
"""protobuf's own bound: a larger network can only be written with its weights in other files."""

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc"})
"""Operator sets built into ONNX Runtime."""

COMPILED = "EPContext"
"""An operator of com.microsoft that stands for machine code made for one accelerator, inside or beside the file."""

EMBED = "embed the weights: torch.onnx.export(..., external_data=False), or onnx.save without external data"


def inspect_graph(path: Path) -> None:
    """Parse an ONNX file and refuse what must not be run.

    Memory: about twice the file's size while it is parsed.

    Raises:
        ClassifierError: not an ONNX file, truncated, too large, without a graph, with weights in other files, or with
            operators that ONNX Runtime does not bring itself.
    """
    refuse_disguise(path, "an ONNX file")
    if (size := path.stat().st_size) >= MOST_BYTES:
        raise ClassifierError(
            f"the file has {size} bytes; an ONNX file with its weights inside ends below {MOST_BYTES}",
            field="file",
            remedy="save the weights as float16, or upload safetensors with a named architecture",
        )
    try:
        model = onnx.load_model(path, format="protobuf", load_external_data=False)
    except DecodeError as error:
        raise ClassifierError(
            f"the file is not ONNX, or it is cut off: {error}",
            field="file",
            remedy="export and upload it again",
        ) from error
    if not model.graph.node or not model.graph.output:
        raise ClassifierError(
            "the file is not ONNX: it holds no graph with nodes and outputs",
            field="file",
            remedy="export it again",
        )
    own = {(function.domain, function.name) for function in model.functions}
    for part in parts(model):
        if isinstance(part, TensorProto):
            _refuse_external(part)
        elif isinstance(part, NodeProto) and (part.domain, part.op_type) not in own:
            _refuse_foreign(part)


def _refuse_external(tensor: TensorProto) -> None:
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        raise ClassifierError(f"weight {tensor.name!r} lies in another file ({location!r})", field="file", remedy=EMBED)


def _refuse_foreign(node: NodeProto) -> None:
    if node.domain not in DOMAINS or node.op_type == COMPILED:
        raise ClassifierError(
            f"operator {node.domain or 'ai.onnx'}::{node.op_type} is not one of ONNX Runtime's own; "
            "foreign code is not run",
            field="file",
            remedy="export with standard ONNX operators only",
        )


def parts(model: ModelProto) -> Iterator[Message]:
    """Every message inside the model, at any depth: also in functions, in the bodies of If and Loop, in attributes."""
    waiting: list[Message] = [model]
    while waiting:
        part = waiting.pop()
        yield part
        for field, value in part.ListFields():
            if field.message_type is not None:
                waiting.extend([value] if isinstance(value, Message) else value)
