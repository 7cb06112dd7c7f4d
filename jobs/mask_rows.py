"""The two tables a shard of an export leaves: a row per sample with its activations, and a row per mask."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from models.bank import Feature, Label

RAN_ON = b"ran_on"
"""Key of the samples' metadata under which they say, as JSON, on what they were computed."""

SAMPLES = pa.schema(
    [
        pa.field("sample", pa.string(), nullable=False, metadata={"about": "name of the picture in the data set"}),
        pa.field("row", pa.int64(), nullable=False, metadata={"about": "its position in the data set's index"}),
        pa.field("label_index", pa.int32(), metadata={"about": "class of its folder in the bank; null for none"}),
        pa.field("predicted_index", pa.int32(), metadata={"about": "class that the bank's backbone predicts"}),
        pa.field("class_index", pa.int32(), metadata={"about": "class whose features it gets; null for none"}),
        pa.field(
            "of_label", pa.list_(pa.float32()), metadata={"about": "activations of the label's features, by rank"}
        ),
        pa.field(
            "of_class", pa.list_(pa.float32()), metadata={"about": "activations of the class's features, by rank"}
        ),
        pa.field("reason", pa.string(), metadata={"about": "code saying why it gets no masks; null where it may"}),
        pa.field("detail", pa.string(), metadata={"about": "the same in words"}),
    ]
)
VOTES = pa.struct([pa.field(name, pa.int32()) for name in ("main_object", "background", "separate_object")])
MASKS = pa.schema(
    [
        pa.field("sample", pa.string(), nullable=False, metadata={"about": "name of the picture in the data set"}),
        pa.field("row", pa.int64(), nullable=False, metadata={"about": "its position in the data set's index"}),
        pa.field("class_index", pa.int32(), nullable=False, metadata={"about": "class whose feature it is"}),
        pa.field("class_name", pa.string(), nullable=False, metadata={"about": "its name in the bank"}),
        pa.field("feature_index", pa.int32(), metadata={"about": "null for the union of a label's masks"}),
        pa.field("component", pa.int32(), metadata={"about": "place by eigenvalue; null for a channel"}),
        pa.field("rank", pa.int32(), metadata={"about": "of the feature in its class, by importance, from 1"}),
        pa.field("label", pa.string(), nullable=False, metadata={"about": "core or spurious"}),
        pa.field("kind", pa.string(), metadata={"about": "what the annotators said it is"}),
        pa.field("votes", VOTES, metadata={"about": "answers of the annotators, by kind"}),
        pa.field("activation", pa.float32(), metadata={"about": "phi_j of the picture; alpha of a component"}),
        pa.field("valid", pa.bool_(), metadata={"about": "whether it lies in the row's validated range"}),
        pa.field("file", pa.string(), nullable=False, metadata={"about": "file that holds the mask"}),
        pa.field("member", pa.string(), nullable=False, metadata={"about": "its name in there; for rle its line"}),
        pa.field("height", pa.int32(), nullable=False, metadata={"about": "of the mask, pixels"}),
        pa.field("width", pa.int32(), nullable=False, metadata={"about": "of the mask, pixels"}),
    ]
)


@dataclass(frozen=True)
class MaskRow:
    """A row of `MASKS`, whose fields say what these are; None for null."""

    sample: str
    row: int
    class_index: int
    class_name: str
    feature_index: int | None
    component: int | None
    rank: int | None
    label: Label
    kind: str | None
    votes: dict[str, int] | None
    activation: float | None
    valid: bool | None
    file: str
    member: str
    height: int
    width: int


def of_feature(feature: Feature) -> dict[str, Any]:
    """What a row says of the feature alone."""
    return {
        "feature_index": feature.feature_index,
        "component": feature.component,
        "rank": feature.rank,
        "label": feature.label,
        "kind": feature.kind,
        "votes": feature.votes.model_dump(),
    }


def of_union(label: Label) -> dict[str, Any]:
    """The same of the union of all masks of a label."""
    unknown = dict.fromkeys(("feature_index", "component", "rank", "kind", "votes", "activation", "valid"))
    return {**unknown, "label": label}


def to_parquet(table: pa.Table) -> bytes:
    """A table as a Parquet file; equal tables give equal bytes."""
    sink = io.BytesIO()
    pq.write_table(table.combine_chunks(), sink, compression="zstd")
    return sink.getvalue()


def mask_table(rows: Iterable[MaskRow]) -> pa.Table:
    """Rows as a table of `MASKS`."""
    return pa.Table.from_pylist([vars(row) for row in rows], schema=MASKS)


def mask_rows(batch: pa.RecordBatch) -> Iterator[MaskRow]:
    """The rows of such a table."""
    names = [field.name for field in fields(MaskRow)]
    for values in batch.select(names).to_pylist():
        yield MaskRow(**values)


def by_class(
    table: pa.Table, index: str, activations: str
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.float32]]]:
    """The activations of a table of `SAMPLES`, class by class.

    Args:
        table: with the two columns.
        index, activations: names of the columns: `class_index` and `of_class`, or `label_index` and `of_label`.

    Yields:
        Class index; places in the table, int64 [N], ascending; activations of its K labelled features, float32 [N, K].
        Samples with no class or no activations are in none.
    """
    lists = table[activations].combine_chunks()
    known = np.flatnonzero(lists.is_valid().to_numpy(zero_copy_only=False))
    classes = table[index].to_numpy(zero_copy_only=False)
    offsets, values = lists.offsets.to_numpy(), lists.values.to_numpy()
    own = classes[known]
    for class_index in np.unique(own[~np.isnan(own)] if own.dtype.kind == "f" else own):
        places = known[own == class_index]
        width = int(offsets[places[0] + 1] - offsets[places[0]])
        yield int(class_index), places, values[offsets[places][:, None] + np.arange(width)]


def sample_table(samples: Sequence[dict[str, Any]], ran_on: str) -> pa.Table:
    """Samples as a table of `SAMPLES`; what a sample leaves out is null."""
    return pa.Table.from_pylist(list(samples), schema=SAMPLES.with_metadata({RAN_ON: ran_on}))
