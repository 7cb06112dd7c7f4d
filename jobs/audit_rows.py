"""The rows that a shard of an audit leaves, from what the classifier answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jobs import rows
from jobs.audit_subjects import Subjects
from jobs.classification import judge
from jobs.donors import Donor
from jobs.measurement import Batch
from jobs.variants import Variants
from jobs.views import View


class SkippedRow(NamedTuple):
    """What is kept of a sample that is not audited; its bytes are not."""

    row: int
    sample: str
    class_index: int
    reason: str
    detail: str


def rows_of_features(
    batch: Batch,
    variants: Variants,
    lent: Sequence[tuple[int, Donor]],
    logits: NDArray[np.float32],
    energy: NDArray[np.float32],
    subjects: Subjects,
    noted: Mapping[str, Any],
) -> pa.Table:
    """The rows of clean pictures, of noise on features and of swaps, which may share an answer of the classifier.

    Args:
        lent: 2 S donors and the picture each lends to: first all of the same class, then those of another.
    """
    selection, views, uses = batch.seen.selection, batch.views, variants.uses
    activation = selection.gather(batch.features.phi).cpu().numpy()
    channels = selection.channels.cpu().numpy()
    owner = uses.picture
    answer = np.where(uses.source < 0, owner, len(views) + uses.source)
    overlap = np.concatenate([np.full(len(views), np.nan, np.float32), variants.overlap])[answer]
    feature_rows = uses.place >= 0
    before, others = len(views) + len(variants.masks), lent[len(lent) // 2 :]
    donor = np.array([-1] * before + [own.row for _, own in lent])[answer]
    lender = np.array([-1] * before + [own.class_index for _, own in [*others, *others]])[answer]
    answered = answers(views, owner, logits[answer], energy[answer], subjects)
    said = subjects.classes.of_output[answered["predicted"]]
    table = rows.rows(
        {
            **answered,
            "variant": np.array(rows.VARIANTS, dtype=object)[uses.variant],
            "feature": np.ma.array(channels[owner, uses.place], mask=~feature_rows),
            "overlap": np.ma.masked_invalid(overlap),
            "donor": np.ma.masked_less(donor, 0),
            "lender": np.ma.masked_less(lender, 0),
            "as_lender": np.ma.array(said == lender, mask=lender < 0),
            "activation": np.ma.array(activation[owner, uses.place], mask=~feature_rows),
        }
    )
    return _beside_clean(table, uses.variant == rows.VARIANTS.index(rows.CLEAN), owner, noted)


def _beside_clean(
    table: pa.Table, clean: NDArray[np.bool_], owner: NDArray[np.int64], noted: Mapping[str, Any]
) -> pa.Table:
    """The table with further columns, whose values stand in the rows of clean pictures alone."""
    place = pa.array(np.ma.array(owner, mask=~clean))
    for name, values in noted.items():
        values = values if isinstance(values, pa.Array) else pa.array(values)
        table = table.append_column(name, values.take(place))
    return table


def answers(
    views: Sequence[View],
    owner: NDArray[np.int64],
    logits: NDArray[np.float32],
    energy: NDArray[np.float32],
    subjects: Subjects,
) -> dict[str, Any]:
    """The columns that every row has, from what the classifier answered to a picture made of each owner."""
    class_index = np.array([picture.class_index for picture in views], dtype=np.int32)[owner]
    predicted, correct, log_odds = judge(logits, class_index, subjects.classes.of_output)
    return {
        "sample": np.array([picture.sample for picture in views], dtype=object)[owner],
        "row": np.array([picture.row for picture in views])[owner],
        "class": class_index,
        "predicted": predicted,
        "correct": correct,
        "probability": 0.5 * (1 + np.tanh(log_odds / 2)),
        "log_odds": log_odds,
        "energy": energy,
    }


def rows_of_skipped(skipped: list[SkippedRow]) -> pa.Table:
    return rows.rows(
        {
            "sample": [left.sample for left in skipped],
            "row": [left.row for left in skipped],
            "class": [None if left.class_index < 0 else left.class_index for left in skipped],
            "variant": [rows.SKIPPED] * len(skipped),
            "reason": [left.reason for left in skipped],
            "detail": [left.detail for left in skipped],
        }
    )
