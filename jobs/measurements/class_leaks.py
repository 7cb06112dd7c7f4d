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

from jobs.figures import Estimate, generator_of, less, points, share
from jobs.measurement import Batch, Measurement, Parameters, Scope, Tally
from jobs.sections import Entry, Metric, Section, adjusted
from jobs.spread import Spread
from jobs.spurious_activations import COLUMN, by_class, noted
from models.bank import Bank
from models.moments import Moments
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

    def __init__(self, scope: Scope, parameters: LeakParameters) -> None:
        self._scope, self._parameters = scope, parameters
        self._pairs = pairs_of(scope.bank, scope.classes)
        self._moments: dict[int, Moments] = {}
        self._of_class: dict[int, list[Pair]] = defaultdict(list)
        for pair in self._pairs:
            self._of_class[pair.class_index].append(pair)
        self._leaks: dict[Pair, Spread] | None = None
        self._gaps: dict[tuple[int, int], Spread] = {}

    def add(self, table: pa.Table) -> None:
        """See `Tally`."""
        for own in by_class(table):
            pairs = self._of_class.get(own.class_index, [])
            if not pairs:
                continue
            if self._leaks is None:
                known = self._moments.get(own.class_index, Moments.empty(own.activations.shape[1]))
                self._moments[own.class_index] = known.update(own.activations)
                continue
            moments = self._moments[own.class_index]
            scores = (own.activations - moments.mean) / np.where(moments.std > 0, moments.std, 1)
            answered = self._scope.of_output[own.predicted]
            for pair in pairs:
                self._leaks[pair].add(scores[:, pair.place], answered == pair.other)
            for place in {pair.place for pair in pairs}:
                self._gaps[own.class_index, place].add(scores[:, place], own.correct)

    def again(self) -> bool:
        """Once more, when the moments are known."""
        if self._leaks is not None:
            return False
        self._leaks = {pair: Spread() for pair in self._pairs if pair.class_index in self._moments}
        self._gaps = {(pair.class_index, pair.place): Spread() for pair in self._leaks}
        return bool(self._leaks)

    def section(self) -> Section:
        """See `Tally`."""
        names, entries = self._scope.bank.classes, list[Entry]()
        for pair, spread in (self._leaks or {}).items():
            name, other = names[pair.class_index], names[pair.other]
            if (ends := spread.ends(self._parameters.ends)) is None:
                continue
            rise = self._difference(LEAK, ends, pair)
            figure = rise.figure(
                "Where they show most of this feature, answers for the other class are more frequent by",
                f"of the pictures of {name} than where they show least, the other class being {other}; higher is worse",
                points,
            )
            p_value = more_often_right_apart(ends[1], ends[0]) if rise.enough else None
            entries.append(
                Entry(metric=LEAK, of=name, feature=pair.feature, part=other, figure=figure, p_value=p_value)
            )
        features = {(pair.class_index, pair.place): pair.feature for pair in self._pairs}
        for (class_index, place), spread in self._gaps.items():
            if (ends := spread.ends(self._parameters.ends)) is not None:
                feature, name = features[class_index, place], names[class_index]
                figure = self._difference(GAP, ends, Pair(class_index, place, feature, class_index)).figure(
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

    def _difference(self, metric: str, ends: tuple[NDArray[np.int64], NDArray[np.int64]], pair: Pair) -> Estimate:
        keys = (pair.class_index, pair.feature, pair.other)
        low, high = (share(own, generator_of(self._scope.seed, metric, *keys, i)) for i, own in enumerate(ends))
        return less(high, low)


def _answer(entries: list[Entry]) -> str:
    leaks = [entry for entry in entries if entry.flagged]
    if not leaks:
        return "No leak from one class to another was shown."
    worst = max(leaks, key=lambda entry: entry.figure.value or 0)
    gaps = {(e.of, e.feature): e.figure for e in entries if e.metric == GAP}
    negative = {e.of for e in leaks if (high := gaps[e.of, e.feature].high) is not None and high < 0}
    told = f"{len(leaks):,} leaks were shown, the largest from {worst.of} to {worst.part}."
    if negative:
        told += f" They explain why {len(negative):,} of these classes do worse where the feature shows."
    return told
