"""How strong the spurious features of its class are on every picture: a column that several measurements read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs import rows
from jobs.measurement import Batch
from jobs.paired_sums import shared
from models.bank import Bank
from models.moments import GroupedMoments

COLUMN = pa.field(
    "spurious_activations",
    pa.list_(pa.float32()),
    metadata={"about": "phi_j of the spurious features of the class, by rank; of clean rows"},
)


READS = ("row", "variant", "class", "correct", "predicted", COLUMN.name)
"""What of a shard's table `clean_pictures` reads."""


def noted(batch: Batch) -> dict[str, Any]:
    """The column's values for N pictures."""
    selection = batch.seen.selection
    values = selection.gather(batch.features.phi).float().cpu().numpy()
    spurious = selection.spurious.cpu().numpy()
    ends = np.concatenate([[0], spurious.sum(axis=1).cumsum()]).astype(np.int32)
    return {COLUMN.name: pa.ListArray.from_arrays(pa.array(ends), pa.array(values[spurious]))}


def spurious_moments(bank: Bank) -> GroupedMoments:
    """Of the spurious features of each class, of no picture yet."""
    widths = [len(bank.spurious(c)) for c in range(len(bank.classes))]
    return GroupedMoments(len(widths), max(widths, default=0))


def spuriosity(pictures: CleanPictures, moments: GroupedMoments) -> NDArray[np.float64]:
    """float64 [N]: mean z-score of the spurious features of each picture's class, which has at least one."""
    scores = moments.z_scores(pictures.class_index, pictures.activations)
    found: NDArray[np.float64] = scores.sum(axis=1) / pictures.features
    return found


@dataclass(frozen=True)
class CleanPictures:
    """The unchanged pictures of a shard whose classes have spurious features, those of a class together.

    Attributes:
        row: int64 [N], the picture.
        class_index: int64 [N], ascending.
        activations: float32 [N, K], of the spurious features of its class by rank, K being the most of a class here;
            0 beyond the features that a class has.
        features: int64 [N], how many that is, >= 1.
        correct: bool [N], whether the classifier is right on the unchanged picture.
        predicted: int64 [N], the classifier's output with the largest value.
    """

    row: NDArray[np.int64]
    class_index: NDArray[np.int64]
    activations: NDArray[np.float32]
    features: NDArray[np.int64]
    correct: NDArray[np.bool_]
    predicted: NDArray[np.int64]

    def at(self, places: NDArray[np.int64]) -> CleanPictures:
        """Some of them."""
        return CleanPictures(**{name: values[places] for name, values in vars(self).items()})


def clean_pictures(table: pa.Table) -> CleanPictures:
    """Those of one shard, which may be none."""
    shown = table.select(READS)
    clean = shown.filter(pc.equal(shown["variant"], rows.CLEAN))
    clean = clean.filter(pc.greater(pc.list_value_length(clean[COLUMN.name]), 0))
    order = np.argsort(clean["class"].to_numpy(), kind="stable")
    features = pc.list_value_length(clean[COLUMN.name]).to_numpy().astype(np.int64)
    place = np.arange(features.max(initial=0))
    values = np.zeros((len(features), place.size), np.float32)
    values[place < features[:, None]] = clean[COLUMN.name].combine_chunks().flatten().to_numpy()
    return CleanPictures(
        row=clean["row"].to_numpy()[order],
        class_index=clean["class"].to_numpy().astype(np.int64)[order],
        activations=values[order],
        features=features[order],
        correct=clean["correct"].to_numpy(zero_copy_only=False).astype(bool)[order],
        predicted=clean["predicted"].to_numpy().astype(np.int64)[order],
    )


def shared_pictures(first: pa.Table, second: pa.Table) -> tuple[CleanPictures, CleanPictures]:
    """Those that the tables of two audits both have, in one order."""
    own, other = clean_pictures(first), clean_pictures(second)
    rows_before = 1 + max(int(one.row.max(initial=0)) for one in (own, other))
    at, other_at = shared(*(one.class_index * rows_before + one.row for one in (own, other)))
    return own.at(at), other.at(other_at)
