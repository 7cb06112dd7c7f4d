"""Data sets: an uploaded archive in ImageFolder layout, indexed once, read by byte range.

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

from jobs.archives import ArchiveLimits, detect_format, read_member, unpack_tar, walk
from jobs.errors import Invalid, NotFound
from jobs.image_folder import ImageFolder
from jobs.index import INDEX_SCHEMA, SKIPPED_SCHEMA, TableWriter, read_index, read_labels
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
    classes: list[str] = Field(description="Original names of the class folders, sorted.")
    class_pictures: list[int] = Field(description="Samples of each class.")
    skipped_counts: dict[str, int] = Field(description="Members left out, by reason.")
    skipped: list[SkippedMember] = Field(description=f"The first {LISTED_SKIPPED:,} members left out.")
    warnings: list[str] = Field(description="What a reader of figures on this data set should know.")
    created: datetime = Field(description="Time of the upload, UTC.")


def import_archive(store: Store, path: Path, limits: ArchiveLimits, name: str) -> DatasetRecord:
    """Index an archive and keep it; the same bytes a second time give the first record.

    Args:
        store: Where to keep it.
        path: The uploaded file on this machine, best from `store.scratch_file()`; it is moved, not copied.
        limits: What the archive may hold.
        name: Free text to know it by.

    Raises:
        Invalid: Not an archive, damaged, or without pictures in class folders.
        LimitExceeded: Larger than the limits allow.
        StoreFull: No room.
    """
    identifier = file_sha256(path)
    if store.exists(_file(identifier, "dataset.json")):
        return get_dataset(store, identifier)
    kind = cast(Format, detect_format(path))
    if kind in ("zip", "tar"):
        return _import_plain(store, path, kind, limits, identifier, name)
    with store.scratch_file() as plain:
        unpack_tar(path, kind, plain, limits)
        return _import_plain(store, plain, kind, limits, identifier, name)


def get_dataset(store: Store, identifier: str) -> DatasetRecord:
    """The record of a data set.

    Raises:
        NotFound: There is none of this id.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", identifier) or not store.exists(_file(identifier, "dataset.json")):
        raise NotFound(f"There is no data set {identifier[:80]!r}.", field="dataset")
    return DatasetRecord.model_validate_json(store.read_bytes(_file(identifier, "dataset.json")))


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
    store: Store, path: Path, kind: Format, limits: ArchiveLimits, identifier: str, name: str
) -> DatasetRecord:
    """Two passes over a zip or plain tar: the first learns the classes, the second writes the index."""
    walker = kind.partition(".")[0]
    layout = ImageFolder(walk(path, walker, limits))
    counts = [0] * len(layout.classes)
    reasons: Counter[str] = Counter()
    listed: list[SkippedMember] = []
    with store.scratch_file() as index_path, store.scratch_file() as skipped_path:
        with TableWriter(index_path, INDEX_SCHEMA) as index, TableWriter(skipped_path, SKIPPED_SCHEMA) as skipped:
            for member in walk(path, walker, limits):
                label, reason = layout.place(member)
                if reason is None:
                    counts[label] += 1
                    index.append(
                        member.name, label, member.offset, member.length, member.method, member.size, member.crc32
                    )
                    continue
                reasons[reason] += 1
                skipped.append(member.name, reason)
                if len(listed) < LISTED_SKIPPED:
                    listed.append(SkippedMember(name=member.name, reason=reason))
        if not sum(counts):
            raise _no_pictures(reasons)
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
        classes=layout.classes,
        class_pictures=counts,
        skipped_counts=dict(reasons),
        skipped=listed,
        warnings=_warnings(layout.classes),
        created=datetime.now(UTC),
    )
    store.write_bytes(_file(identifier, "dataset.json"), record.model_dump_json(indent=1).encode())
    return record


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
