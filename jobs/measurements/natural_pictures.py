"""Accuracy on the pictures of a class that show most of its spurious features, and on those that show least.

Source: Moayeri, Wang, Singla & Feizi, Spuriosity Rankings (NeurIPS 2023): nothing is changed in any picture. Their gap
is that of the 10 pictures at either end, +-44 points of chance; here each end is a share of the class, with intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from jobs.figures import Estimate, Figure, generator_of, less, mean, percent, points, share
from jobs.measurement import Batch, Measurement, Parameters, Scope, Tally
from jobs.sections import Entry, Metric, Point, Section, Series, adjusted
from jobs.spread import Spread
from jobs.spuriosity import spuriosity
from jobs.spurious_activations import COLUMN, by_class, noted
from models.moments import Moments
from models.statistics import more_often_right_apart, smoothed_draws, spanned

LOWEST, HIGHEST, GAP, WORST = "accuracy_lowest", "accuracy_highest", "spurious_gap", "worst_group_accuracy"

METRICS = (
    Metric(
        name=GAP,
        title="Spurious gap",
        unit="points",
        worse="higher",
        about="Accuracy on the pictures of highest spuriosity less that on those of lowest; higher is worse.",
    ),
    Metric(
        name=HIGHEST,
        title="Accuracy at highest spuriosity",
        unit="share",
        worse="neither",
        about="Accuracy on the pictures of the class that show most of its spurious features.",
    ),
    Metric(
        name=LOWEST,
        title="Accuracy at lowest spuriosity",
        unit="share",
        worse="lower",
        about="Accuracy on the pictures of the class that show least of its spurious features; lower is worse.",
    ),
    Metric(
        name=WORST,
        title="Worst group",
        unit="share",
        worse="lower",
        about="Accuracy in the bin of spuriosity where it is lowest; lower is worse, and chance alone lowers it.",
    ),
)


_RIGHT = "of the pictures {subject} are classified right"

READINGS: Mapping[str, tuple[str, str, Callable[[float], str]]] = {
    GAP: (
        "Where they show most of the spurious features, accuracy is higher by",
        "on the pictures {subject} than where they show least; higher is worse",
        points,
    ),
    HIGHEST: ("Where they show most of the spurious features,", _RIGHT, percent),
    LOWEST: ("Where they show least of the spurious features,", _RIGHT, percent),
    WORST: ("In the bin of spuriosity where accuracy is lowest,", _RIGHT, percent),
}
"""Lead, tail and way of writing of each figure; {subject} stands for what the pictures are of."""


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

    def noted(self, batch: Batch, parameters: Any, scope: Scope) -> dict[str, Any]:
        """The activations that spuriosity is made of."""
        return noted(batch)

    def tally(self, scope: Scope, parameters: NaturalParameters) -> NaturalTally:
        """Sums up in two passes: the scale of each feature, then the pictures on it."""
        return NaturalTally(scope, parameters)


class NaturalTally(Tally):
    """Moments of the class's activations, then accuracy over the z-scores they give."""

    def __init__(self, scope: Scope, parameters: NaturalParameters) -> None:
        self._scope, self._parameters = scope, parameters
        self._moments: dict[int, Moments] = {}
        self._spreads: dict[int, Spread] | None = None

    def add(self, table: pa.Table) -> None:
        """See `Tally`."""
        for own in by_class(table):
            if self._spreads is None:
                known = self._moments.get(own.class_index, Moments.empty(own.activations.shape[1]))
                self._moments[own.class_index] = known.update(own.activations)
            else:
                score = spuriosity(own.activations, self._moments[own.class_index])
                self._spreads[own.class_index].add(score, own.correct)

    def again(self) -> bool:
        """Once more, when the moments are known."""
        if self._spreads is not None:
            return False
        self._spreads = {class_index: Spread() for class_index in self._moments}
        return True

    def section(self) -> Section:
        """See `Tally`."""
        names, spreads = self._scope.bank.classes, self._spreads or {}
        estimates: dict[int, dict[str, Estimate]] = {}
        entries: list[Entry] = []
        series: list[Series] = []
        for index, spread in sorted(spreads.items()):
            bins = spread.bins(self._parameters.bins)
            ends = spread.ends(self._parameters.ends)
            p_value = None
            own = {WORST: self._worst(bins, index)} if bins.sum() else {}
            if ends is not None:
                own |= self._ends(*ends, index)
                p_value = more_often_right_apart(ends[1], ends[0]) if own[GAP].enough else None
            estimates[index] = own
            entries += [
                _entry(name, found, names[index], p_value if name == GAP else None) for name, found in own.items()
            ]
            series.append(self._series(bins, names[index], [index]))
        overall = []
        for metric in METRICS:
            found = [own[metric.name] for own in estimates.values() if metric.name in own]
            if found:
                overall.append(_entry(metric.name, mean(found), None, None))
        if spreads:
            together = sum(
                (spread.bins(self._parameters.bins) for spread in spreads.values()), np.zeros((1, 2), np.int64)
            )
            series.insert(0, self._series(together, None, sorted(spreads)))
        section = Section(
            name=NaturalPictures.name,
            title=NaturalPictures.title,
            answer="",
            method=(
                "The spuriosity of a picture is the mean z-score of the spurious features of its class, over the "
                "audited pictures of the class (Spuriosity Rankings, NeurIPS 2023). Nothing is changed in any.",
                f"Either end holds {percent(self._parameters.ends)} of a class's pictures, and those that show as "
                "much as its last. The gap is tested by Fisher's exact test, one-sided.",
                "A gap may also come from pictures that are harder for other reasons, and a cue that is core for "
                "another class makes gaps negative: see class leaks.",
            ),
            metrics=METRICS,
            entries=(*overall, *adjusted(entries)),
            series=tuple(series),
            withheld=None if spreads else "The bank knows no spurious feature of the audited classes.",
        )
        return section.model_copy(update={"answer": _answer(section)})

    def _ends(self, low: NDArray[np.int64], high: NDArray[np.int64], index: int) -> dict[str, Estimate]:
        seed = self._scope.seed
        lowest = share(low, generator_of(seed, LOWEST, index))
        highest = share(high, generator_of(seed, HIGHEST, index))
        return {GAP: less(highest, lowest), HIGHEST: highest, LOWEST: lowest}

    def _worst(self, bins: NDArray[np.int64], index: int) -> Estimate:
        """The lowest accuracy of a bin with pictures; its interval counts that it was chosen for being lowest."""
        held = bins[bins.sum(axis=1) > 0]
        accuracy = held[:, 1] / held.sum(axis=1)
        generator = generator_of(self._scope.seed, WORST, index)
        draws = np.stack([smoothed_draws(own, generator)[:, 1] for own in held]).min(axis=0)
        worst = int(accuracy.argmin())
        value = float(accuracy[worst])
        return Estimate(value, spanned(value, draws), int(held[worst].sum()), draws, lowest=0)

    def _series(self, bins: NDArray[np.int64], name: str | None, keys: Sequence[int]) -> Series:
        count = len(bins)
        found = [
            Point(x=(i + 0.5) / count, figure=self._point(bins[i], name, [i, *keys[:1]]))
            for i in range(count)
            if bins[i].sum()
        ]
        return Series(
            name="accuracy",
            title="Accuracy over spuriosity",
            x_title="share of the class's pictures that show less",
            unit="share",
            of=name,
            points=tuple(found),
        )

    def _point(self, outcomes: NDArray[np.int64], name: str | None, keys: Sequence[int]) -> Figure:
        estimate = share(outcomes, generator_of(self._scope.seed, "accuracy", *keys))
        return estimate.figure("Of these pictures", f"{_of(name)} are classified right", percent)


def _of(name: str | None) -> str:
    return f"of {name}" if name else "of a class on average"


def _entry(metric: str, estimate: Estimate, name: str | None, p_value: float | None) -> Entry:
    lead, tail, show = READINGS[metric]
    figure = estimate.figure(lead, tail.replace("{subject}", _of(name)), show)
    return Entry(metric=metric, of=name, figure=figure, p_value=p_value)


def _answer(section: Section) -> str:
    if section.withheld:
        return section.withheld
    gap = next((entry for entry in section.entries if entry.metric == GAP and entry.of is None), None)
    if gap is None or gap.figure.value is None:
        return "No class has pictures enough at both ends."
    if section.flagged:
        return f"{gap.figure.reading} The gap is surely above 0 in {len(section.flagged):,} classes."
    return f"{gap.figure.reading} In no class is it surely above 0."


MEASUREMENT = NaturalPictures()
