"""Features replaced by grey, blur, shuffled patches or in-painting, against the same elsewhere; see `models.fills`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import ClassVar

import pyarrow as pa
from pydantic import Field, field_validator
from torch import Tensor

from jobs.mean_changes import MeanChanges, Values
from jobs.measurement import Batch, Changed, Measurement, Parameters, Scope, Tally
from jobs.pair_readings import PairReadings
from jobs.pairs import READS, Pairs, Rows
from jobs.readings import flagged_in_words, in_order
from jobs.regions import Region
from jobs.sections import Metric, Section
from models.bank import Label
from models.fills import FILLS, Fill, blend

NAME = "ablations"
LABELS: tuple[Label, ...] = ("spurious", "core")
Filled = Callable[[Tensor, Tensor], Tensor]

READINGS = {label: PairReadings(label, "{part} in place of") for label in LABELS}

TESTED = ("patch-shuffle",)
"""Fills whose differences are tested. The others harm classifiers that go by the object alone in more than 2.5 % of
their classes, wherever a cue's mask covers a part of the object too: in-painting in 5.6 %, blur in 19 %, grey in 31 %
(docs/audit-truth.md)."""

METHOD = (
    "Where a soft mask m says that the spurious (or core) features of the class lie, the picture is blended with a "
    "fill: (1 − m)·x + m·fill(x), in the classifier's input pixels in [0, 1].",
    "Each fill is also put where the control lies, the same mask moved to where it overlaps least with the tested and "
    "the core features, on the same pictures; the difference is due to where the mask lies.",
    "A class is flagged where the control is right more often than the tested mask under patch-shuffle (McNemar's "
    "exact test, one-sided, Benjamini and Hochberg over classes) and the 95 % interval of the difference lies above 0. "
    "The other fills are not tested: where masks reach over the object they harm classifiers that rely on nothing too.",
)


class AblationParameters(Parameters):
    """Of `ablations`."""

    fills: tuple[str, ...] = Field(tuple(FILLS), min_length=1, description="What features are replaced by.")

    @field_validator("fills")
    @classmethod
    def _known(cls, chosen: tuple[str, ...]) -> tuple[str, ...]:
        """In the order of the table, each once."""
        if unknown := [name for name in chosen if name not in FILLS]:
            raise ValueError(f"unknown fill {unknown[0]!r}; known are {', '.join(FILLS)}")
        return tuple(name for name in FILLS if name in chosen)


class Ablations(Measurement):
    """Replaces spurious and core features by several fills."""

    name: ClassVar[str] = NAME
    title: ClassVar[str] = "Ablations"
    summary: ClassVar[str] = (
        "Accuracy and evidence with the spurious and the core features replaced by grey, blur, shuffled patches and "
        "in-painting, against the same elsewhere."
    )
    needs: ClassVar[tuple[str, ...]] = ("labelled features",)
    parameters: ClassVar[type[Parameters]] = AblationParameters
    metrics: ClassVar[tuple[Metric, ...]] = tuple(m for reading in READINGS.values() for m in reading.metrics)

    def changed(self, batch: Batch, parameters: AblationParameters) -> Iterator[Changed]:
        """Each fill on each set and on its control."""
        regions = {label: Region.of(batch.seen, label) for label in LABELS}
        for name in parameters.fills:
            filled = _filled(batch, FILLS[name])
            for label, region in regions.items():
                yield _replaced(batch, f"{NAME}/{label}", name, region, region.tested, filled)
                yield _replaced(batch, f"{NAME}/{label}_control", name, region, region.control, filled)

    def tally(self, scope: Scope, parameters: AblationParameters) -> Tally:
        """Counts right answers by class and fill."""
        return _Tally(scope, parameters)

    def changes(self, scopes: tuple[Scope, Scope], parameters: AblationParameters) -> tuple[MeanChanges]:
        """Of all figures."""
        return (MeanChanges(NAME, scopes, READS, lambda table, scope: _values(table, parameters.fills)),)


def _values(table: pa.Table, fills: Sequence[str]) -> Iterator[Values]:
    for label, reading in READINGS.items():
        yield from reading.values(*_pair(table, label, fills), fills)


def _pair(table: pa.Table, label: Label, fills: Sequence[str]) -> tuple[Rows, Rows]:
    """Rows of the control and of the tested mask."""
    return Rows(table, f"{NAME}/{label}_control", fills), Rows(table, f"{NAME}/{label}", fills)


def _filled(batch: Batch, fill: Fill) -> Filled:
    """What makes the fill of some pictures under some masks: once for the whole batch where masks play no part."""
    if fill.local:
        return lambda owner, masks: fill.apply(batch.pixels[owner], masks, batch.draws[owner])
    whole = cache(lambda: fill.apply(batch.pixels, batch.pixels[:, 0], batch.draws))
    return lambda owner, masks: whole()[owner]


def _replaced(batch: Batch, variant: str, fill: str, region: Region, masks: Tensor, filled: Filled) -> Changed:
    def make(part: slice) -> Tensor:
        owner, own = region.picture[part], masks[part]
        return blend(batch.pixels[owner], own, filled(owner, own))

    columns = {"part": [fill] * len(masks), "overlap": region.overlap}
    return Changed(variant, region.owner, make, columns)


class _Tally(Tally):
    def __init__(self, scope: Scope, parameters: AblationParameters) -> None:
        self._scope = scope
        self._fills = parameters.fills
        self._pairs = {label: Pairs(len(scope.bank.classes), parameters.fills) for label in LABELS}

    def add(self, table: pa.Table) -> None:
        for label, pairs in self._pairs.items():
            pairs.add(*_pair(table, label, self._fills))

    def section(self) -> Section:
        entries = in_order(
            (
                entry
                for label, pairs in self._pairs.items()
                for fill in self._fills
                for entry in READINGS[label].entries(
                    NAME, pairs, self._scope, fill, tested=label == "spurious" and fill in TESTED
                )
            ),
            self._scope.bank,
        )
        finding = "Replacing the spurious features costs accuracy beyond the control"
        return Section(
            name=NAME,
            title=Ablations.title,
            answer=flagged_in_words(entries, "spurious_control_difference", finding)
            if set(TESTED) & set(self._fills)
            else f"Nothing is flagged by these fills, only by {', '.join(TESTED)}.",
            method=METHOD,
            metrics=Ablations.metrics,
            entries=entries,
        )


MEASUREMENT = Ablations()
