"""Which features of the bank's backbone tell this classifier's failures from its successes, class by class.

Source: Barlow (CVPR 2021); see `models.failure_modes` for what is done otherwise. Any feature may tell failure, whether
people labelled it or not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from jobs import rows
from jobs.figures import Estimate, Figure, counted, generator_of, mean, percent, points, share
from jobs.mean_changes import MeanChanges, Values
from jobs.measurement import Batch, Measurement, Parameters, Scope, Tally
from jobs.sections import Entry, Metric, Section, adjusted
from models.bank import Bank
from models.failure_modes import FOLDS, FailureModes, failure_modes
from models.statistics import smoothed_draws, spanned

LIFT, ERROR_RATE, MODE_RATE, MODE_COVERAGE = "held_out_lift", "error_rate", "mode_error_rate", "mode_coverage"

COLUMN = pa.field("phi", pa.list_(pa.float16()), metadata={"about": "backbone features; of drawn clean rows"})
MEMORY = 1 << 30
"""Most bytes of features kept for all classes together: with very many classes fewer pictures of each are drawn."""

METRICS = (
    Metric(
        name=LIFT,
        title="Held-out lift",
        unit="points",
        worse="higher",
        about="Average leaf error rate (ALER) on held-out pictures less the error rate; 0 where nothing tells failure.",
    ),
    Metric(name=ERROR_RATE, title="Error rate", unit="share", worse="higher", about="Share of wrong answers (BER)."),
    Metric(
        name=MODE_RATE,
        title="Error rate of the mode",
        unit="share",
        worse="higher",
        about="Share of wrong answers where the feature says that the classifier fails, as it was found.",
    ),
    Metric(
        name=MODE_COVERAGE,
        title="Failures in the mode",
        unit="share",
        worse="neither",
        about="Share of all failures that the mode holds, on the pictures it was found on.",
    ),
)


class FailureParameters(Parameters):
    """Of `failure-modes`."""

    pictures: int = Field(1000, ge=100, le=10_000, description="Drawn of every class, at most.")
    group: Literal["label", "predicted"] = Field(
        "label", description="Pictures looked at together: those of a class, or those said to be it (Barlow's choice)."
    )
    depth: int = Field(1, ge=1, le=3, description="Of the tree; Barlow's is 1.")
    permutations: int = Field(199, ge=99, le=9999, description="Shuffles of failure behind each p-value.")


class FailureModeMeasurement(Measurement):
    """Needs no further forward."""

    name: ClassVar[str] = "failure-modes"
    title: ClassVar[str] = "Failure modes"
    summary: ClassVar[str] = (
        "Features that tell the pictures on which this classifier fails, held out and against chance."
    )
    needs: ClassVar[tuple[str, ...]] = ("some failures and some successes of a class",)
    parameters: ClassVar[type[Parameters]] = FailureParameters
    columns: ClassVar[tuple[pa.Field, ...]] = (COLUMN,)
    metrics: ClassVar[tuple[Metric, ...]] = METRICS

    def noted(self, batch: Batch, parameters: FailureParameters, scope: Scope) -> dict[str, Any]:
        """Features of the pictures that are drawn, as their name, class and seed decide."""
        drawn = _drawn(scope, parameters, ((picture.sample, picture.class_index) for picture in batch.views))
        width = scope.bank.manifest.backbone.maps[0]
        phi = batch.features.phi[:, :width].float().cpu().numpy().astype(np.float16)
        ends = np.concatenate([[0], np.where(drawn, width, 0).cumsum()]).astype(np.int32)
        return {COLUMN.name: pa.ListArray.from_arrays(pa.array(ends), pa.array(phi[drawn].ravel()))}

    def tally(self, scope: Scope, parameters: FailureParameters) -> FailureTally:
        """Keeps what was drawn of every class."""
        return FailureTally(scope, parameters)

    def changes(self, scopes: tuple[Scope, Scope], parameters: FailureParameters) -> tuple[MeanChanges, ...]:
        """Of error rates, where both audits have the same pictures together; modes are of each classifier's own."""
        if parameters.group == "predicted":
            return ()
        reads = ("sample", "row", "class", "variant", "correct")
        return (MeanChanges(self.name, scopes, reads, lambda table, scope: _values(table, scope, parameters)),)


def _values(table: pa.Table, scope: Scope, parameters: FailureParameters) -> Iterator[Values]:
    """Whether the classifier fails on the pictures that are drawn."""
    clean = table.filter(pc.equal(table["variant"], rows.CLEAN))
    row, class_index, failed = clean["row"].to_numpy(), clean["class"].to_numpy(), pc.invert(clean["correct"])
    drawn = _drawn(scope, parameters, zip(clean["sample"].to_pylist(), class_index.tolist(), strict=True))
    value = failed.cast(pa.float64()).to_numpy()
    yield Values(ERROR_RATE, 1, row[drawn], class_index[drawn].astype(np.int64), value[drawn])


MEASUREMENT = FailureModeMeasurement()


def _drawn(scope: Scope, parameters: FailureParameters, pictures: Iterable[tuple[str, int]]) -> NDArray[np.bool_]:
    """Which pictures are looked at, by name and class in the bank."""
    most = _most(scope, parameters)
    return np.array([_uniform(scope.seed, name) * scope.sizes.get(c, 0) < most for name, c in pictures], dtype=bool)


def _most(scope: Scope, parameters: FailureParameters) -> int:
    room = MEMORY // (2 * scope.bank.manifest.backbone.maps[0] * max(1, len(scope.classes)))
    return min(parameters.pictures, room)


def _uniform(seed: int, sample: str) -> float:
    """A number in [0, 1) of one picture, the same whatever the shard."""
    digest = hashlib.sha256(f"{seed}:{sample}:failure-modes".encode()).digest()
    return int.from_bytes(digest[:8], "little") / 2**64


@dataclass(frozen=True)
class _Words:
    """What the pictures that are looked at together are called, `{}` being the class."""

    pictures: str
    wrong: str
    failures: str


WORDS = {
    "label": _Words("pictures of {}", "are classified wrong", "failures on {}"),
    "predicted": _Words("pictures said to be {}", "are of another class", "pictures wrongly said to be {}"),
}


class FailureTally(Tally):
    """Features and failures of the pictures drawn, by class: their own, or the one they are said to be."""

    def __init__(self, scope: Scope, parameters: FailureParameters) -> None:
        self._scope, self._parameters, self._words = scope, parameters, WORDS[parameters.group]
        self._kept: dict[int, list[tuple[NDArray[np.int64], NDArray[np.float16], NDArray[np.bool_]]]] = {}

    def add(self, table: pa.Table) -> None:
        """See `Tally`."""
        clean = table.filter(pc.and_(pc.equal(table["variant"], rows.CLEAN), pc.greater(_length(table), 0)))
        if not clean.num_rows:
            return
        phi = clean[COLUMN.name].combine_chunks().flatten().to_numpy().reshape(clean.num_rows, -1)
        place, classes = clean["row"].to_numpy(), clean["class"].to_numpy()
        if self._parameters.group == "predicted":
            classes = self._scope.of_output[clean["predicted"].to_numpy()]
        failed = ~clean["correct"].to_numpy(zero_copy_only=False)
        for index in np.intersect1d(classes, self._scope.classes).tolist():
            own = classes == index
            self._kept.setdefault(index, []).append((place[own], phi[own], failed[own]))

    def section(self) -> Section:
        """See `Tally`."""
        entries: list[Entry] = []
        lifts: list[Estimate] = []
        for index, parts in sorted(self._kept.items()):
            place, phi, failed = (np.concatenate(own) for own in zip(*parts, strict=True))
            order = np.argsort(place)
            found = failure_modes(
                phi[order],
                failed[order],
                depth=self._parameters.depth,
                permutations=self._parameters.permutations,
                seed=self._scope.seed,
            )
            own = self._of_class(index, found)
            entries += [entry for entry, _ in own]
            lifts += [estimate for entry, estimate in own if entry.metric == LIFT]
        overall = [Entry(metric=LIFT, figure=self._lift_figure(mean(lifts), "a class on average"))] if lifts else []
        found_entries = adjusted(entries)
        return Section(
            name=FailureModeMeasurement.name,
            title=FailureModeMeasurement.title,
            answer=_answer(found_entries, self._scope.bank),
            method=(
                f"Of the {self._words.pictures.format('a class')}, the feature and threshold are sought that best "
                "tell those on which the classifier is wrong (Barlow, CVPR 2021), among all features of the bank's "
                "backbone.",
                f"The lift is measured on pictures that the threshold was not chosen on ({FOLDS} folds); the p-value "
                f"is the share of {self._parameters.permutations:,} shuffles of failure in which the best of all "
                "features tells as much. Rates of the mode itself are of the pictures it was found on, and flatter it.",
            ),
            metrics=METRICS,
            entries=(*overall, *found_entries),
            withheld=None if entries else "No picture of an audited class was drawn.",
        )

    def _of_class(self, index: int, found: FailureModes) -> list[tuple[Entry, Estimate]]:
        name, seed = self._scope.bank.classes[index], self._scope.seed
        rate = share(np.array([found.pictures - found.failures, found.failures]), generator_of(seed, ERROR_RATE, index))
        pictures, failures = self._words.pictures.format(name), self._words.failures.format(name)
        wrong = self._words.wrong
        figure = rate.figure(f"Of the {pictures} that were drawn", f"{wrong}; higher is worse", percent)
        result = [(Entry(metric=ERROR_RATE, of=name, figure=figure), rate)]
        if found.cross_fitted_aler is None or found.base_error_rate is None:
            return result
        lift = _lift(found, found.cross_fitted_aler - found.base_error_rate, generator_of(seed, LIFT, index))
        p_value = found.p_value if lift.enough else None
        result.append((Entry(metric=LIFT, of=name, figure=self._lift_figure(lift, name), p_value=p_value), lift))
        for leaf in found.modes[:1]:
            sides = [
                (f"feature {own.feature}", f"{'above' if own.above else 'up to'} {own.threshold:.4g}")
                for own in leaf.path
            ]
            side = " and ".join(f"{feature} {where}" for feature, where in sides)
            lead = f"Where {' and '.join(f'{feature} is {where}' for feature, where in sides)},"
            for metric, others, tail in (
                (MODE_RATE, leaf.pictures - leaf.failures, f"of the {pictures} {wrong}; higher"),
                (MODE_COVERAGE, found.failures - leaf.failures, f"of the {failures} lie; neither direction"),
            ):
                estimate = share(np.array([others, leaf.failures]), generator_of(seed, metric, index))
                figure = estimate.figure(lead, f"{tail} is worse", percent)
                feature = leaf.path[-1].feature
                result.append((Entry(metric=metric, of=name, feature=feature, part=side, figure=figure), estimate))
        return result

    def _lift_figure(self, lift: Estimate, name: str) -> Figure:
        return lift.figure(
            f"Among held-out {self._words.pictures.format(name)} that features put together with a failure, "
            "errors are more frequent by",
            "than among all of them; higher is worse",
            points,
        )


def _length(table: pa.Table) -> pa.ChunkedArray:
    return pc.fill_null(pc.list_value_length(table[COLUMN.name]), 0)


def _lift(found: FailureModes, value: float, generator: np.random.Generator) -> Estimate:
    """The lift, with draws of the held-out leaves' counts, centred on the plain estimate."""
    counts = np.array([(pictures - failures, failures) for pictures, failures in found.held_out])
    draws = smoothed_draws(counts, generator)
    failures, pictures = draws[..., 1], draws.sum(axis=-1)
    rate = failures.sum(axis=1)
    lifts = (failures**2 / pictures).sum(axis=1) / rate - rate
    lifts += value - lifts.mean()
    return Estimate(value, spanned(value, lifts), found.pictures, lifts, lowest=-1)


def _answer(entries: list[Entry], bank: Bank) -> str:
    tested = [entry for entry in entries if entry.p_value is not None]
    if not tested:
        return "No class has failures and pictures enough to be tested."
    flagged = [entry for entry in tested if entry.flagged]
    if not flagged:
        return f"No feature was shown to tell where this classifier fails, in {counted(len(tested))} tested."
    worst = max(flagged, key=lambda entry: entry.figure.value or 0)
    mode = next((e for e in entries if e.of == worst.of and e.metric == MODE_RATE), None)
    where = f", worst {worst.of}"
    if mode is not None and worst.of is not None:
        labels = {own.feature_index: own.label for own in bank.features(bank.class_index(worst.of))}
        where += f" ({mode.part}, labelled {labels.get(mode.feature or 0, 'by nobody')})"
    return f"Features tell where this classifier fails in {len(flagged):,} of {counted(len(tested))} tested{where}."
