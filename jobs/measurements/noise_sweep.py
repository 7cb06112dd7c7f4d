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

from jobs.figures import Estimate, index, points
from jobs.measurement import Batch, Changed, Measurement, Parameters, Scope, Tally
from jobs.pair_readings import Control, PairReadings, classes_with, estimates
from jobs.pairs import Pairs, Rows, repeat_of
from jobs.readings import Reading, flagged_in_words, in_order
from jobs.regions import Region
from jobs.sections import Entry, Metric, Point, Section, Series
from models.bank import Label
from models.corruptions import add_gaussian_noise, energies
from models.energy import TOLERANCE, further_draws, matched
from models.statistics import DRAWS, NORMAL_95, Interval, more_often_right

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
        def rows(variant: str) -> Rows:
            return Rows(table, variant, self._parameters.parts, self._parameters.draws)

        for label in LABELS:
            tested = rows(f"{NAME}/{label}")
            for control in CONTROLS:
                own = rows(f"{NAME}/{label}_{control}")
                kept = _alike(own, tested) if control == "energy" else None
                self._pairs[label, control].add(own, tested, kept)
                self._areas[label, control].add(own, tested, kept)
            if label == "core":
                self._rcs.add(rows(OUTSIDE), tested)

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


def _alike(control: Rows, tested: Rows) -> NDArray[np.bool_]:
    """bool [M]: whether all draws of a picture realise the same energy in both."""
    return np.all(np.abs(control.energy - tested.energy) <= TOLERANCE * tested.energy, axis=1)


class _Areas:
    """Areas under the curve of each picture's difference over sigma, over the largest sigma: sums by class."""

    def __init__(self, classes: int, sigmas: tuple[float, ...]) -> None:
        """Nothing is summed yet."""
        edges = np.array([0.0, *sigmas, sigmas[-1]])
        self._weights = (edges[2:] - edges[:-2]) / 2 / sigmas[-1]  # trapezoids, from no difference at 0
        self._sums = np.zeros((5, classes))

    def add(self, control: Rows, tested: Rows, kept: NDArray[np.bool_] | None) -> None:
        """Take in rows of the same pictures and sigmas; pictures count that are kept at every sigma."""
        difference = (control.correct - tested.correct).mean(axis=1).reshape(-1, self._weights.size)
        area = difference @ self._weights
        every = np.ones(area.size, bool) if kept is None else kept.reshape(difference.shape).all(axis=1)
        classes = control.class_index.reshape(difference.shape)[every, 0]
        area = area[every].round(12)
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


MEASUREMENT = NoiseSweep()
