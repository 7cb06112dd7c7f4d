"""The files that hold masks: one per shard, written in one go, and the same bytes for the same masks."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from jobs.encodings import png, run_lengths
from jobs.export_request import Format
from jobs.mask_names import tree_name

EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time of every member, the earliest a zip can hold: the same masks give the same bytes on any day."""
KEY_DIGITS = 10


class Mask(NamedTuple):
    """One mask on its way to a file.

    Attributes:
        about: the fields of its row that say what it is, as `mask_rows.of_feature` and its activation.
        content: what the file format's `encode` made of it.
    """

    about: Mapping[str, Any]
    content: bytes


@dataclass(frozen=True)
class Masked:
    """A picture and its masks.

    Attributes:
        sample, row: which picture.
        class_index, class_name: the class whose features the masks are of.
        stem: what its masks are called in the tree, see `mask_names`.
        height, width: of the masks, pixels.
        masks: one or more.
        picture: ending and bytes of the picture on the masks' pixels, where it is wanted.
    """

    sample: str
    row: int
    class_index: int
    class_name: str
    stem: str
    height: int
    width: int
    masks: Sequence[Mask]
    picture: tuple[str, bytes] | None


class MaskFile(Protocol):
    """A file being written; a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def add(self, masked: Masked) -> list[str]:
        """Write the masks of one picture; the name of each in the file."""
        ...


class PngZip:
    """An uncompressed zip of PNGs: unpacked anywhere it is the tree, and one mask is read without reading the rest."""

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path, "w", zipfile.ZIP_STORED)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def add(self, masked: Masked) -> list[str]:
        """As `MaskFile.add`."""
        names = []
        for mask in masked.masks:
            name = tree_name(masked.class_name, mask.about["feature_index"], mask.about["label"], masked.stem)
            member = zipfile.ZipInfo(name, EPOCH)
            member.create_system, member.external_attr = 3, 0o644 << 16  # of Unix wherever it is written
            self._zip.writestr(member, mask.content)
            names.append(name)
        return names


class WebDataset:
    """A tar whose members `<key>.json`, `<key>.<ending>` and `<key>.feature_<j>.png` are one sample of WebDataset."""

    def __init__(self, path: Path) -> None:
        self._tar = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115  (closed by __exit__)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._tar.close()

    def add(self, masked: Masked) -> list[str]:
        """As `MaskFile.add`."""
        key = f"{masked.row:0{KEY_DIGITS}}"  # without a dot, from which on WebDataset takes a name for its ending
        endings = [_ending(mask.about) for mask in masked.masks]
        about = {
            "sample": masked.sample,
            "row": masked.row,
            "class_index": masked.class_index,
            "class_name": masked.class_name,
            "height": masked.height,
            "width": masked.width,
            "masks": [{**mask.about, "member": end} for mask, end in zip(masked.masks, endings, strict=True)],
        }
        self._add(f"{key}.json", json.dumps(about, sort_keys=True, ensure_ascii=False).encode())
        if masked.picture is not None:
            ending, content = masked.picture
            self._add(f"{key}.{ending}", content)
        for mask, ending in zip(masked.masks, endings, strict=True):
            self._add(f"{key}.{ending}", mask.content)
        return [f"{key}.{ending}" for ending in endings]

    def _add(self, name: str, content: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        self._tar.addfile(member, io.BytesIO(content))


class RunLengths:
    """A line of JSON per mask, whose `segmentation` pycocotools decodes."""

    def __init__(self, path: Path, threshold: float) -> None:
        self._file = path.open("wb")
        self._threshold = threshold
        self._lines = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, masked: Masked) -> list[str]:
        """As `MaskFile.add`; the names are the numbers of the lines, from 0."""
        for mask in masked.masks:
            line = {
                "sample": masked.sample,
                "row": masked.row,
                "class_index": masked.class_index,
                "class_name": masked.class_name,
                **mask.about,
                "threshold": self._threshold,
                "segmentation": {"size": [masked.height, masked.width], "counts": mask.content.decode("ascii")},
            }
            self._file.write(json.dumps(line, sort_keys=True, ensure_ascii=False).encode() + b"\n")
        self._lines += len(masked.masks)
        return [str(number) for number in range(self._lines - len(masked.masks), self._lines)]


@dataclass(frozen=True)
class FileFormat:
    """One way of writing masks.

    Attributes:
        suffix: of its files.
        open: begins a file, given the threshold of masks that are cut.
        encode: a mask, uint8 [H, W], as bytes: levels in 0..255, or 0 and 1 where it is cut.
        soft: whether masks are levels.
    """

    suffix: str
    open: Callable[[Path, float], MaskFile]
    encode: Callable[[NDArray[np.uint8]], bytes]
    soft: bool = True


FILE_FORMATS: dict[Format, FileFormat] = {
    "png": FileFormat("zip", lambda path, threshold: PngZip(path), png),
    "webdataset": FileFormat("tar", lambda path, threshold: WebDataset(path), png),
    "rle": FileFormat("jsonl", RunLengths, lambda mask: run_lengths(mask.astype(bool)).encode("ascii"), soft=False),
}


def _ending(about: Mapping[str, Any]) -> str:
    index = about["feature_index"]
    return f"{about['label'] if index is None else f'feature_{index}'}.png"
