"""Data sets: an uploaded archive with a folder of pictures per class, indexed once, read by byte range.

`datasets/<id>/dataset.json` is the record, `index.parquet` says where each picture lies in the archive, which is kept
once as `blobs/<sha256>`; `skipped.parquet` lists the members that are no pictures of a class, with the reason.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from jobs.archive_member import Member
from jobs.archives import ArchiveLimits, detect_format, read_member, unpack_tar, walk
from jobs.errors import Conflict, Invalid, NotFound
from jobs.image_folder import ImageFolder
from jobs.index import INDEX_SCHEMA, SKIPPED_SCHEMA, TableWriter, read_index, read_labels
from jobs.layouts import Layout, lay_out
from jobs.spurious_folder import VERSION_BYTES, VERSION_FILE, SpuriousFolder, by_index, parse_version
from jobs.store import Store, file_sha256

LISTED_SKIPPED = 1000
Format = Literal["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"]


class Skipped(NamedTuple):
    """Why a sample is not used: a stable code and the same in words."""

    reason: str
    message: str


class Sample(NamedTuple):
    """One picture of a data set.

    Attributes:
        row: Its place in the index, from 0.
        sample: Its original name in the archive.
        label: Index into the data set's `classes`.
        content: The file's bytes, or why they could not be read.
    """

    row: int
    sample: str
    label: int
    content: bytes | Skipped


class Pictures(NamedTuple):
    """A data set whose pictures may be read in part.

    Attributes:
        labels: int32 [rows], index into the data set's `classes`.
        read: The samples of some rows, which must ascend.
    """

    labels: NDArray[np.int32]
    read: Callable[[Sequence[int]], Iterable[Sample]]


class SkippedMember(BaseModel):
    """A member of the archive that is not in the index."""

    name: str
    reason: str


class DatasetRecord(BaseModel):
    """What is known of a data set without reading it."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="sha256 of the uploaded bytes, 64 hexadecimal digits.")
    name: str = Field(description="Name given on upload.")
    format: Format = Field(description="Format of the uploaded file.")
    blob: str = Field(description="sha256 of the archive as it is kept: compressed tars are kept as plain tars.")
    bytes: int = Field(description="Size of the archive as it is kept.")
    pictures: int = Field(description="Samples in the index.")
    layout: Layout = Field("image_folder", description="How the names of the class folders are read.")
    classes: list[str] = Field(description="Original names of the class folders, sorted.")
    folders: list[SpuriousFolder] | None = Field(
        None, description="What the folders' names say, in the layout `spurious_imagenet`."
    )
    version: str | None = Field(None, description="Version that the set states of itself (`timestamp.txt`).")
    class_pictures: list[int] = Field(description="Samples of each class.")
    skipped_counts: dict[str, int] = Field(description="Members left out, by reason.")
    skipped: list[SkippedMember] = Field(description=f"The first {LISTED_SKIPPED:,} members left out.")
    warnings: list[str] = Field(description="What a reader of figures on this data set should know.")
    created: datetime = Field(description="Time of the upload, UTC.")

    def class_names(self, known: Sequence[str]) -> list[str]:
        """The classes as a network whose classes are `known` calls them: by index where the layout states one."""
        return list(self.classes) if self.folders is None else by_index(self.folders, self.classes, known)


def import_archive(
    store: Store, path: Path, limits: ArchiveLimits, name: str, layout: Layout | None = None
) -> DatasetRecord:
    """Index an archive and keep it; the same bytes a second time give the first record.

    Args:
        store: Where to keep it.
        path: The uploaded file on this machine, best from `store.scratch_file()`; it is moved, not copied.
        limits: What the archive may hold.
        name: Free text to know it by.
        layout: How folder names are read; recognised where left out.

    Raises:
        Invalid: Not an archive, damaged, without pictures in class folders, or not of the layout told.
        Conflict: The same bytes are here already with another layout.
        LimitExceeded: Larger than the limits allow.
        StoreFull: No room.
    """
    identifier = file_sha256(path)
    if store.exists(_file(identifier, "dataset.json")):
        return get_dataset_laid_out(store, identifier, layout)
    kind = cast(Format, detect_format(path))
    if kind in ("zip", "tar"):
        return _import_plain(store, path, kind, limits, identifier, name, layout)
    with store.scratch_file() as plain:
        unpack_tar(path, kind, plain, limits)
        return _import_plain(store, plain, kind, limits, identifier, name, layout)


def get_dataset(store: Store, identifier: str) -> DatasetRecord:
    """The record of a data set.

    Raises:
        NotFound: There is none of this id.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", identifier) or not store.exists(_file(identifier, "dataset.json")):
        raise NotFound(f"There is no data set {identifier[:80]!r}.", field="dataset")
    return DatasetRecord.model_validate_json(store.read_bytes(_file(identifier, "dataset.json")))


def get_dataset_laid_out(store: Store, identifier: str, layout: Layout | None) -> DatasetRecord:
    """The record of a data set that is asked for with a layout, or with none.

    Raises:
        NotFound: There is none of this id.
        Conflict: Its folder names were read in another layout.
    """
    record = get_dataset(store, identifier)
    if layout not in (None, record.layout):
        raise Conflict(
            f"These bytes are here already, with the layout {record.layout!r}.",
            field="layout",
            remedy=f"Delete data set {identifier} first.",
        )
    return record


def list_datasets(store: Store, after: str = "", limit: int = 100) -> list[DatasetRecord]:
    """Up to `limit` records in the order of their ids, from the one that follows `after`."""
    found: list[DatasetRecord] = []
    for identifier in store.list("datasets"):
        if identifier > after and len(found) < limit and store.exists(_file(identifier, "dataset.json")):
            found.append(get_dataset(store, identifier))
    return found


def delete_dataset(store: Store, identifier: str) -> None:
    """Remove a data set, and its archive unless another one shares it.

    Raises:
        NotFound: There is none of this id.
    """
    record = get_dataset(store, identifier)
    store.delete(f"datasets/{identifier}")
    others = (other for other in store.list("datasets") if store.exists(_file(other, "dataset.json")))
    if not any(get_dataset(store, other).blob == record.blob for other in others):
        store.delete(f"blobs/{record.blob}")


def read_samples(store: Store, identifier: str, start: int, stop: int) -> Iterator[Sample]:
    """The samples of rows `start` to `stop` (not included), in order, read as they are asked for."""
    return read_rows(store, identifier, range(start, stop))


def get_pictures(store: Store, identifier: str) -> Pictures:
    """All pictures of a data set; only their labels are held.

    Raises:
        NotFound: There is no such data set.
    """
    get_dataset(store, identifier)
    with store.open(_file(identifier, "index.parquet")) as index:
        labels = read_labels(index)
    return Pictures(labels, lambda rows: read_rows(store, identifier, rows))


def read_rows(store: Store, identifier: str, rows: Iterable[int]) -> Iterator[Sample]:
    """The samples of some rows, which must ascend; nothing but the current one is held.

    Raises:
        NotFound: There is no such data set, or its archive is gone.
        IndexError: The rows do not ascend, or one lies outside the index.
    """
    record = get_dataset(store, identifier)
    with (
        store.open(f"blobs/{record.blob}") as archive,
        store.open(_file(identifier, "index.parquet")) as index,
    ):
        for row, label, member in read_index(index, rows):
            try:
                content: bytes | Skipped = read_member(archive, member)
            except Invalid as error:
                content = Skipped("damaged", error.message)
            yield Sample(row, member.name, label, content)


def _import_plain(
    store: Store, path: Path, kind: Format, limits: ArchiveLimits, identifier: str, name: str, wanted: Layout | None
) -> DatasetRecord:
    """Two passes over a zip or plain tar: the first learns the classes, the second writes the index."""
    walker = kind.partition(".")[0]
    folder = ImageFolder(walk(path, walker, limits))
    counts = [0] * len(folder.classes)
    version: str | None = None
    reasons: Counter[str] = Counter()
    listed: list[SkippedMember] = []
    with store.scratch_file() as index_path, store.scratch_file() as skipped_path:
        with TableWriter(index_path, INDEX_SCHEMA) as index, TableWriter(skipped_path, SKIPPED_SCHEMA) as skipped:
            for member in walk(path, walker, limits):
                label, reason = folder.place(member)
                if reason is None:
                    counts[label] += 1
                    index.append(
                        member.name, label, member.offset, member.length, member.method, member.size, member.crc32
                    )
                    continue
                version = version or _version(path, member)
                reasons[reason] += 1
                skipped.append(member.name, reason)
                if len(listed) < LISTED_SKIPPED:
                    listed.append(SkippedMember(name=member.name, reason=reason))
        if not sum(counts):
            raise _no_pictures(reasons)
        layout, folders = lay_out(folder.classes, wanted, version)
        size = path.stat().st_size
        blob = store.write_blob(path)
        store.write_file(_file(identifier, "index.parquet"), index_path)
        store.write_file(_file(identifier, "skipped.parquet"), skipped_path)
    record = DatasetRecord(
        id=identifier,
        name=name,
        format=kind,
        blob=blob,
        bytes=size,
        pictures=sum(counts),
        layout=layout,
        classes=folder.classes,
        folders=folders,
        version=version if folders else None,
        class_pictures=counts,
        skipped_counts=dict(reasons),
        skipped=listed,
        warnings=_warnings(folder.classes),
        created=datetime.now(UTC),
    )
    store.write_bytes(_file(identifier, "dataset.json"), record.model_dump_json(indent=1).encode())
    return record


def _version(path: Path, member: Member) -> str | None:
    """The version of the set, where the member states it."""
    if member.problem is not None or member.parts[-1] != VERSION_FILE or member.size > VERSION_BYTES:
        return None
    with path.open("rb") as archive:
        try:
            return parse_version(read_member(archive, member))
        except Invalid:
            return None


def _no_pictures(reasons: Counter[str]) -> Invalid:
    left_out = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
    return Invalid(
        "The archive holds no pictures in class folders" + (f" (left out: {left_out})." if left_out else "."),
        field="file",
        remedy="Put the pictures of each class into a folder of that name.",
    )


def _warnings(classes: list[str]) -> list[str]:
    if len(classes) > 1:
        return []
    return [f"There is a single class, {classes[0]!r}: the figures say nothing about telling classes apart."]


def _file(identifier: str, name: str) -> str:
    return f"datasets/{identifier}/{name}"
