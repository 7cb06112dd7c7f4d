"""Features that are spurious for one class and core for another: where they draw its pictures away.

In Spuriosity Rankings (Moayeri et al., NeurIPS 2023) 63.8 % of the spurious features are core for another class, and
15.7 % of the classes have a negative gap: pictures that show more of the cue are right less often, as the cue stands
for another class that is in the picture too. A leak is the rise of answers for that other class from the pictures that
show least of the feature to those that show most.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from jobs.figures import Estimate, counted, generator_of, less, points, share
from jobs.measurement import Batch, Measurement, Parameters, Scope, Tally
from jobs.sections import Entry, Metric, Section, adjusted
from jobs.spread import Spreads
from jobs.spurious_activations import COLUMN, READS, clean_pictures, noted, spurious_moments
from models.bank import Bank
from models.statistics import more_often_right_apart

LEAK, GAP = "leak", "feature_gap"
MOST_OTHERS = 5
"""Classes looked at per feature: those for which it is most important."""

METRICS = (
    Metric(
        name=LEAK,
        title="Leak to the class whose core feature it is",
        unit="points",
        worse="higher",
        about="Answers for the other class where the feature is strongest less those where it is weakest.",
    ),
    Metric(
        name=GAP,
        title="Gap of this feature",
        unit="points",
        worse="neither",
        about="Accuracy where the feature is strongest less that where it is weakest; negative where it misleads.",
    ),
)


class Pair(NamedTuple):
    """A feature that is spurious for one class, by its place among those, and core for another."""

    class_index: int
    place: int
    feature: int
    other: int


class Leaking(NamedTuple):
    """The same feature whatever the other class."""

    class_index: int
    place: int
    feature: int


class LeakParameters(Parameters):
    """Of `class-leaks`."""

    ends: float = Field(0.2, gt=0, le=0.5, description="Share of a class's pictures at either end.")


class ClassLeaks(Measurement):
    """Needs no further forward."""

    name: ClassVar[str] = "class-leaks"
    title: ClassVar[str] = "Class leaks"
    summary: ClassVar[str] = (
        "How much more often pictures are given another class where they show a spurious feature that is core for it."
    )
    needs: ClassVar[tuple[str, ...]] = ("features that are spurious for one class and core for another",)
    parameters: ClassVar[type[Parameters]] = LeakParameters
    default: ClassVar[bool] = True
    columns: ClassVar[tuple[pa.Field, ...]] = (COLUMN,)
    metrics: ClassVar[tuple[Metric, ...]] = METRICS

    def noted(self, batch: Batch, parameters: Any, scope: Scope) -> dict[str, Any]:
        """The activations of spurious features."""
        return noted(batch)

    def tally(self, scope: Scope, parameters: LeakParameters) -> LeakTally:
        """Sums up in two passes, as `natural-pictures` does."""
        return LeakTally(scope, parameters)


MEASUREMENT = ClassLeaks()


def pairs_of(bank: Bank, classes: Sequence[int]) -> list[Pair]:
    """All pairs among these classes, by class, feature and importance for the other class."""
    core_for: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for other in classes:
        for feature in bank.core(other):
            core_for[feature.feature_index].append((-feature.importance, other))
    return [
        Pair(class_index, place, feature.feature_index, other)
        for class_index in classes
        for place, feature in enumerate(bank.spurious(class_index))
        for _, other in sorted(core_for[feature.feature_index])[:MOST_OTHERS]
    ]


class LeakTally(Tally):
    """Moments of the class's activations, then answers over their z-scores."""

    reads: ClassVar[tuple[str, ...]] = READS

    def __init__(self, scope: Scope, parameters: LeakParameters) -> None:
        self._scope, self._parameters = scope, parameters
        self._pairs = pairs_of(scope.bank, scope.classes)
        self._features = list(dict.fromkeys(Leaking(*pair[:3]) for pair in self._pairs))
        self._of_pair = np.array(self._pairs, dtype=np.int64).reshape(-1, len(Pair._fields)).T
        self._of_feature = np.array(self._features, dtype=np.int64).reshape(-1, len(Leaking._fields)).T
        self._moments = spurious_moments(scope.bank)
        self._leaks: Spreads | None = None
        self._gaps = Spreads(len(self._features))

    def add(self, table: pa.Table) -> None:
        """See `Tally`."""
        own = clean_pictures(table)
        if self._leaks is None:
            self._moments.update(own.class_index, own.activations)
            return
        scores = self._moments.z_scores(own.class_index, own.activations)
        answered = self._scope.of_output[own.predicted]
        classes, places, _, others = self._of_pair
        pair, picture = _meeting(classes, own.class_index)
        self._leaks.add(pair, scores[picture, places[pair]], answered[picture] == others[pair])
        classes, places, _ = self._of_feature
        feature, picture = _meeting(classes, own.class_index)
        self._gaps.add(feature, scores[picture, places[feature]], own.correct[picture])

    def again(self) -> bool:
        """Once more, when the moments are known."""
        if self._leaks is not None:
            return False
        self._leaks = Spreads(len(self._pairs))
        return bool(self._pairs) and bool(self._moments.count.any())

    def section(self) -> Section:
        """See `Tally`."""
        names, entries = self._scope.bank.classes, list[Entry]()
        for i, pair in enumerate(self._pairs if self._leaks else ()):
            name, other = names[pair.class_index], names[pair.other]
            if self._leaks is None or (ends := self._leaks.of(i).ends(self._parameters.ends)) is None:
                continue
            rise = self._difference(LEAK, ends, (pair.class_index, pair.feature, pair.other))
            figure = rise.figure(
                "Where they show most of this feature, answers for the other class are more frequent by",
                f"of the pictures of {name} than where they show least, the other class being {other}; higher is worse",
                points,
            )
            p_value = more_often_right_apart(ends[1], ends[0]) if rise.enough else None
            entries.append(
                Entry(metric=LEAK, of=name, feature=pair.feature, part=other, figure=figure, p_value=p_value)
            )
        for i, (class_index, _, feature) in enumerate(self._features):
            if (ends := self._gaps.of(i).ends(self._parameters.ends)) is not None:
                name = names[class_index]
                figure = self._difference(GAP, ends, (class_index, feature, class_index)).figure(
                    "Accuracy where this feature is strongest less that where it is weakest is",
                    f"on the pictures of {name}; negative where the feature misleads",
                    points,
                )
                entries.append(Entry(metric=GAP, of=name, feature=feature, figure=figure))
        found = adjusted(entries)
        return Section(
            name=ClassLeaks.name,
            title=ClassLeaks.title,
            answer=_answer(found),
            method=(
                "A feature that is spurious for a class and core for another may draw its pictures to that other. "
                "Compared are the pictures of the class that show most of the feature and those that show least, "
                "nothing being changed in any (after Spuriosity Rankings, NeurIPS 2023).",
                "The rise of answers for the other class is tested by Fisher's exact test, one-sided. A rise may also "
                "come from pictures that show objects of both classes.",
            ),
            metrics=METRICS,
            entries=tuple(found),
            withheld=None if found else "No spurious feature of an audited class is core for another.",
        )

    def _difference(
        self, metric: str, ends: tuple[NDArray[np.int64], NDArray[np.int64]], keys: tuple[int, ...]
    ) -> Estimate:
        low, high = (share(own, generator_of(self._scope.seed, metric, *keys, i)) for i, own in enumerate(ends))
        return less(high, low)


def _meeting(of: NDArray[np.int64], pictures: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All pairs of a thing and a picture of one class, by their indices.

    Args:
        of: int64 [M], ascending, the classes of some things.
        pictures: int64 [N], the classes of some pictures.
    """
    first, last = (np.searchsorted(of, pictures, side) for side in ("left", "right"))
    number = last - first
    picture = np.arange(len(pictures)).repeat(number)
    before = (number.cumsum() - number)[picture]
    return first[picture] + np.arange(picture.size) - before, picture


def _answer(entries: list[Entry]) -> str:
    leaks = [entry for entry in entries if entry.flagged]
    if not any(entry.p_value is not None for entry in entries):
        return "No class has pictures enough for its leaks to be tested."
    if not leaks:
        return "No leak from one class to another was shown."
    worst = max(leaks, key=lambda entry: entry.figure.value or 0)
    gaps = {(e.of, e.feature): e.figure for e in entries if e.metric == GAP}
    negative = {e.of for e in leaks if (high := gaps[e.of, e.feature].high) is not None and high < 0}
    many = "1 leak was" if len(leaks) == 1 else f"{len(leaks):,} leaks were"
    told = f"{many} shown, the largest from {worst.of} to {worst.part}."
    if negative:
        told += f" This explains why pictures of {counted(len(negative))} are right less often where the feature shows."
    return told
