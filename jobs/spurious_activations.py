"""How strong the spurious features of its class are on every picture: a column that several measurements read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs import rows
from jobs.measurement import Batch

COLUMN = pa.field(
    "spurious_activations",
    pa.list_(pa.float32()),
    metadata={"about": "phi_j of the spurious features of the class, by rank; of clean rows"},
)


def noted(batch: Batch) -> dict[str, Any]:
    """The column's values for N pictures."""
    selection = batch.seen.selection
    values = selection.gather(batch.features.phi).float().cpu().numpy()
    spurious = selection.spurious.cpu().numpy()
    ends = np.concatenate([[0], spurious.sum(axis=1).cumsum()]).astype(np.int32)
    return {COLUMN.name: pa.ListArray.from_arrays(pa.array(ends), pa.array(values[spurious]))}


@dataclass(frozen=True)
class ClassPictures:
    """Pictures of one class in one shard.

    Attributes:
        class_index: in the bank.
        activations: float32 [N, K], of its K >= 1 spurious features by rank.
        correct: bool [N], whether the classifier is right on the unchanged picture.
        predicted: int64 [N], the classifier's output with the largest value.
    """

    class_index: int
    activations: NDArray[np.float32]
    correct: NDArray[np.bool_]
    predicted: NDArray[np.int64]


def by_class(table: pa.Table) -> Iterator[ClassPictures]:
    """The unchanged pictures of a shard, of classes with spurious features."""
    clean = table.filter(pc.equal(table["variant"], rows.CLEAN))
    width = pc.list_value_length(clean[COLUMN.name]).to_numpy()
    classes = clean["class"].to_numpy()
    values = clean[COLUMN.name].combine_chunks().flatten().to_numpy()
    starts = width.cumsum() - width
    correct = clean["correct"].to_numpy(zero_copy_only=False)
    predicted = clean["predicted"].to_numpy().astype(np.int64)
    for index in np.unique(classes[width > 0]).tolist():
        own = np.flatnonzero(classes == index)
        activations = values[starts[own][:, None] + np.arange(width[own[0]])]
        yield ClassPictures(index, activations, correct[own], predicted[own])
