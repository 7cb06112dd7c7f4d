"""Accuracy on the pictures of a class that show most of its spurious features, and on those that show least.

Source: Moayeri, Wang, Singla & Feizi, Spuriosity Rankings (NeurIPS 2023): nothing is changed in any picture. Their gap
is that of the 10 pictures at either end, +-44 points of chance; here each end is a share of the class, with intervals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from jobs.figures import Estimate, difference, generator_of, less, percent, points, proportion, share
from jobs.measurement import Batch, Change, Changes, Measurement, Parameters, Scope, Tally, changes_by_class
from jobs.readings import Reading, flagged_in_words, in_order
from jobs.sections import Metric, Point, Section, Series
from jobs.spread import Spreads
from jobs.spurious_activations import (
    COLUMN,
    READS,
    clean_pictures,
    noted,
    shared_pictures,
    spuriosity,
    spurious_moments,
)
from models.statistics import more_often_right_apart, smoothed_draws, spanned

_RIGHT = "of the pictures {subject} are classified right"

GAP = Reading(
    Metric(
        name="spurious_gap",
        title="Spurious gap",
        unit="points",
        worse="higher",
        about="Accuracy on the pictures of highest spuriosity less that on those of lowest; higher is worse.",
    ),
    "Where they show most of the spurious features, accuracy is higher by",
    "on the pictures {subject} than where they show least; higher is worse",
    points,
)
HIGHEST = Reading(
    Metric(
        name="accuracy_highest",
        title="Accuracy at highest spuriosity",
        unit="share",
        worse="neither",
        about="Accuracy on the pictures of the class that show most of its spurious features.",
    ),
    "Where they show most of the spurious features,",
    f"{_RIGHT}; neither direction is worse",
    percent,
)
LOWEST = Reading(
    Metric(
        name="accuracy_lowest",
        title="Accuracy at lowest spuriosity",
        unit="share",
        worse="lower",
        about="Accuracy on the pictures of the class that show least of its spurious features; lower is worse.",
    ),
    "Where they show least of the spurious features,",
    f"{_RIGHT}; lower is worse",
    percent,
)
WORST = Reading(
    Metric(
        name="worst_group_accuracy",
        title="Worst group",
        unit="share",
        worse="lower",
        about="Accuracy in the bin of spuriosity where it is lowest; lower is worse, and chance alone lowers it.",
    ),
    "In the bin of spuriosity where accuracy is lowest,",
    f"{_RIGHT}; lower is worse",
    percent,
)
READINGS = (GAP, HIGHEST, LOWEST, WORST)
ENDS = (0, LOWEST), (1, HIGHEST)


class NaturalParameters(Parameters):
    """Of `natural-pictures`."""

    ends: float = Field(0.2, gt=0, le=0.5, description="Share of a class's pictures at either end.")
    bins: int = Field(10, ge=2, le=100, description="Of the curve of accuracy over spuriosity.")


class NaturalPictures(Measurement):
    """Needs no further forward."""

    name: ClassVar[str] = "natural-pictures"
    title: ClassVar[str] = "Natural pictures by spuriosity"
    summary: ClassVar[str] = (
        "Accuracy on the pictures that show most of the spurious features of their class against those that show least."
    )
    needs: ClassVar[tuple[str, ...]] = ("spurious features",)
    parameters: ClassVar[type[Parameters]] = NaturalParameters
    default: ClassVar[bool] = True
    columns: ClassVar[tuple[pa.Field, ...]] = (COLUMN,)
    metrics: ClassVar[tuple[Metric, ...]] = tuple(reading.metric for reading in READINGS)

    def noted(self, batch: Batch, parameters: Any, scope: Scope) -> dict[str, Any]:
        """The activations that spuriosity is made of."""
        return noted(batch)

    def tally(self, scope: Scope, parameters: NaturalParameters) -> NaturalTally:
        """Sums up in two passes: the scale of each feature, then the pictures on it."""
        return NaturalTally(scope, parameters)

    def changes(self, scopes: tuple[Scope, Scope], parameters: NaturalParameters) -> tuple[Changes]:
        """Of all its figures."""
        return (_NaturalChanges(scopes[0], parameters),)


class NaturalTally(Tally):
    """Moments of the class's activations, then accuracy over the z-scores they give."""

    reads: ClassVar[tuple[str, ...]] = READS

    def __init__(self, scope: Scope, parameters: NaturalParameters) -> None:
        self._scope, self._parameters = scope, parameters
        self._moments = spurious_moments(scope.bank)
        self._spreads: Spreads | None = None

    def add(self, table: pa.Table) -> None:
        """See `Tally`."""
        own = clean_pictures(table)
        if self._spreads is None:
            self._moments.update(own.class_index, own.activations)
        elif own.features.size:
            self._spreads.add(own.class_index, spuriosity(own, self._moments), own.correct)

    def again(self) -> bool:
        """Once more, when the moments are known."""
        if self._spreads is not None:
            return False
        self._spreads = Spreads(len(self._moments.count))
        return bool(self._moments.count.any())

    def section(self) -> Section:
        """See `Tally`."""
        bank, known = self._scope.bank, np.flatnonzero(self._moments.count).tolist()
        spreads = {c: self._spreads.of(c) for c in known} if self._spreads else {}
        bins = {c: spread.bins(self._parameters.bins) for c, spread in spreads.items()}
        ends = {c: own for c, spread in spreads.items() if (own := spread.ends(self._parameters.ends))}
        lowest, highest = ({c: self._share(reading, c, own[i]) for c, own in ends.items()} for i, reading in ENDS)
        gaps = {c: less(highest[c], lowest[c]) for c in ends}
        p_values = {c: more_often_right_apart(high, low) for c, (low, high) in ends.items()}
        worst = {c: self._worst(own, c) for c, own in bins.items()}
        entries = in_order(
            [
                *GAP.entries(bank, gaps, None, p_values),
                *HIGHEST.entries(bank, highest),
                *LOWEST.entries(bank, lowest),
                *WORST.entries(bank, worst),
            ],
            bank,
        )
        return Section(
            name=NaturalPictures.name,
            title=NaturalPictures.title,
            answer=flagged_in_words(entries, GAP.metric.name, "Accuracy is surely higher where the cues show"),
            method=(
                "The spuriosity of a picture is the mean z-score of the spurious features of its class, over the "
                "audited pictures of the class (Spuriosity Rankings, NeurIPS 2023). Nothing is changed in any.",
                f"Either end holds {percent(self._parameters.ends)} of a class's pictures, and those that show as "
                "much as its last. The gap is tested by Fisher's exact test, one-sided.",
                "A gap may also come from pictures that are harder for other reasons, and a cue that is core for "
                "another class makes gaps negative: see class leaks.",
            ),
            metrics=tuple(reading.metric for reading in READINGS),
            entries=entries if spreads else (),
            series=self._curves(bins),
            withheld=None if spreads else "The bank knows no spurious feature of the audited classes.",
        )

    def _share(self, reading: Reading, c: int, outcomes: NDArray[np.int64]) -> Estimate:
        return share(outcomes, generator_of(self._scope.seed, reading.metric.name, c))

    def _worst(self, bins: NDArray[np.int64], index: int) -> Estimate:
        """The lowest accuracy of a bin with pictures; its interval counts that it was chosen for being lowest."""
        held = bins[bins.sum(axis=1) > 0]
        accuracy = held[:, 1] / held.sum(axis=1)
        generator = generator_of(self._scope.seed, WORST.metric.name, index)
        draws = np.stack([smoothed_draws(own, generator)[:, 1] for own in held]).min(axis=0)
        worst = int(accuracy.argmin())
        value = float(accuracy[worst])
        return Estimate(value, spanned(value, draws), int(held[worst].sum()), draws, lowest=0)

    def _curves(self, bins: Mapping[int, NDArray[np.int64]]) -> tuple[Series, ...]:
        """Of all classes together, then of each."""
        if not bins:
            return ()
        names = self._scope.bank.classes
        together = self._curve(np.sum(list(bins.values()), axis=0), None)
        return (together, *(self._curve(own, names[c]) for c, own in bins.items()))

    def _curve(self, bins: NDArray[np.int64], name: str | None) -> Series:
        points = []
        for i, outcomes in enumerate(bins):
            if outcomes.sum():
                estimate = proportion(outcomes)
                subject = f" of {name}" if name else ""
                figure = estimate.figure(f"Of these pictures{subject}", "are classified right", percent)
                points.append(Point(x=(i + 0.5) / len(bins), figure=figure))
        return Series(
            name="accuracy",
            title="Accuracy over spuriosity",
            x_title="share of the class's pictures that show less",
            unit="share",
            of=name,
            points=tuple(points),
        )


class _NaturalChanges(Changes):
    """Both audits have the same pictures at either end and in a bin: spuriosity depends on them and the bank alone."""

    reads = READS
    looks = True

    def __init__(self, scope: Scope, parameters: NaturalParameters) -> None:
        self._scope, self._parameters = scope, parameters
        self._moments = spurious_moments(scope.bank)
        self._spreads = Spreads(len(self._moments.count), outcomes=4)

    def look(self, first: pa.Table, second: pa.Table) -> None:
        own, _ = shared_pictures(first, second)
        self._moments.update(own.class_index, own.activations)

    def add(self, first: pa.Table, second: pa.Table) -> None:
        own, other = shared_pictures(first, second)
        if own.features.size:
            self._spreads.add(own.class_index, spuriosity(own, self._moments), 2 * own.correct + other.correct)

    def found(self) -> Iterator[Change]:
        bank, known = self._scope.bank, np.flatnonzero(self._moments.count).tolist()
        spreads = {c: self._spreads.of(c) for c in known}
        ends = {c: own for c, spread in spreads.items() if (own := spread.ends(self._parameters.ends))}
        lowest, highest = (
            {c: difference(own[i].reshape(2, 2), self._generator(reading, c)) for c, own in ends.items()}
            for i, reading in ENDS
        )
        gaps = {c: less(highest[c], lowest[c]) for c in ends}
        worst = {c: self._worst(spread.bins(self._parameters.bins), c) for c, spread in spreads.items()}
        for reading, by_class in ((GAP, gaps), (HIGHEST, highest), (LOWEST, lowest), (WORST, worst)):
            yield from changes_by_class(bank, reading.metric.name, by_class)

    def _worst(self, bins: NDArray[np.int64], c: int) -> Estimate:
        """Of the lowest accuracies in a bin, which need not be the same bin: each draw has the bins of both audits."""
        held = bins[bins.sum(axis=1) > 0].reshape(-1, 2, 2)
        generator = self._generator(WORST, c)
        drawn = np.stack([smoothed_draws(own, generator, 0.25) for own in held], axis=1)
        (value, n), (draws, _) = _change_of_worst(held[None]), _change_of_worst(drawn)
        return Estimate(float(value[0]), spanned(float(value[0]), draws), int(n[0]), draws, lowest=-np.inf)

    def _generator(self, reading: Reading, c: int) -> np.random.Generator:
        return generator_of(self._scope.seed, "change", reading.metric.name, c)


def _change_of_worst(tables: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """The first audit's lowest accuracy less the second's, and the weight of the smaller of these two bins.

    Args:
        tables: [N, B, 2, 2]: of each bin, counts or shares by whether the first and the second audit are right.
    """
    pictures = tables.sum(axis=(2, 3))
    right = [tables[:, :, 1].sum(axis=2) / pictures, tables[:, :, :, 1].sum(axis=2) / pictures]
    of_bin = np.minimum(*(np.take_along_axis(pictures, own.argmin(axis=1)[:, None], 1)[:, 0] for own in right))
    return right[0].min(axis=1) - right[1].min(axis=1), of_bin


MEASUREMENT = NaturalPictures()
