"""The files of an export in the store: what each shard leaves, by name, and its tables as they are read again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jobs.export_request import ExportRequest
from jobs.mask_files import FILE_FORMATS
from jobs.mask_rows import by_class
from jobs.shards import ShardPlan
from jobs.store import Store

FOLDER = "exports"
PARTS = SAMPLES, ROWS, MASKS = "samples", "rows", "masks"
"""Folders of what the shards leave."""


@dataclass(frozen=True)
class ExportFiles:
    """Names and tables of one export.

    Attributes:
        store: that holds them.
        shards: how the data set is cut.
        request: with everything pinned.
    """

    store: Store
    shards: ShardPlan
    request: ExportRequest

    @classmethod
    def open(cls, store: Store, job: str, request: ExportRequest) -> ExportFiles:
        """Of a job that has its plan."""
        plan = store.read_bytes(f"{FOLDER}/{job}/plan.json")
        return cls(store, ShardPlan.model_validate_json(plan), request)

    def name(self, name: str) -> str:
        """A file of the job, as it is named in the store."""
        return f"{FOLDER}/{self.shards.job}/{name}"

    def samples(self, shard: int) -> str:
        """The table of a shard's samples."""
        return self.shards.file(FOLDER, shard, "parquet", SAMPLES)

    def rows(self, shard: int) -> str:
        """The table of a shard's masks."""
        return self.shards.file(FOLDER, shard, "parquet", ROWS)

    def masks(self, shard: int) -> str:
        """The file of a shard's masks, which is not there where there are none."""
        return self.shards.file(FOLDER, shard, FILE_FORMATS[self.request.format].suffix, MASKS)

    def below(self, name: str) -> str:
        """Such a name without the folder of the job."""
        return name.removeprefix(f"{FOLDER}/{self.shards.job}/")

    def there(self, part: str) -> set[str]:
        """The files of a part that have been written."""
        return {self.name(f"{part}/{name}") for name in self.store.list(self.name(part))}

    def read_samples(self, shard: int, columns: Sequence[str]) -> pa.Table:
        """Columns of the table of a shard's samples."""
        with self.store.open(self.samples(shard)) as file:
            return pq.read_table(file, columns=list(columns))

    def activations(self, index: str, column: str) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Class and activations, float32 [N, K], of all samples, shard by shard; see `mask_rows.by_class`."""
        for shard in range(self.shards.shards):
            for class_index, _, values in by_class(self.read_samples(shard, [index, column]), index, column):
                yield class_index, values

    def read_rows(self, columns: Sequence[str]) -> Iterable[pa.Table]:
        """Columns of the tables of all shards' masks, one after the other."""
        for shard in range(self.shards.shards):
            with self.store.open(self.rows(shard)) as file:
                yield pq.read_table(file, columns=list(columns))
