"""What a pickled NumPy array of dtype object and no axes holds, read as data."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from models.errors import CheckpointError, LabelsError
from models.restricted_pickle import read_pickle

INTEGERS = {f"{sign}{size}": (size, sign == "i") for size in (1, 2, 4, 8) for sign in "iu"}
"""NumPy's integer types by the name it pickles them with: bytes, and whether they have a sign."""

OBJECT = "O8"


def read_object(program: bytes) -> Any:
    """The content of the array: what `models.restricted_pickle` makes of it, with NumPy's integers as plain ones.

    Raises:
        LabelsError: the pickle is cut short, goes on after its end, or holds anything else; with the reason.
    """
    source = io.BytesIO(program)
    try:
        array = read_pickle(source, NAMES, _stored, strict=True)
    except CheckpointError as error:
        raise LabelsError(str(error), field="file") from error
    if source.tell() != len(program):
        raise LabelsError("it goes on after its end", field="file")
    if not isinstance(array, _Array) or not array.filled:
        raise LabelsError("it does not hold an array of dtype object without axes", field="file")
    return array.content


@dataclass
class _Type:
    """A NumPy type; its byte order is set by its state."""

    name: str
    order: str = "|"

    def set_state(self, state: Any) -> None:
        match state:
            case (3, ("<" | ">" | "|") as order, None, None, None, -1, -1, int()):
                self.order = order
            case _:
                raise ValueError(f"its type {self.name} has fields, axes or another version")


@dataclass
class _Array:
    """The array, and what lies in it once its state is set."""

    filled: bool = False
    content: Any = None

    def set_state(self, state: Any) -> None:
        match state:
            case (1, (), _Type(name="O8"), False, [content]) if not self.filled:
                self.filled, self.content = True, content
            case _:
                raise ValueError("its array is not one of dtype object without axes")


def _reconstruct(kind: Any = None, shape: Any = None, code: Any = None, *others: Any) -> _Array:
    if kind is not _ndarray or shape != (0,) or code != b"b" or others:
        raise ValueError("it makes an array in another way than NumPy")
    return _Array()


def _ndarray(*_: Any) -> Any:
    raise ValueError("it makes an array in another way than NumPy")


def _dtype(name: Any = None, *_: Any) -> _Type:
    if not isinstance(name, str) or name not in (OBJECT, *INTEGERS):
        raise ValueError("it holds NumPy values that are neither objects nor integers")
    return _Type(name)


def _scalar(kind: Any = None, content: Any = None, *_: Any) -> int:
    size, signed = INTEGERS.get(kind.name, (0, False)) if isinstance(kind, _Type) else (0, False)
    if size == 0 or not isinstance(content, bytes) or len(content) != size:
        raise ValueError("it holds a NumPy number that is no integer")
    return int.from_bytes(content, "big" if kind.order == ">" else "little", signed=signed)


def _encode(text: Any = None, encoding: Any = None, *_: Any) -> bytes:
    """How protocol 2 writes bytes."""
    if not isinstance(text, str) or encoding != "latin1":
        raise ValueError("it encodes a text in another way than pickle")
    return text.encode("latin1")


def _stored(identifier: Any) -> Any:
    raise ValueError("it keeps values outside itself")


NAMES: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _ndarray,
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _encode,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
}
"""All that NumPy writes for such an array. None of it is NumPy's own."""
