"""How spurious and core features share a picture, and what noise on the spurious ones alone costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs import rows
from jobs.figures import Estimate, average, percent
from jobs.mean_changes import MeanChanges, Values
from jobs.measurement import Batch, Changed, Measurement, Parameters, Scope, Tally
from jobs.pair_readings import PairReadings, classes_with, estimates
from jobs.pairs import READS, Pairs, Rows
from jobs.readings import Reading, flagged_in_words, in_order
from jobs.regions import Region
from jobs.sections import Entry, Metric, Section
from models.masks import union
from models.partition import PARTS, partition, without_core

NAME = "overlap"
TESTED, CONTROL = f"{NAME}/spurious_only", f"{NAME}/spurious_only_control"

SHARES = {
    part: Reading(
        Metric(
            name=part,
            title=f"{what[0].upper()}{what[1:]}",
            unit="share",
            worse="neither",
            about=f"Mean share of the picture covered by {what} (masks of 1/2 and more).",
        ),
        f"The part covered by {what} is",
        "of the pictures {subject}; neither direction is worse",
        percent,
    )
    for part, what in zip(
        PARTS,
        ("core features alone", "spurious features alone", "core and spurious features", "neither kind of feature"),
        strict=True,
    )
}
ALONE = PairReadings("spurious", "noise on", of="spurious-only region")
WHOLE = PairReadings("spurious", "noise on", of="whole spurious region")

METHOD = (
    "On pictures that clearly show both, the masks of the core and of the spurious features (each a pixelwise maximum) "
    "part the picture at 1/2 into core only, spurious only, both and neither.",
    "Noise as elsewhere in the audit falls on the spurious mask with the core taken out, min(m_spurious, 1 − m_core) "
    "(Spuriosity Rankings, NeurIPS 2023, appendix B), and on its area-matched control. What remains of the cost of the "
    "whole mask does not come from parts of the object that the spurious mask covers.",
    "The cost of the whole mask is that of the measurement region-noise on the pictures that have a spurious-only "
    "region; it is there where that measurement is made too.",
)


class Overlap(Measurement):
    """Tells a cue from the object that its mask covers."""

    name: ClassVar[str] = NAME
    title: ClassVar[str] = "Overlap of core and spurious features"
    summary: ClassVar[str] = (
        "How core and spurious features share the pictures, and what noise on the spurious ones costs where the core "
        "is taken out of their masks."
    )
    needs: ClassVar[tuple[str, ...]] = (
        "core and spurious features of the same class",
        "region-noise, for the comparison with the whole mask",
    )
    metrics: ClassVar[tuple[Metric, ...]] = (
        *(reading.metric for reading in SHARES.values()),
        *ALONE.metrics,
        *WHOLE.metrics,
    )
    columns: ClassVar[tuple[pa.Field, ...]] = tuple(
        pa.field(part, pa.float32(), metadata={"about": f"share of the picture: {part.replace('_', ' ')}"})
        for part in PARTS
    )

    def noted(self, batch: Batch, parameters: Parameters, scope: Scope) -> Mapping[str, Any]:
        """The partition of pictures that show both kinds of features."""
        both = (batch.seen.core.any(dim=1) & batch.seen.spurious.any(dim=1)).cpu().numpy()
        shares = partition(*_masks(batch)).cpu().numpy()
        missing = np.repeat(~both[:, None], len(PARTS), axis=1)
        return {part: np.ma.array(shares[:, i], mask=missing[:, i]) for i, part in enumerate(PARTS)}

    def changed(self, batch: Batch, parameters: Parameters) -> Iterator[Changed]:
        """Noise on the spurious features without the core, where anything is left, and on the control."""
        core, spurious = _masks(batch)
        both = batch.seen.core.any(dim=1) & batch.seen.spurious.any(dim=1)
        left = (both & (partition(core, spurious)[:, PARTS.index("spurious_only")] > 0)).nonzero()[:, 0]
        region = Region.covering(batch.seen, left, without_core(spurious, core)[left])
        yield region.corrupted(batch, TESTED, region.tested)
        yield region.corrupted(batch, CONTROL, region.control)

    def tally(self, scope: Scope, parameters: Parameters) -> Tally:
        """Means of the shares, and counts of right answers."""
        return _Tally(scope)

    def changes(self, scopes: tuple[Scope, Scope], parameters: Parameters) -> tuple[MeanChanges]:
        """Of all figures."""
        return (MeanChanges(NAME, scopes, (*READS, *PARTS), _values),)


def _values(table: pa.Table, scope: Scope) -> Iterator[Values]:
    clean = _shown(table)
    row, class_index = (clean[name].to_numpy().astype(np.int64) for name in ("row", "class"))
    for part in PARTS:
        yield Values(part, np.inf, row, class_index, clean[part].cast(pa.float64()).to_numpy())
    (control, tested), (whole_control, whole, kept) = _alone(table), _whole(table)
    yield from ALONE.values(control, tested, (None,))
    yield from WHOLE.values(whole_control, whole, (None,), kept)


def _shown(table: pa.Table) -> pa.Table:
    """The rows of unchanged pictures that show both kinds of features."""
    return table.filter(pc.and_(pc.equal(table["variant"], rows.CLEAN), pc.is_valid(table[PARTS[0]])))


def _alone(table: pa.Table) -> tuple[Rows, Rows]:
    """Control and tested, the spurious mask without the core."""
    return Rows(table, CONTROL), Rows(table, TESTED)


def _whole(table: pa.Table) -> tuple[Rows, Rows, NDArray[np.bool_]]:
    """Control and tested, the whole spurious mask, and which of these pictures have a spurious-only region."""
    whole = Rows(table, rows.SPURIOUS)
    return Rows(table, rows.SPURIOUS_CONTROL), whole, np.isin(whole.row, Rows(table, TESTED).row)


def _masks(batch: Batch) -> tuple[Any, Any]:
    """Of the core and of the spurious features that count: float [N, s, s] in [0, 1] each."""
    return union(batch.seen.masks, batch.seen.core), union(batch.seen.masks, batch.seen.spurious)


class _Tally(Tally):
    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        classes = len(scope.bank.classes)
        self._alone, self._whole = Pairs(classes), Pairs(classes)
        self._compared = False
        self._sums = np.zeros((3, len(PARTS), classes))

    def add(self, table: pa.Table) -> None:
        self._alone.add(*_alone(table))
        control, whole, kept = _whole(table)
        self._compared |= whole.row.size > 0
        self._whole.add(control, whole, kept)
        clean = _shown(table)
        classes = clean["class"].to_numpy()
        for i, part in enumerate(PARTS):
            values = clean[part].cast(pa.float64()).to_numpy()
            for sums, own in zip(self._sums[:, i], (values**0, values, values**2), strict=True):
                sums += np.bincount(classes, weights=own, minlength=sums.size)

    def section(self) -> Section:
        entries = in_order(self._entries(), self._scope.bank)
        finding = "Noise on the spurious features without the core costs accuracy beyond its control"
        return Section(
            name=NAME,
            title=Overlap.title,
            answer=flagged_in_words(entries, ALONE.difference.metric.name, finding),
            method=METHOD,
            metrics=Overlap.metrics,
            entries=entries,
        )

    def _entries(self) -> Iterator[Entry]:
        of = sorted(set(classes_with(self._scope, "core")) & set(classes_with(self._scope, "spurious")))
        for i, part in enumerate(PARTS):
            found = estimates(NAME, SHARES[part], self._share(i), self._scope, of, "")
            yield from SHARES[part].entries(self._scope.bank, found)
        yield from ALONE.entries(NAME, self._alone, self._scope, tested=True)
        if self._compared:
            yield from WHOLE.entries(NAME, self._whole, self._scope, tested=False)

    def _share(self, place: int) -> Any:
        def mean(class_index: int, part: str, generator: np.random.Generator) -> Estimate:
            n, total, squares = self._sums[:, place, class_index]
            return average(total, squares, int(n), 0.0, generator)

        return mean


MEASUREMENT = Overlap()
