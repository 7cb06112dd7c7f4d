"""The spurious neural principal components of each class, read from the user's own copy of the released `.npy`.

Source: Neuhaus, Augustin, Boreiko & Hein, Spurious Features Everywhere (ICCV 2023), file `spurious_components.npy`: an
array of no axes that holds a dict of class index to the places, by eigenvalue from 0, of the components that people
judged spurious. NumPy reads such a file by unpickling it, which runs whatever it says; here it is taken apart as data.
"""

from __future__ import annotations

import ast
import os
from pathlib import Path

from models.errors import LabelsError
from models.published.object_array import read_object

CLASSES, CHANNELS = 1000, 2048
MAX_BYTES = 2**20
"""The released file has 2.6 kB."""

MAX_HEADER = 1024
"""NumPy pads the header to a multiple of 64 bytes: 118 here."""

MAGIC = b"\x93NUMPY"
LENGTH_BYTES = {(1, 0): 2, (2, 0): 4, (3, 0): 4}
"""Bytes of the header's length, by version of the format."""


def read_components(
    path: str | os.PathLike[str], classes: int = CLASSES, channels: int = CHANNELS
) -> dict[int, tuple[int, ...]]:
    """Read and check the whole file; nothing in it is run.

    Args:
        classes: class indices lie below this.
        channels: components lie below this: there are as many as channels.

    Returns:
        Components by class, classes ascending, components in the file's order.

    Raises:
        LabelsError: the file is not such an array, is cut short or hostile, or an index lies outside; with the reason.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise LabelsError(f"{path.name!r} cannot be read: {error.strerror}", field="file") from error
    if len(content) > MAX_BYTES:
        raise LabelsError(f"{path.name!r} is larger than {MAX_BYTES:,} bytes", field="file")
    try:
        found = read_object(content[_header_end(content) :])
        return _checked(found, classes, channels)
    except LabelsError as error:
        raise LabelsError(
            f"{path.name!r} does not hold spurious components: {error}",
            field="file",
            remedy="give spurious_components.npy as released: a dict of class index to a list of component indices",
        ) from error


def _header_end(content: bytes) -> int:
    """Where the header ends, once it states an array of dtype object and no axes."""
    if not content.startswith(MAGIC):
        raise LabelsError("it is not a .npy file")
    version = tuple(content[len(MAGIC) : len(MAGIC) + 2])
    if version not in LENGTH_BYTES:
        raise LabelsError(f"its format has version {version}")
    start = len(MAGIC) + 2 + LENGTH_BYTES[version]
    length = int.from_bytes(content[len(MAGIC) + 2 : start], "little")
    if length > MAX_HEADER:
        raise LabelsError(f"its header has {length:,} bytes, more than {MAX_HEADER:,}")
    if len(content) < start + length:
        raise LabelsError("it ends within its header")
    try:
        header = ast.literal_eval(content[start : start + length].decode("latin1").strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise LabelsError("its header cannot be read") from error
    expected = {"descr": "|O", "fortran_order": False, "shape": ()}
    if not isinstance(header, dict) or header != expected or type(header["fortran_order"]) is not bool:
        raise LabelsError("its header does not state an array of dtype object without axes")
    return start + length


def _checked(found: object, classes: int, channels: int) -> dict[int, tuple[int, ...]]:
    if type(found) is not dict:
        raise LabelsError(f"it holds a {type(found).__name__}, not a dict")
    if not found:
        raise LabelsError("its dict is empty")
    for index, components in found.items():
        if type(index) is not int:
            raise LabelsError(f"a class is given as {type(index).__name__}, not as a whole number")
        if not 0 <= index < classes:
            raise LabelsError(f"class {_shown(index)} lies outside 0 to {classes - 1}")
        if type(components) is not list or any(type(component) is not int for component in components):
            raise LabelsError(f"class {index} does not have a list of whole numbers")
        if not components:
            raise LabelsError(f"class {index} has no components")
        outside = [component for component in components if not 0 <= component < channels]
        if outside:
            raise LabelsError(f"class {index}: component {_shown(outside[0])} lies outside 0 to {channels - 1}")
        if len(set(components)) != len(components):
            raise LabelsError(f"class {index} names a component twice")
    return {index: tuple(found[index]) for index in sorted(found)}


def _shown(number: int) -> str:
    """A number as read, if it is not absurdly long: 255 bytes of one would fill the message."""
    return str(number) if abs(number) < 10**12 else "of more than 12 digits"
