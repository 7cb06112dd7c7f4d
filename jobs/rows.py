"""The table a shard of an audit leaves behind: one row per (sample, variant), or one per skipped sample."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

CLEAN = "clean"
SPURIOUS = "spurious"
SPURIOUS_CONTROL = "spurious_control"
CORE = "core"
CORE_CONTROL = "core_control"
OUTSIDE_CORE = "outside_core"
SWAP_SAME = "swap_same"
SWAP_OTHER = "swap_other"
FEATURE = "feature"
FEATURE_CONTROL = "feature_control"
SKIPPED = "skipped"

VARIANTS = (
    CLEAN,
    SPURIOUS,
    SPURIOUS_CONTROL,
    CORE,
    CORE_CONTROL,
    OUTSIDE_CORE,
    SWAP_SAME,
    SWAP_OTHER,
    FEATURE,
    FEATURE_CONTROL,
    SKIPPED,
)
"""What was done to the picture: nothing, noise on a mask of that name (`*_control`: rolled elsewhere), or its spurious
features swapped for those of another picture of the same class or of another class."""

RAN_ON = b"ran_on"
"""Key of the table's metadata under which it says, as JSON, on what it was computed."""

SCHEMA = pa.schema(
    [
        pa.field("sample", pa.string(), nullable=False, metadata={"about": "name of the picture in the data set"}),
        pa.field("row", pa.int64(), nullable=False, metadata={"about": "its position in the data set's index"}),
        pa.field("class", pa.int32(), metadata={"about": "class index in the bank; null where there is none"}),
        pa.field(
            "variant",
            pa.string(),
            nullable=False,
            metadata={"about": "one of " + ", ".join(VARIANTS) + ", or what a measurement did"},
        ),
        pa.field("feature", pa.int32(), metadata={"about": "the feature of feature and feature_control rows"}),
        pa.field("predicted", pa.int32(), metadata={"about": "classifier output with the largest value"}),
        pa.field("correct", pa.bool_(), metadata={"about": "whether that output stands for the class"}),
        pa.field("probability", pa.float32(), metadata={"about": "softmax probability of the class"}),
        pa.field("log_odds", pa.float32(), metadata={"about": "ln p / (1 - p) of that probability, from the logits"}),
        pa.field("energy", pa.float32(), metadata={"about": "||x' - x||_2 in the classifier's input, [0, 1] pixels"}),
        pa.field("overlap", pa.float32(), metadata={"about": "share of the mask its control covers too, [0, 1]"}),
        pa.field("donor", pa.int64(), metadata={"about": "row whose spurious features swap_same and swap_other show"}),
        pa.field("lender", pa.int32(), metadata={"about": "class whose spurious features swap_other shows"}),
        pa.field("as_lender", pa.bool_(), metadata={"about": "whether the output stands for that class"}),
        pa.field("activation", pa.float32(), metadata={"about": "phi_j of feature and feature_control rows"}),
        pa.field("part", pa.string(), metadata={"about": "which of several ways a measurement changes pictures in"}),
        pa.field("reason", pa.string(), metadata={"about": "code saying why a sample was skipped"}),
        pa.field("detail", pa.string(), metadata={"about": "the same in words, with the value at fault"}),
    ]
)


def schema(columns: Iterable[pa.Field]) -> pa.Schema:
    """`SCHEMA` and the columns of measurements, each once."""
    further = {column.name: column for column in columns}
    return pa.schema([*SCHEMA, *further.values()])


def rows(columns: Mapping[str, Any]) -> pa.Table:
    """A table of `SCHEMA` from equally long columns (NumPy arrays, masked ones for nulls, or lists); the rest null."""
    length = len(next(iter(columns.values())))
    arrays = [
        pa.array(columns[field.name], type=field.type) if field.name in columns else pa.nulls(length, field.type)
        for field in SCHEMA
    ]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def to_parquet(table: pa.Table) -> bytes:
    """The table as a Parquet file; equal tables give equal bytes."""
    sink = io.BytesIO()
    pq.write_table(table.combine_chunks(), sink, compression="zstd", row_group_size=1 << 18)
    return sink.getvalue()
