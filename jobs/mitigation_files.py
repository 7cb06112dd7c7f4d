"""Where the files of a mitigation lie in the store."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from jobs.mitigation_fit import ClassFit
from jobs.mitigation_split import MitigationPlan
from jobs.mitigation_subjects import FOLDER
from jobs.rows import to_parquet
from jobs.store import Store

Part = Literal["look", "before", "after"]
PARTS: tuple[Part, ...] = ("look", "before", "after")


class Changed(BaseModel):
    """`changed.json`, once the changed classifier is there."""

    model_config = ConfigDict(frozen=True)

    classifier: str = Field(description="Its id.")
    classes: list[ClassFit]
    loss: float | None
    former_spufix: bool = Field(False, description="Whether SpuFix stood behind the head of the old one.")


@dataclass(frozen=True)
class MitigationFiles:
    """Of one job."""

    store: Store
    job: str

    def name(self, file: str) -> str:
        """A file as it is named in the store."""
        return f"{FOLDER}/{self.job}/{file}"

    @cached_property
    def plan(self) -> MitigationPlan:
        """How the job is cut."""
        return MitigationPlan.model_validate_json(self.store.read_bytes(self.name("plan.json")))

    def changed(self) -> Changed | None:
        """The changed classifier, if it is there yet."""
        name = self.name("changed.json")
        return Changed.model_validate_json(self.store.read_bytes(name)) if self.store.exists(name) else None

    def shard(self, number: int) -> tuple[Part, int]:
        """What a shard of the job is: which part and its place there. First all looks, then all audits before."""
        looks, audits = len(self.plan.fitted), len(self.plan.judged)
        if number < looks:
            return "look", number
        return ("before" if number < looks + audits else "after"), (number - looks) % audits

    def table(self, part: Part, shard: int) -> str:
        """The file of a shard."""
        return self.name(f"{part}/{shard:05d}.parquet")

    def write(self, part: Part, shard: int, table: pa.Table) -> None:
        """Keep a shard's table: it is done then."""
        self.store.write_bytes(self.table(part, shard), to_parquet(table))

    def read(self, part: Part, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The tables of a part, one at a time, or some of their columns."""
        shards = len(self.plan.fitted if part == "look" else self.plan.judged)
        for shard in range(shards):
            yield pq.read_table(io.BytesIO(self.store.read_bytes(self.table(part, shard))), columns=columns)
