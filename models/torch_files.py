"""Files that `torch.save` wrote, today's zip archives and those from before torch 1.6, read without unpickling them."""

from __future__ import annotations

import io
import mmap
import re
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.errors import CheckpointError
from models.restricted_pickle import INERT, is_cheap_key, read_pickle

MOST_PICKLE_BYTES = 64 * 2**20
MOST_MEMBERS = 100_000
MOST_DIMENSIONS = 8
MOST_ELEMENTS = 2**40
"""No number in a file that says how many or where is larger, or the file is made up."""

MOST_BYTES = 4 * 2**30
"""Of all tensors taken from one file; a ResNet-152 has 0.24 GB."""

MOST_TIMES = 4
"""Tensors may share numbers and repeat them; no network's take so many times the file's size."""

ZIP_MAGIC = b"PK\x03\x04"
ZIP_ENTRY = re.compile(rb"PK\x01\x02")
PICKLE_MAGIC = b"\x80"
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_VERSION = 1001
AGAIN = "the file is cut off or damaged; fetch it again from where it was published"

STORAGES: dict[str, torch.dtype] = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
}


@dataclass(frozen=True)
class Storage:
    """Where the numbers of a tensor are: `size` elements from `start` of the storage `key`."""

    key: str
    dtype: torch.dtype
    size: int
    start: int = 0


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that a file speaks of and whose numbers have not been read."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def elements(self) -> int:
        """How many there are."""
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        """What it takes in memory, unfolded."""
        return self.elements * self.storage.dtype.itemsize


class TorchFile:
    """What a file of `torch.save` says, and its tensors on demand. A context manager, open as long as it is in use.

    Attributes:
        content: as `models.restricted_pickle.read_pickle` gives it, with a `StoredTensor` for every tensor.
    """

    def __init__(self, path: Path) -> None:
        """Read everything but the numbers.

        Raises:
            CheckpointError: it is cut off, made up, or was not written by `torch.save`.
        """
        self._file = path.open("rb")
        self._archive: zipfile.ZipFile | None = None
        self._storages: dict[str, np.ndarray] = {}
        self._taken = 0
        try:
            with _translated():
                self._bytes = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
                self.content = self._read_zip() if self._bytes[:4] == ZIP_MAGIC else self._read_legacy()
        except CheckpointError:
            self._file.close()
            raise

    def __enter__(self) -> TorchFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._storages.clear()
        self._file.close()

    def tensors(self, wanted: Mapping[str, StoredTensor]) -> dict[str, Tensor]:
        """The tensors of these names, contiguous and each with memory of its own.

        Raises:
            CheckpointError: one reaches outside its storage, a storage is not whole, or all are too large together.
        """
        most = min(MOST_BYTES, MOST_TIMES * len(self._bytes))
        if (total := sum(tensor.bytes for tensor in wanted.values())) > most:
            raise CheckpointError(
                f"the file's tensors would take {total:,} bytes; of a file of {len(self._bytes):,} at most {most:,} "
                "are read",
                field="file",
            )
        return {name: self._tensor(name, tensor) for name, tensor in wanted.items()}

    def _tensor(self, name: str, tensor: StoredTensor) -> Tensor:
        storage, width = tensor.storage, tensor.storage.dtype.itemsize
        last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride, strict=True))
        if tensor.elements == 0:
            return torch.empty(tensor.shape, dtype=storage.dtype)
        if last >= storage.size:
            raise CheckpointError(f"{name[:100]!r} reaches outside its storage", field="file", remedy=AGAIN)
        numbers = self._storage(storage.key)
        if (storage.start + storage.size) * width > len(numbers):
            raise CheckpointError(
                f"the storage of {name[:100]!r} should have {storage.size} elements and is cut off",
                field="file",
                remedy=AGAIN,
            )
        # By numpy, as bytes of this width: torch knows no view that begins anywhere, numpy no bfloat16.
        begin, strides = (storage.start + tensor.offset) * width, [step * width for step in tensor.stride]
        taken = np.ndarray(tensor.shape, np.dtype((np.void, width)), numbers, begin, strides).copy()
        return torch.from_numpy(taken.reshape(-1).view(np.uint8)).view(storage.dtype).view(tensor.shape)

    def _storage(self, key: str) -> np.ndarray:
        """The bytes of a storage, uint8."""
        if key not in self._storages:
            if self._archive is None:
                raise CheckpointError(f"the file lacks the storage {key[:100]!r}", field="file", remedy=AGAIN)
            self._storages[key] = np.frombuffer(self._member(f"data/{key}", MOST_BYTES), np.uint8)
        return self._storages[key]

    # --- Since torch 1.6: a zip archive with the pickle and one member per storage

    def _read_zip(self) -> Any:
        # Counted beforehand, for zipfile builds an object of some 600 bytes for every entry of its directory.
        if sum(1 for _ in islice(ZIP_ENTRY.finditer(self._bytes), MOST_MEMBERS + 1)) > MOST_MEMBERS:
            raise CheckpointError(f"the file is a zip archive of more than {MOST_MEMBERS:,} members", field="file")
        self._archive = zipfile.ZipFile(self._file)
        members = self._archive.infolist()
        pickles = [member.filename for member in members if member.filename.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise CheckpointError(
                f"the file is a zip archive of {len(members)} members, {len(pickles)} of them a data.pkl, and so none "
                "of torch.save",
                field="file",
                remedy="save the state dict with torch.save or safetensors",
            )
        self._folder = pickles[0].removesuffix("data.pkl")
        if f"{self._folder}constants.pkl" in self._archive.namelist():
            raise CheckpointError(
                "the file is a TorchScript archive, which holds code",
                field="file",
                remedy="save the state dict with torch.save or safetensors",
            )
        if f"{self._folder}byteorder" in self._archive.namelist() and self._member("byteorder", 16) != b"little":
            raise CheckpointError(
                "the file's numbers are big-endian", field="file", remedy="save it on a common machine"
            )
        return _read(io.BytesIO(self._member("data.pkl", MOST_PICKLE_BYTES)), _stored_in_zip)

    def _member(self, name: str, most: int) -> bytes:
        assert self._archive is not None
        try:
            member = self._archive.getinfo(self._folder + name)
        except KeyError:
            raise CheckpointError(f"the file lacks the member {name[:100]!r}", field="file", remedy=AGAIN) from None
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1 or member.file_size > most:
            raise CheckpointError(
                f"the file's member {name[:100]!r} is compressed, encrypted or larger than {most} bytes, as torch.save "
                "writes none",
                field="file",
            )
        self._taken += member.file_size
        if self._taken > len(self._bytes):  # members that lie in one another, which zipfile may not notice
            raise CheckpointError("the file's members are larger than the file", field="file")
        with _translated():
            return self._archive.read(member)

    # --- Before: pickles, one after the other, then the storages

    def _read_legacy(self) -> Any:
        source = self._bytes
        headed = source[:1] == PICKLE_MAGIC and _read(source, _nothing_stored) == LEGACY_MAGIC
        if not headed or _read(source, _nothing_stored) != LEGACY_VERSION:
            raise CheckpointError(
                "the file is neither safetensors nor a file of torch.save",
                field="file",
                remedy="save the state dict with torch.save or safetensors",
            )
        system = _read(source, _nothing_stored)
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise CheckpointError(
                "the file's numbers are big-endian", field="file", remedy="save it on a common machine"
            )
        widths: dict[str, int] = {}

        def stored(identifier: Any) -> Any:
            found = _stored_before_zip(identifier)
            if isinstance(found, Storage):
                widths[found.key] = found.dtype.itemsize
            return found

        content = _read(source, stored)
        keys = _read(source, _nothing_stored)
        for key in keys if isinstance(keys, list) else ():
            (count,) = struct.unpack("<q", source.read(8))
            length = count * widths.get(key, 0)
            if not isinstance(key, str) or key not in widths or count < 0 or source.tell() + length > len(source):
                raise CheckpointError("the file's storages are cut off", field="file", remedy=AGAIN)
            self._storages[key] = np.frombuffer(source, np.uint8, length, source.tell())
            source.seek(length, 1)
        return content


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what reading a damaged file raises into the error of this room."""
    try:
        yield
    except (zipfile.BadZipFile, EOFError, struct.error, OSError, ValueError, NotImplementedError) as error:
        raise CheckpointError(f"the file cannot be read: {error}", field="file", remedy=AGAIN) from error


def _read(source: Any, stored: Callable[[Any], Any]) -> Any:
    return read_pickle(source, NAMES, stored)


def _nothing_stored(identifier: Any) -> Any:
    return INERT


def _stored_in_zip(identifier: Any) -> Any:
    """`("storage", type, key, device, elements)`."""
    match identifier:
        case ("storage", torch.dtype() as dtype, str() as key, _, int() as size) if _integers((size,)):
            return Storage(key, dtype, size)
    return INERT


def _stored_before_zip(identifier: Any) -> Any:
    """`("storage", type, key, device, elements, view)`; a view is None or `(key of its own, first element, elements)`.

    Pickled modules are stored so too, with their source, as `("module", ...)`: those stay inert.
    """
    match identifier:
        case ("storage", torch.dtype() as dtype, str() as key, _, int() as size, None) if _integers((size,)):
            return Storage(key, dtype, size)
        case ("storage", torch.dtype() as dtype, str() as key, _, int(), (_, int() as start, int() as size)):
            return Storage(key, dtype, size, start) if _integers((size, start)) else INERT
    return INERT


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> Any:
    """What the pickle would rebuild a tensor with; inert where its numbers are of no kind that weights have."""
    sides, steps, start = _integers(shape), _integers(stride), _integers((offset,))
    if not isinstance(storage, Storage) or sides is None or steps is None or start is None or len(sides) != len(steps):
        return INERT
    if prod(max(side, 1) for side in sides) >= MOST_ELEMENTS:  # without any element, too: torch would refuse it
        return INERT
    return StoredTensor(storage, start[0], sides, steps)


def _integers(values: Any) -> tuple[int, ...] | None:
    """The same, where there are as few and as small ones as places and shapes have."""
    if not isinstance(values, (tuple, list)) or len(values) > MOST_DIMENSIONS:
        return None
    return tuple(values) if all(isinstance(value, int) and 0 <= value < MOST_ELEMENTS for value in values) else None


def _parameter(data: Any = INERT, *_: Any) -> Any:
    return data


def _size(values: Any = ()) -> Any:
    return tuple(values) if isinstance(values, (tuple, list)) else INERT


def _dictionary(pairs: Any = ()) -> dict[str | int, Any]:
    """`OrderedDict(pairs)`, as Python 2 pickled it with its content."""
    taken = [pair for pair in pairs if isinstance(pair, (tuple, list)) and len(pair) == 2] if pairs else []
    return {key: value for key, value in taken if is_cheap_key(key)}


NAMES: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _dictionary,
    ("torch", "Size"): _size,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    **{(module, name): dtype for module in ("torch", "torch.cuda") for name, dtype in STORAGES.items()},
}
"""What a pickled tensor is made of. None of it is torch's own."""
