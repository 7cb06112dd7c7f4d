"""Pictures with the cue of a class and without its object, from a second data set: does the classifier say the class?

Source: Neuhaus, Augustin, Boreiko & Hein, Spurious Features Everywhere (ICCV 2023), whose data set, Spurious ImageNet,
has 75 such pictures of each of 100 classes, against 50 validation pictures of the class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from jobs import rows
from jobs.figures import Estimate, average, difference, generator_of, less, percent, points, share
from jobs.mean_changes import MeanChanges, Values
from jobs.measurement import Change, Changes, Measurement, Parameters, Scope, Tally, changes_by_class
from jobs.paired_sums import shared_under_one_class
from jobs.readings import Reading, flagged_in_words, in_order
from jobs.said import READS, Said, said_by_class
from jobs.sections import Entry, Metric, Section
from models.ranking import auroc, average_precision_of_counts, paired_ranking_draws, ranking_draws
from models.statistics import DRAWS, Interval, more_often_right_apart, spanned

NAME = "spurious-only"

LARGEST, STEP, BINS = 50.0, 0.02, 5001
"""Log-odds are counted within +-50 nats in steps of a fiftieth: those of one step count as equal scores."""

Ints = NDArray[np.int64]

NOTHING = Estimate(0.0, Interval(0.0, 0.0), 0, np.zeros(DRAWS), lowest=0)
"""Of a class that lacks pictures of either kind."""

AVERAGE_PRECISION = Reading(
    Metric(
        name="average_precision",
        title="Average precision (“spurious score”)",
        unit="share",
        worse="lower",
        about="Of p(class), pictures of the class against spurious-only ones; n is the smaller number of the two.",
    ),
    "The average precision with which pictures of the class rank above spurious-only ones is",
    "for those {subject}; lower is worse",
    percent,
)
AUROC = Reading(
    Metric(
        name="auroc",
        title="AUROC",
        unit="share",
        worse="lower",
        about="Chance that a picture of the class has a higher p(class) than a spurious-only one; n as above.",
    ),
    "A picture of the class ranks above a spurious-only one with a chance of",
    "for those {subject}; lower is worse",
    percent,
)
FALSE_TRIGGER = Reading(
    Metric(
        name="false_trigger_rate",
        title="False-trigger rate",
        unit="share",
        worse="higher",
        about="Share of spurious-only pictures that are taken for the class.",
    ),
    "Of the spurious-only pictures",
    "are taken to be {subject}; higher is worse",
    percent,
)
EXCESS = Reading(
    Metric(
        name="false_trigger_excess",
        title="False triggers beyond other pictures",
        unit="points",
        worse="higher",
        about="False-trigger rate less that at which the audit's pictures of other classes are taken for the class.",
    ),
    "Spurious-only pictures are taken",
    "more often than pictures of other classes to be {subject}; higher is worse",
    points,
)
PROBABILITY = Reading(
    Metric(
        name="mean_probability",
        title="Mean p(class)",
        unit="share",
        worse="higher",
        about="Mean softmax probability of the class on spurious-only pictures.",
    ),
    "On spurious-only pictures the classifier gives the class a mean probability of",
    "for those {subject}; higher is worse",
    percent,
)

METHOD = (
    "The classifier sees pictures of a second data set, which show the spurious feature of a class without its object, "
    "as they are. Positives are the audit's pictures of the class, negatives the spurious-only ones, the score is the "
    "softmax probability of the class (compared by its log-odds, which do not round to 1).",
    "Average precision is what the code released with Spurious ImageNet computes and its tables call AUC. By chance it "
    "is about the share of positives, 0.42 for 50 against 75 pictures; compare it only between sets of these numbers. "
    "AUROC is 0.5 by chance whatever the numbers. Intervals are a smoothed bootstrap of positives and negatives apart.",
    "A class is flagged where spurious-only pictures are taken for it more often than the audit's pictures of other "
    "classes (Fisher's exact test, one-sided, Benjamini and Hochberg) and the 95 % interval of the difference lies "
    "above 0.",
)


class SpuriousOnlyParameters(Parameters):
    """Of `spurious-only`."""

    dataset: str = Field(
        pattern=r"^[0-9a-f]{64}$",
        description="Id of the data set of spurious-only pictures, a folder per class, in either layout.",
    )


class SpuriousOnly(Measurement):
    """The most direct of all: natural pictures, and nothing is changed in them."""

    name: ClassVar[str] = NAME
    title: ClassVar[str] = "Pictures with the cue alone"
    summary: ClassVar[str] = (
        "Average precision, AUROC and false-trigger rate on pictures that show the cue of a class without its object, "
        "as in Spurious ImageNet."
    )
    needs: ClassVar[tuple[str, ...]] = ("a data set of spurious-only pictures, uploaded beside the audit's own",)
    parameters: ClassVar[type[Parameters]] = SpuriousOnlyParameters
    metrics: ClassVar[tuple[Metric, ...]] = tuple(
        own.metric for own in (AVERAGE_PRECISION, AUROC, FALSE_TRIGGER, EXCESS, PROBABILITY)
    )

    def further(self, parameters: SpuriousOnlyParameters) -> str:
        """The spurious-only pictures."""
        return parameters.dataset

    def tally(self, scope: Scope, parameters: SpuriousOnlyParameters) -> Tally:
        """Counts scores by class."""
        return _Tally(scope)

    def changes(self, scopes: tuple[Scope, Scope], parameters: SpuriousOnlyParameters) -> tuple[Changes, ...]:
        """Of all its figures."""
        means = MeanChanges(NAME, scopes, (*READS, "probability"), _values)
        return means, _TriggerChanges(scopes), _RankChanges(scopes)


def _values(table: pa.Table, scope: Scope) -> Iterator[Values]:
    own = table.filter(pc.equal(table["variant"], NAME))
    row, class_index = (own[name].to_numpy().astype(np.int64) for name in ("row", "class"))
    yield Values(PROBABILITY.metric.name, np.inf, row, class_index, own["probability"].cast(pa.float64()).to_numpy())


class _TriggerChanges(Changes):
    """By class, how often each pair of answers of both audits occurs."""

    reads = READS

    def __init__(self, scopes: tuple[Scope, Scope]) -> None:
        self._scopes = scopes
        self._triggers, self._others = np.zeros((2, len(scopes[0].bank.classes), 2, 2), np.int64)

    def add(self, first: pa.Table, second: pa.Table) -> None:
        self._triggers += self._said(first, second, NAME)
        self._others += self._said(first, second, rows.CLEAN, others=True)

    def _said(self, first: pa.Table, second: pa.Table, variant: str, others: bool = False) -> NDArray[np.int64]:
        """Of the pictures of each class, or of those of all others."""
        tables = zip((first, second), self._scopes, strict=True)
        own, other = (Said.of(table, variant, scope.of_output) for table, scope in tables)
        at, other_at = own.places(other)
        said, label = (own.said[at], other.said[other_at]), own.label[at]
        of_class = said_by_class(len(self._others), *said, among=label)
        return said_by_class(len(self._others), *said) - of_class if others else of_class

    def found(self) -> Iterator[Change]:
        scope = self._scopes[0]

        def changed(reading: Reading, tables: NDArray[np.int64]) -> dict[int, Estimate]:
            generators = {c: generator_of(scope.seed, NAME, "change", reading.metric.name, c) for c in scope.classes}
            return {c: difference(tables[c], own) for c, own in generators.items() if self._triggers[c].any()}

        rates, others = changed(FALSE_TRIGGER, self._triggers), changed(EXCESS, self._others)
        yield from changes_by_class(scope.bank, FALSE_TRIGGER.metric.name, rates)
        yield from changes_by_class(scope.bank, EXCESS.metric.name, {c: less(rates[c], others[c]) for c in rates})


class _RankChanges(Changes):
    """Of how pictures rank: no means over pictures, so the scores that both classifiers gave are kept, 8 bytes each."""

    reads = ("row", "class", "variant", "log_odds")

    def __init__(self, scopes: tuple[Scope, Scope]) -> None:
        self._scope = scopes[0]
        self._scores: dict[int, tuple[list[Ints], list[Ints]]] = {}

    def add(self, first: pa.Table, second: pa.Table) -> None:
        for place, variant in enumerate((rows.CLEAN, NAME)):
            tables = [table.filter(pc.equal(table["variant"], variant)) for table in (first, second)]
            own, other = ((t["row"].to_numpy(), t["class"].to_numpy().astype(np.int64)) for t in tables)
            at, other_at = shared_under_one_class(own, other)
            of_first, of_second = (_codes(table["log_odds"].to_numpy()) for table in tables)
            scores, label = of_first[at] * BINS + of_second[other_at], own[1][at]
            for c in np.unique(label).tolist():
                self._scores.setdefault(c, ([], []))[place].append(scores[label == c])

    def found(self) -> Iterator[Change]:
        changed = {c: self._changed(*self._scores[c], c) for c in self._scope.classes if self._has_cues(c)}
        for place, reading in enumerate((AVERAGE_PRECISION, AUROC)):
            own = {c: estimates[place] for c, estimates in changed.items()}
            yield from changes_by_class(self._scope.bank, reading.metric.name, own)

    def _has_cues(self, c: int) -> bool:
        return c in self._scores and bool(self._scores[c][1])

    def _changed(self, of_class: Sequence[Ints], alone: Sequence[Ints], c: int) -> tuple[Estimate, ...]:
        """Of average precision and of AUROC, from the same draws."""
        if not of_class:
            return NOTHING, NOTHING
        number, n = sum(map(len, of_class)), min(sum(map(len, own)) for own in (of_class, alone))
        pairs, place = np.unique(np.concatenate([*of_class, *alone]), return_inverse=True)
        positives, negatives = (np.bincount(own, minlength=pairs.size) for own in (place[:number], place[number:]))
        scores = np.stack([pairs // BINS, pairs % BINS], axis=1)
        generator = generator_of(self._scope.seed, NAME, "change", AUROC.metric.name, c)
        figures = average_precision_of_counts, auroc
        draws = [
            [figure(*own) - figure(*other) for figure in figures]
            for own, other in paired_ranking_draws(scores, positives, negatives, generator)
        ]
        own, other = (_counted(of_one, positives, negatives) for of_one in scores.T)

        def estimate(figure: Callable[..., NDArray[np.float64]], parts: Sequence[NDArray[np.float64]]) -> Estimate:
            value, together = float(figure(*own) - figure(*other)), np.concatenate(parts)
            return Estimate(value, spanned(value, together), n, together, lowest=-np.inf)

        return tuple(estimate(figure, parts) for figure, parts in zip(figures, zip(*draws, strict=True), strict=True))


def _codes(log_odds: NDArray[np.float32]) -> Ints:
    """int64 in [0, BINS): the step in which they are counted."""
    return np.round((log_odds.astype(np.float64).clip(-LARGEST, LARGEST) + LARGEST) / STEP).astype(np.int64)


def _counted(scores: Ints, *counts: Ints) -> list[Ints]:
    """Counts by score, ascending, from counts of things that may have the same score."""
    found, place = np.unique(scores, return_inverse=True)
    return [np.bincount(place, weights=own, minlength=found.size) for own in counts]


class _Tally(Tally):
    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        classes = len(scope.bank.classes)
        self._scores: dict[int, NDArray[np.int64]] = {}
        self._pictures, self._taken = np.zeros((2, classes), np.int64), np.zeros(classes, np.int64)
        self._right = np.zeros((2, classes), np.int64)
        self._probability = np.zeros((2, classes))

    def add(self, table: pa.Table) -> None:
        for place, variant in enumerate((rows.CLEAN, NAME)):
            own = table.filter(pc.equal(table["variant"], variant))
            label = own["class"].to_numpy().astype(np.int64)
            self._pictures[place] += self._count(label)
            self._right[place] += self._count(label[own["correct"].cast(pa.int8()).to_numpy() == 1])
            self._add_scores(place, label, own["log_odds"].to_numpy())
            if variant == NAME:
                probability = own["probability"].cast(pa.float64()).to_numpy()
                for sums, values in zip(self._probability, (probability, probability**2), strict=True):
                    sums += np.bincount(label, weights=values, minlength=sums.size)
            else:
                said = self._scope.of_output[own["predicted"].to_numpy()]
                self._taken += self._count(said[said >= 0])

    def _count(self, classes: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.bincount(classes, minlength=self._taken.size)

    def _add_scores(self, place: int, label: NDArray[np.int64], log_odds: NDArray[np.float32]) -> None:
        code = _codes(log_odds)
        for c in np.unique(label).tolist():
            counts = self._scores.setdefault(c, np.zeros((2, BINS), np.int64))
            counts[place] += np.bincount(code[label == c], minlength=BINS)

    def section(self) -> Section:
        entries = in_order(self._entries(), self._scope.bank)
        finding = "Pictures with the cue alone are taken for the class more often than other pictures"
        return Section(
            name=NAME,
            title=SpuriousOnly.title,
            answer=flagged_in_words(entries, EXCESS.metric.name, finding),
            method=METHOD,
            metrics=SpuriousOnly.metrics,
            entries=entries,
        )

    def _entries(self) -> Iterator[Entry]:
        bank, seen = self._scope.bank, self._pictures[1]
        of = [c for c in self._scope.classes if seen[c]]
        rates = {c: self._rate(FALSE_TRIGGER, c, self._false_triggers(c)) for c in of}
        others = {c: self._rate(EXCESS, c, self._others_taken(c)) for c in of}
        p_values = {c: more_often_right_apart(self._false_triggers(c), self._others_taken(c)) for c in of}
        ranked = {c: self._ranked(c) for c in of}
        yield from AVERAGE_PRECISION.entries(bank, {c: own[0] for c, own in ranked.items()})
        yield from AUROC.entries(bank, {c: own[1] for c, own in ranked.items()})
        yield from FALSE_TRIGGER.entries(bank, rates)
        yield from EXCESS.entries(bank, {c: less(rates[c], others[c]) for c in of}, None, p_values)
        yield from PROBABILITY.entries(bank, {c: self._mean_probability(c) for c in of})

    def _false_triggers(self, c: int) -> NDArray[np.int64]:
        """int64 [2]: spurious-only pictures of a class that are not taken for it, and that are."""
        return np.array([self._pictures[1, c] - self._right[1, c], self._right[1, c]], dtype=np.int64)

    def _others_taken(self, c: int) -> NDArray[np.int64]:
        """int64 [2]: the audit's pictures of other classes that are not taken for a class, and that are."""
        taken, others = self._taken[c] - self._right[0, c], self._pictures[0].sum() - self._pictures[0, c]
        return np.array([others - taken, taken], dtype=np.int64)

    def _rate(self, reading: Reading, c: int, outcomes: NDArray[np.int64]) -> Estimate:
        return share(outcomes, self._generator(reading, c))

    def _mean_probability(self, c: int) -> Estimate:
        total, squares = self._probability[:, c]
        return average(total, squares, int(self._pictures[1, c]), 0.0, self._generator(PROBABILITY, c))

    def _ranked(self, c: int) -> tuple[Estimate, Estimate]:
        """Average precision and AUROC of a class's pictures above its spurious-only ones, from the same draws."""
        counts = self._scores[c]
        n = int(counts.sum(axis=1).min())
        if not n:
            return NOTHING, NOTHING
        positives, negatives = counts[:, counts.any(axis=0)]
        drawn = ranking_draws(positives, negatives, self._generator(AUROC, c))

        def estimate(figure: Callable[..., NDArray[np.float64]]) -> Estimate:
            value, draws = float(figure(positives, negatives)), figure(*drawn)
            return Estimate(value, spanned(value, draws), n, draws, lowest=0)

        return estimate(average_precision_of_counts), estimate(auroc)

    def _generator(self, reading: Reading, c: int) -> np.random.Generator:
        return generator_of(self._scope.seed, NAME, reading.metric.name, c)


MEASUREMENT = SpuriousOnly()
