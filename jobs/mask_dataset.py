"""A written export as a data set: pictures, their masks and what is known of these, read again from a folder."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco

from jobs.errors import Invalid, NotFound
from jobs.export_manifest import MANIFEST, ExportedShard, ExportManifest
from jobs.export_pictures import ENDINGS
from jobs.mask_rows import MaskRow, mask_rows
from jobs.pictures import decode
from models.geometry import prepare

TREE = "masks"
"""Folder below which the files of the shards lie, or the tree where they were unpacked."""

ReadMember = Callable[[str], bytes]


class MaskItem(NamedTuple):
    """One mask.

    Attributes:
        row: what it is of.
        mask: float32 [H, W] in [0, 1]; 0 or 1 where masks are cut.
        picture: uint8 [H, W, 3], RGB, the same pixels, where the pictures are at hand.
    """

    row: MaskRow
    mask: NDArray[np.float32]
    picture: NDArray[np.uint8] | None


class MaskDataset:
    """The folder of an export, as `cuecheck bank export-masks --out` leaves it or as it lies in a local store.

    Iterating gives every mask in the order of the data set, one shard's table at a time.

    Attributes:
        folder: where it lies.
        manifest: what was written.
    """

    def __init__(self, folder: str | Path, pictures: str | Path | None = None) -> None:
        """Open an export.

        Args:
            folder: with `manifest.json`.
            pictures: the data set's own zip, or a folder with its pictures by name; needed to have pictures beside
                masks, unless the export has them.

        Raises:
            NotFound: There is no finished export. Invalid: Its manifest is of another kind.
        """
        self.folder = Path(folder)
        self.manifest = _read_manifest(self.folder)
        self._pictures = None if pictures is None else Path(pictures)

    def __len__(self) -> int:
        """How many masks."""
        return self.manifest.masks

    def __iter__(self) -> Iterator[MaskItem]:
        """Every mask, those of one picture one after the other. Raises `NotFound` for a missing file."""
        with ExitStack() as stack:
            picture_of = stack.enter_context(_members(self._pictures)) if self._pictures is not None else None
            for shard in self.manifest.shards:
                if shard.masks is not None:
                    yield from self._shard(shard, picture_of)

    def rows(self) -> Iterator[MaskRow]:
        """What is known of every mask, without reading masks."""
        for shard in self.manifest.shards:
            for batch in pq.ParquetFile(self.folder / shard.rows).iter_batches(1024):
                yield from mask_rows(batch)

    def _shard(self, shard: ExportedShard, picture_of: ReadMember | None) -> Iterator[MaskItem]:
        packed = self.folder / str(shard.masks)
        source = packed if packed.exists() or self.manifest.format != "png" else self.folder / TREE
        seen: int | None = None
        picture: NDArray[np.uint8] | None = None
        with _members(source) as read:
            for batch in pq.ParquetFile(self.folder / shard.rows).iter_batches(1024):
                for row in mask_rows(batch):
                    if row.row != seen:
                        seen, picture = row.row, self._picture(row, read, picture_of)
                    yield MaskItem(row, self._mask(read(row.member)), picture)

    def _mask(self, content: bytes) -> NDArray[np.float32]:
        if self.manifest.threshold is not None:
            cut: NDArray[np.uint8] = coco.decode(json.loads(content)["segmentation"])
            return cut.astype(np.float32)
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            levels: NDArray[np.float32] = np.asarray(image, dtype=np.float32)
        return levels / np.float32(255)

    def _picture(self, row: MaskRow, read: ReadMember, picture_of: ReadMember | None) -> NDArray[np.uint8] | None:
        if picture_of is not None:
            pixels = decode(picture_of(row.sample))
            if self.manifest.size == "original":
                return pixels
            return prepare(pixels, self.manifest.preprocessing).permute(1, 2, 0).numpy()
        if self.manifest.parameters.get("pictures"):
            key = row.member.partition(".")[0]
            for ending in dict.fromkeys(ENDINGS.values()):
                try:
                    return decode(read(f"{key}.{ending}"))
                except NotFound:
                    continue
        return None


def _read_manifest(folder: Path) -> ExportManifest:
    try:
        return ExportManifest.model_validate_json((folder / MANIFEST).read_bytes())
    except OSError as error:
        raise NotFound(f"{folder} holds no finished export: {MANIFEST} cannot be read.") from error
    except ValueError as error:
        raise Invalid(f"{folder / MANIFEST} is no manifest of an export that this version reads: {error}") from error


@contextmanager
def _members(path: Path) -> Iterator[ReadMember]:
    """Reads members by name: of a zip, a tar, a file of lines, or a folder. Raises `NotFound` for what is not there."""
    with ExitStack() as stack:
        read: Callable[[str], bytes]
        try:
            if path.suffix == ".zip":
                read = stack.enter_context(zipfile.ZipFile(path)).read
            elif path.suffix == ".tar":
                read = _of_tar(stack.enter_context(tarfile.open(path)))
            elif path.suffix == ".jsonl":
                read = _of_lines(path)
            else:
                read = _of_folder(path)
        except OSError as error:
            raise NotFound(f"{path} cannot be read: {error}") from error

        def found(name: str) -> bytes:
            try:
                return read(name)
            except (KeyError, OSError) as error:
                raise NotFound(f"{path} holds no {name!r}.") from error

        yield found


def _of_tar(tar: tarfile.TarFile) -> ReadMember:
    def read(name: str) -> bytes:
        file = tar.extractfile(name)
        if file is None:
            raise KeyError(name)
        return file.read()

    return read


def _of_lines(path: Path) -> ReadMember:
    lines = path.read_bytes().splitlines()
    return lambda name: lines[int(name)]


def _of_folder(path: Path) -> ReadMember:
    return lambda name: (path / name).read_bytes()
