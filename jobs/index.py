"""The index of a data set: a Parquet table written and read a few thousand rows at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jobs.archive_member import Member

ROW_GROUP = 8192

INDEX_SCHEMA = pa.schema(
    [
        pa.field("sample", pa.string(), nullable=False, metadata={"about": "original name in the archive"}),
        pa.field("label", pa.int32(), nullable=False, metadata={"about": "index into the data set's classes"}),
        pa.field("offset", pa.int64(), nullable=False, metadata={"about": "first stored byte in the archive"}),
        pa.field("length", pa.int64(), nullable=False, metadata={"about": "number of stored bytes"}),
        pa.field("method", pa.string(), nullable=False, metadata={"about": "stored or deflate"}),
        pa.field("size", pa.int64(), nullable=False, metadata={"about": "number of bytes after inflating"}),
        pa.field("crc32", pa.uint32(), metadata={"about": "of the inflated bytes; null where the format has none"}),
    ]
)
SKIPPED_SCHEMA = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False, metadata={"about": "original name in the archive"}),
        pa.field("reason", pa.string(), nullable=False, metadata={"about": "code saying why it is left out"}),
    ]
)


class TableWriter:
    """Appends rows to a Parquet file, holding at most one row group of 8,192; a context manager."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._rows: list[tuple[object, ...]] = []

    def append(self, *row: object) -> None:
        """Add one row, its values in the order of the schema."""
        self._rows.append(row)
        if len(self._rows) == ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            columns = zip(*self._rows, strict=True)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)]
            self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
            self._rows = []

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._writer.close()


def read_index(file: IO[bytes], rows: Iterable[int]) -> Iterator[tuple[int, int, Member]]:
    """(row, label, member) of some rows, which must ascend, reading one row group at a time.

    Raises:
        IndexError: The rows do not ascend, or one lies outside the index.
    """
    index = pq.ParquetFile(file)
    wanted = iter(rows)
    row = next(wanted, None)
    start = 0
    for group in range(index.num_row_groups):
        stop = start + index.metadata.row_group(group).num_rows
        if row is not None and row < stop:
            columns = index.read_row_group(group).to_pydict()
            while row is not None and row < stop:
                if row < start:
                    raise IndexError(f"row {row} is asked for after row {start - 1}")
                at = row - start
                member = Member(
                    name=columns["sample"][at],
                    offset=columns["offset"][at],
                    length=columns["length"][at],
                    size=columns["size"][at],
                    method=columns["method"][at],
                    crc32=columns["crc32"][at],
                )
                yield row, columns["label"][at], member
                row = next(wanted, None)
        start = stop
    if row is not None:
        raise IndexError(f"row {row} lies outside the {start} rows of the index")


def read_labels(file: IO[bytes]) -> NDArray[np.int32]:
    """The label of every row, int32 [rows]."""
    labels: NDArray[np.int32] = pq.read_table(file, columns=["label"])["label"].to_numpy()
    return labels
