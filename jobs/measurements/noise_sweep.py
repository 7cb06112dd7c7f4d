"""Noise of several strengths and draws on the features, with controls matched in area and in energy."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import sqrt
from typing import ClassVar

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator
from torch import Tensor

from jobs.figures import Estimate, change, generator_of, index, points
from jobs.mean_changes import MeanChanges, Values
from jobs.measurement import Batch, Change, Changed, Changes, Measurement, Parameters, Scope, Tally, changes_by_class
from jobs.pair_readings import Control, PairReadings, classes_with, estimates
from jobs.paired_sums import shared
from jobs.pairs import READS, Pairs, Rows, repeat_of
from jobs.readings import Reading, flagged_in_words, in_order
from jobs.regions import Region
from jobs.sections import Entry, Metric, Point, Section, Series
from models.bank import Label
from models.corruptions import add_gaussian_noise, energies
from models.energy import TOLERANCE, further_draws, matched
from models.statistics import DRAWS, NORMAL_95, Interval, more_often_right, paired_rcs

NAME = "noise-sweep"
LABELS: tuple[Label, ...] = ("spurious", "core")
CONTROLS: tuple[Control, ...] = ("area", "energy")
OUTSIDE = f"{NAME}/outside_core"

READINGS = {
    (label, control): PairReadings(label, "noise of σ = {part} on", control=control)
    for label, control in product(LABELS, CONTROLS)
}
AREAS = {
    (label, control): Reading(
        Metric(
            name=f"{label}_{control}_mean_difference",
            title=f"Cost of the {label} features over all σ, controls of the same {control}",
            unit="points",
            worse="higher" if label == "spurious" else "lower",
            about="Area under the curve of the difference over σ from 0, where there is none, over the largest σ.",
        ),
        f"Averaged over σ, noise on the {label} features costs",
        f"of accuracy on the pictures {{subject}} beyond noise of the same {control} elsewhere; "
        f"{'higher' if label == 'spurious' else 'lower'} is worse",
        points,
    )
    for label, control in product(LABELS, CONTROLS)
}
RCS = Reading(
    Metric(
        name="rcs",
        title="Relative core sensitivity (RFS)",
        unit="index",
        worse="lower",
        about="(a1 − a2) / (2 min(ā, 1 − ā)) of the accuracies under noise outside the core (a1) and on it (a2).",
    ),
    "At σ = {part} the relative core sensitivity is",
    "on the pictures {subject}; lower is worse, −1 relies on all but the core",
    index,
)

CURVES = (*(metric for reading in READINGS.values() for metric in reading.metrics), RCS.metric)
"""Metrics with a figure at every sigma."""

METHOD = (
    "x' = clip(x + m·σ·z, 0, 1) with z standard normal per pixel and channel, in the classifier's input pixels before "
    "mean and standard deviation, for several σ and several draws z; the same z for tested mask and controls.",
    "Controls matched in area are the same mask moved to where it overlaps least with the tested and the core "
    "features. Controls matched in energy are these with their noise scaled until ‖x' − x‖₂ is that of the tested "
    f"picture within {100 * TOLERANCE:g} %; pictures on which clipping keeps it from that are left out of the figures "
    "against it.",
    "A picture's outcome at one σ is how many of its draws were right, so n is a number of pictures. Differences are "
    "tested by the sign of their pictures' outcomes (exact), with Benjamini and Hochberg's correction.",
    "RCS (CoRM, arXiv 2203.15566) is the RFS of RIVAL10 and Hard ImageNet with the core mask as the object's.",
)


class NoiseSweepParameters(Parameters):
    """Of `noise-sweep`."""

    sigmas: tuple[float, ...] = Field(
        (0.125, 0.25, 0.5), min_length=1, max_length=12, description="Standard deviations, on pixels in [0, 1]."
    )
    draws: int = Field(2, ge=1, le=8, description="Draws of the noise at each.")

    @field_validator("sigmas")
    @classmethod
    def _ascending(cls, sigmas: tuple[float, ...]) -> tuple[float, ...]:
        """Ascending, each once."""
        if wrong := [sigma for sigma in sigmas if not 0 < sigma <= 2]:
            raise ValueError(f"a sigma of {wrong[0]:g} is not above 0 and at most 2")
        return tuple(sorted({float(f"{sigma:g}") for sigma in sigmas}))

    @property
    def parts(self) -> list[str]:
        """How rows and entries call each sigma."""
        return [f"{sigma:g}" for sigma in self.sigmas]


class NoiseSweep(Measurement):
    """Its curves say at which strength noise on the features begins to matter."""

    name: ClassVar[str] = NAME
    title: ClassVar[str] = "Noise of several strengths"
    summary: ClassVar[str] = (
        "Accuracy, evidence and relative core sensitivity under noise of several strengths and draws on the spurious "
        "and the core features, against controls of the same area and of the same energy."
    )
    needs: ClassVar[tuple[str, ...]] = ("labelled features",)
    parameters: ClassVar[type[Parameters]] = NoiseSweepParameters
    metrics: ClassVar[tuple[Metric, ...]] = (*(reading.metric for reading in AREAS.values()), *CURVES)

    def changed(self, batch: Batch, parameters: NoiseSweepParameters) -> Iterator[Changed]:
        """All strengths and draws of each set, of its two controls, and of all but the core."""
        for label in LABELS:
            region = Region.of(batch.seen, label)
            sweep = _Sweep(batch, region.picture, parameters)
            yield sweep.changed(f"{NAME}/{label}", region.tested)
            yield sweep.changed(f"{NAME}/{label}_area", region.control)
            yield sweep.changed(f"{NAME}/{label}_energy", region.control, like=region.tested)
            if label == "core":
                yield sweep.changed(OUTSIDE, 1 - region.tested)

    def tally(self, scope: Scope, parameters: NoiseSweepParameters) -> Tally:
        """Counts how many draws were right by class and strength."""
        return _Tally(scope, parameters)

    def changes(self, scopes: tuple[Scope, Scope], parameters: NoiseSweepParameters) -> tuple[Changes, ...]:
        """Of all figures."""
        means = MeanChanges(NAME, scopes, READS, lambda table, scope: _values(table, parameters))
        return means, _RcsChanges(scopes[0], parameters)


class _Sweep:
    """All strengths and draws on M pictures of a batch, picture by picture."""

    def __init__(self, batch: Batch, picture: Tensor, parameters: NoiseSweepParameters) -> None:
        each = list(product(parameters.sigmas, range(parameters.draws)))
        self._batch = batch
        self._masked = torch.arange(len(picture), device=picture.device).repeat_interleave(len(each))
        self._owner = picture[self._masked]
        self._sigma = torch.tensor([sigma for sigma, _ in each], device=picture.device).repeat(len(picture))
        self._draw = [draw for _, draw in each] * len(picture)
        self._parts = [repeat_of(f"{sigma:g}", draw, parameters.draws) for sigma, draw in each] * len(picture)
        self._draws = parameters.draws

    def changed(self, variant: str, masks: Tensor, like: Tensor | None = None) -> Changed:
        """Noise on masks [M, s, s], scaled to the energy of that on those they are to be like."""

        def make(part: slice) -> Tensor:
            pictures, draws = self._batch.pixels[self._owner[part]], self._drawn(part)
            strength = self._sigma[part, None, None]
            noisy = add_gaussian_noise(pictures, masks[self._masked[part]] * strength, draws, 1.0)
            if like is None:
                return noisy
            tested = add_gaussian_noise(pictures, like[self._masked[part]] * strength, draws, 1.0)
            return matched(pictures, masks[self._masked[part]] * strength, draws, energies(pictures, tested))

        return Changed(variant, self._owner.cpu().numpy(), make, {"part": self._parts})

    def _drawn(self, part: slice) -> Tensor:
        draws = self._batch.draws[self._owner[part]]
        index_of = torch.tensor(self._draw[part])
        for draw in range(1, self._draws):
            own = (index_of == draw).nonzero()[:, 0].to(draws.device)
            draws[own] = further_draws(draws[own], draw, self._draws)
        return draws


class _Tally(Tally):
    def __init__(self, scope: Scope, parameters: NoiseSweepParameters) -> None:
        self._scope = scope
        self._parameters = parameters
        classes, parts = len(scope.bank.classes), parameters.parts
        self._pairs = {key: Pairs(classes, parts, parameters.draws) for key in READINGS}
        self._areas = {key: _Areas(classes, parameters.sigmas) for key in READINGS}
        self._rcs = Pairs(classes, parts, parameters.draws)

    def add(self, table: pa.Table) -> None:
        for key, own, tested, kept in _controlled(table, self._parameters):
            self._pairs[key].add(own, tested, kept)
            self._areas[key].add(own, tested, kept)
        self._rcs.add(*_outside_and_on_the_core(table, self._parameters))

    def section(self) -> Section:
        entries = in_order(self._entries(), self._scope.bank)
        finding = "Noise on the spurious features costs accuracy beyond noise of the same area elsewhere"
        return Section(
            name=NAME,
            title=NoiseSweep.title,
            answer=flagged_in_words(entries, "spurious_area_mean_difference", finding),
            method=METHOD,
            metrics=NoiseSweep.metrics,
            entries=entries,
            series=self._curves(entries),
        )

    def _entries(self) -> Iterator[Entry]:
        scope = self._scope
        for key, reading in READINGS.items():
            tested = key[0] == "spurious"
            of = classes_with(scope, key[0])
            areas = self._areas[key]
            p_values = {c: areas.p_value(c) for c in of} if tested else None
            found = estimates(NAME, AREAS[key], areas.mean, scope, of, "")
            yield from AREAS[key].entries(scope.bank, found, None, p_values)
            for part in self._parameters.parts:
                yield from reading.entries(NAME, self._pairs[key], scope, part, tested=tested)
        for part in self._parameters.parts:
            found = estimates(NAME, RCS, self._rcs.rcs, scope, classes_with(scope, "core"), part)
            yield from RCS.entries(scope.bank, found, part)

    def _curves(self, entries: tuple[Entry, ...]) -> tuple[Series, ...]:
        """Of the mean over classes; those of a class are among its entries."""
        return tuple(
            Series(
                name=metric.name,
                title=metric.title,
                x_title="σ",
                unit=metric.unit,
                points=tuple(
                    Point(x=float(entry.part), figure=entry.figure)
                    for entry in entries
                    if entry.of is None and entry.metric == metric.name and entry.part is not None
                ),
            )
            for metric in CURVES
        )


def _controlled(
    table: pa.Table, parameters: NoiseSweepParameters
) -> Iterator[tuple[tuple[Label, Control], Rows, Rows, NDArray[np.bool_] | None]]:
    """Rows of each control and of what it controls; with those matched in energy, which of them are."""
    for label in LABELS:
        tested = Rows(table, f"{NAME}/{label}", parameters.parts, parameters.draws)
        for control in CONTROLS:
            own = Rows(table, f"{NAME}/{label}_{control}", parameters.parts, parameters.draws)
            yield (label, control), own, tested, _alike(own, tested) if control == "energy" else None


def _outside_and_on_the_core(table: pa.Table, parameters: NoiseSweepParameters) -> tuple[Rows, Rows]:
    """What RCS is made of."""
    outside, core = (Rows(table, variant, parameters.parts, parameters.draws) for variant in (OUTSIDE, f"{NAME}/core"))
    return outside, core


def _values(table: pa.Table, parameters: NoiseSweepParameters) -> Iterator[Values]:
    for key, own, tested, kept in _controlled(table, parameters):
        yield from READINGS[key].values(own, tested, parameters.parts, kept)
        row, class_index, area = _areas(_weights(parameters.sigmas), own, tested, kept)
        yield Values(AREAS[key].metric.name, 2, row, class_index, area)


def _weights(sigmas: tuple[float, ...]) -> NDArray[np.float64]:
    """Of the difference at each sigma in the area over the largest: trapezoids, from no difference at 0."""
    edges = np.array([0.0, *sigmas, sigmas[-1]])
    weights: NDArray[np.float64] = (edges[2:] - edges[:-2]) / 2 / sigmas[-1]
    return weights


def _areas(
    weights: NDArray[np.float64], control: Rows, tested: Rows, kept: NDArray[np.bool_] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Pictures that are kept at every sigma, their classes, and the areas under the curves of their differences."""
    shape = (-1, weights.size)
    difference = (control.correct - tested.correct).mean(axis=1).reshape(shape)
    every = np.ones(len(difference), bool) if kept is None else kept.reshape(shape).all(axis=1)
    area = (difference @ weights)[every].round(12)
    return control.row.reshape(shape)[every, 0], control.class_index.reshape(shape)[every, 0], area


def _alike(control: Rows, tested: Rows) -> NDArray[np.bool_]:
    """bool [M]: whether all draws of a picture realise the same energy in both."""
    return np.all(np.abs(control.energy - tested.energy) <= TOLERANCE * tested.energy, axis=1)


class _Areas:
    """Areas under the curve of each picture's difference over sigma, over the largest sigma: sums by class."""

    def __init__(self, classes: int, sigmas: tuple[float, ...]) -> None:
        """Nothing is summed yet."""
        self._weights = _weights(sigmas)
        self._sums = np.zeros((5, classes))

    def add(self, control: Rows, tested: Rows, kept: NDArray[np.bool_] | None) -> None:
        """Take in rows of the same pictures and sigmas; pictures count that are kept at every sigma."""
        _, classes, area = _areas(self._weights, control, tested, kept)
        for sums, values in zip(self._sums, (area**0, area, area**2, area > 0, area < 0), strict=True):
            sums += np.bincount(classes, weights=values, minlength=sums.size)

    def mean(self, class_index: int, part: str, generator: np.random.Generator) -> Estimate:
        """The mean over pictures, with the moments of a bootstrap smoothed by two pictures: half a one at either end
        of the range and one at 0, which is what `models.statistics.smoothed_draws` adds to paired outcomes."""
        count, total, squares = self._sums[:3, class_index]
        n = int(count)
        value = total / n if n else 0.0
        centre, spread = total / (n + 2), (squares + 1) / (n + 2)
        error = sqrt((spread - centre**2) / (n + 3))
        low, high = min(value, centre - NORMAL_95 * error), max(value, centre + NORMAL_95 * error)
        draws = generator.normal(centre, error, DRAWS)
        return Estimate(value, Interval(max(-1.0, low), min(1.0, high)), n, draws, lowest=-1)

    def p_value(self, class_index: int) -> float:
        """One-sided, that more pictures have a positive area than a negative one (sign test)."""
        wins, losses = (int(count) for count in self._sums[3:, class_index])
        return more_often_right([[0, losses], [wins, 0]])


class _RcsChanges(Changes):
    """How often each of the joint outcomes of both audits occurs.

    Of several draws each counts as if it were taken at random, which makes intervals rather too wide.
    """

    reads = READS

    def __init__(self, scope: Scope, parameters: NoiseSweepParameters) -> None:
        self._scope, self._parameters = scope, parameters
        self._counts = np.zeros((len(scope.bank.classes), len(parameters.sigmas), 2, 2, 2, 2))

    def add(self, first: pa.Table, second: pa.Table) -> None:
        own, other = (_outside_and_on_the_core(table, self._parameters) for table in (first, second))
        classes, sigmas, *_ = self._counts.shape
        at, other_at = shared(*((on.row * classes + on.class_index) * sigmas + on.part for _, on in (own, other)))
        right = [rows.correct[places].mean(axis=1) for pair, places in ((own, at), (other, other_at)) for rows in pair]
        outcomes = np.einsum("ia,ib,ic,id->iabcd", *(np.stack([1 - share, share], axis=1) for share in right))
        np.add.at(self._counts, (own[1].class_index[at], own[1].part[at]), outcomes)

    def found(self) -> Iterator[Change]:
        scope, name = self._scope, RCS.metric.name
        for place, part in enumerate(self._parameters.parts):
            found = {
                c: change(self._counts[c, place], paired_rcs, generator_of(scope.seed, NAME, "change", name, part, c))
                for c in scope.classes
                if self._counts[c, place].any()
            }
            yield from changes_by_class(scope.bank, name, found, part)


MEASUREMENT = NoiseSweep()
