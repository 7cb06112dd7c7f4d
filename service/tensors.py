"""Tensors as the Open Inference Protocol (V2) writes them: JSON, or raw bytes behind the JSON (binary data extension).

https://github.com/open-inference/open-inference-protocol/blob/main/specification/protocol/inference_rest.md and, for
binary data, https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.problems import FieldError, Problem

LENGTH_HEADER = "Inference-Header-Content-Length"
PREFIX_BYTES = 4
"""Before each element of a binary BYTES tensor: its length, little-endian."""


class InputTensor(BaseModel):
    """A tensor of a request."""

    name: str
    shape: list[int] = Field(min_length=1, max_length=8)
    datatype: Literal["BYTES", "FP32"]
    parameters: dict[str, Any] = {}
    data: list[Any] | None = Field(
        None, description="Elements, nested or flat; base64 for BYTES. Not with binary data."
    )


class WantedOutput(BaseModel):
    """An output that is asked for."""

    name: str
    parameters: dict[str, Any] = {}


class InferRequest(BaseModel):
    """The JSON of a request."""

    model_config = ConfigDict(protected_namespaces=())

    id: str | None = None
    parameters: dict[str, Any] = {}
    inputs: list[InputTensor] = Field(min_length=1)
    outputs: list[WantedOutput] | None = Field(None, description="All outputs if left out.")


class OutputTensor(BaseModel):
    """A tensor of an answer."""

    name: str
    shape: list[int]
    datatype: Literal["FP32", "INT64"]
    parameters: dict[str, Any] | None = None
    data: list[float] | None = Field(None, description="Elements in row-major order; not with binary data.")


class InferAnswer(BaseModel):
    """The JSON of an answer."""

    model_config = ConfigDict(protected_namespaces=())

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]


class Message:
    """A request as it arrived: its JSON, and the raw bytes behind it, which are handed out input by input.

    Raises:
        Problem: `malformed` or `invalid`, naming the field.
    """

    def __init__(self, body: bytes, json_bytes: str | None) -> None:
        """
        Args:
            body: of the request.
            json_bytes: the header that says how much of it is JSON; None where all is.
        """
        end = len(body)
        if json_bytes is not None:
            if not json_bytes.isdecimal() or int(json_bytes) > len(body):
                raise Problem("malformed", f"{LENGTH_HEADER} is {json_bytes[:20]!r}.", field=LENGTH_HEADER)
            end = int(json_bytes)
        try:
            self.request = InferRequest.model_validate_json(body[:end])
        except ValidationError as error:
            raise _problem(error) from error
        self._raw = memoryview(body)[end:]
        self._arrays = {tensor.name: self._array(place, tensor) for place, tensor in enumerate(self.request.inputs)}
        if self._raw.nbytes:
            raise Problem("malformed", f"{self._raw.nbytes} bytes follow the last input.", field="body")

    def array(self, name: str) -> list[bytes] | NDArray[np.float32]:
        """The elements of a BYTES tensor, or an FP32 tensor in its shape."""
        return self._arrays[name]

    def _array(self, place: int, tensor: InputTensor) -> list[bytes] | NDArray[np.float32]:
        field = f"inputs[{place}]"
        if any(side < 1 for side in tensor.shape):
            raise _invalid(f"{field}.shape", f"A shape of {tensor.shape} has no elements.")
        count, raw = math.prod(tensor.shape), self._binary(tensor, field)
        if (raw is None) is (tensor.data is None):
            raise _invalid(field, "A tensor has either `data` or the parameter `binary_data_size`.")
        if tensor.datatype == "BYTES":
            elements = _decoded(tensor.data or [], field) if raw is None else _parted(raw, field)
            if len(elements) != count:
                raise _invalid(f"{field}.data", f"{len(elements)} elements do not fill the shape {tensor.shape}.")
            return elements
        try:
            values = np.asarray(tensor.data, np.float32) if raw is None else np.frombuffer(raw, "<f4")
            return values.reshape(tensor.shape)
        except (ValueError, TypeError, OverflowError) as error:
            raise _invalid(f"{field}.data", f"The data are not numbers that fill the shape {tensor.shape}.") from error

    def _binary(self, tensor: InputTensor, field: str) -> memoryview | None:
        size = tensor.parameters.get("binary_data_size")
        if size is None:
            return None
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= self._raw.nbytes:
            raise _invalid(f"{field}.parameters.binary_data_size", f"There are not {size} bytes behind the JSON.")
        raw, self._raw = self._raw[:size], self._raw[size:]
        return raw


def answer(
    head: InferAnswer, arrays: Mapping[str, NDArray[Any]], wanted: Sequence[WantedOutput], binary: bool
) -> tuple[bytes, dict[str, str]]:
    """The body and the headers of an answer.

    Args:
        head: without outputs.
        arrays: float32 or int64, by name of the output.
        wanted: the outputs, in order.
        binary: whether outputs that do not say so are binary.
    """
    raw: list[bytes] = []
    for output in wanted:
        array = arrays[output.name]
        datatype: Literal["FP32", "INT64"] = "INT64" if array.dtype == np.int64 else "FP32"
        tensor = OutputTensor(name=output.name, shape=list(array.shape), datatype=datatype)
        if output.parameters.get("binary_data", binary):
            raw.append(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
            tensor.parameters = {"binary_data_size": len(raw[-1])}
        else:
            tensor.data = array.ravel().tolist()
        head.outputs.append(tensor)
    text = head.model_dump_json(exclude_none=True).encode()
    if not raw:
        return text, {"Content-Type": "application/json"}
    headers = {"Content-Type": "application/octet-stream", LENGTH_HEADER: str(len(text))}
    return b"".join([text, *raw]), headers


def _decoded(data: Sequence[Any], field: str) -> list[bytes]:
    """Base64 strings, nested or not."""
    found: list[bytes] = []
    for element in data:
        if isinstance(element, list):
            found += _decoded(element, field)
            continue
        try:
            found.append(base64.b64decode(element, validate=True))
        except (binascii.Error, ValueError, TypeError) as error:
            raise _invalid(f"{field}.data", "An element is not base64.") from error
    return found


def _parted(raw: memoryview, field: str) -> list[bytes]:
    """Elements that each follow their length."""
    found: list[bytes] = []
    while raw.nbytes:
        size = int.from_bytes(raw[:PREFIX_BYTES], "little")
        if PREFIX_BYTES + size > raw.nbytes:
            raise _invalid(f"{field}.data", "An element is longer than the bytes that are left.")
        found.append(bytes(raw[PREFIX_BYTES : PREFIX_BYTES + size]))
        raw = raw[PREFIX_BYTES + size :]
    return found


def _problem(error: ValidationError) -> Problem:
    faults = error.errors()
    if any(fault["type"] == "json_invalid" for fault in faults):
        return Problem("malformed", f"The body is not JSON: {faults[0]['msg']}.", field="body")
    errors = [FieldError(field=".".join(map(str, fault["loc"])) or "body", detail=fault["msg"]) for fault in faults]
    return Problem("invalid", f"{errors[0].field}: {errors[0].detail}", field=errors[0].field, errors=errors)


def _invalid(field: str, detail: str) -> Problem:
    return Problem("invalid", detail, field=field, remedy="See docs/v2.md.")
