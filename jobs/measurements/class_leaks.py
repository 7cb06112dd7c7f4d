"""Features that are spurious for one class and core for another: where they draw its pictures away.

In Spuriosity Rankings (Moayeri et al., NeurIPS 2023) 63.8 % of the spurious features are core for another class, and
15.7 % of the classes have a negative gap: pictures that show more of the cue are right less often, as the cue stands
for another class that is in the picture too. A leak is the rise of answers for that other class from the pictures that
show least of the feature to those that show most.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from jobs.figures import Estimate, counted, difference, generator_of, less, points, share
from jobs.measurement import Batch, Change, Changes, Measurement, Parameters, Scope, Tally
from jobs.sections import Entry, Metric, Section, adjusted
from jobs.spread import Spreads
from jobs.spurious_activations import (
    COLUMN,
    READS,
    CleanPictures,
    clean_pictures,
    noted,
    shared_pictures,
    spurious_moments,
)
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

    def changes(self, scopes: tuple[Scope, Scope], parameters: LeakParameters) -> tuple[Changes]:
        """Of leaks and gaps: both audits have the same pictures at either end of a feature."""
        return (LeakChanges(scopes, parameters),)


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


class LeakSpreads:
    """Over the z-scores of each feature: whether it drew pictures away, and whether they are right."""

    def __init__(self, bank: Bank, classes: Sequence[int], audits: int = 1) -> None:
        """Of what one audit or two made of the same pictures, which are counted by both outcomes then."""
        self.pairs = pairs_of(bank, classes)
        self.features = list(dict.fromkeys(Leaking(*pair[:3]) for pair in self.pairs))
        self._of_pair = np.array(self.pairs, dtype=np.int64).reshape(-1, len(Pair._fields)).T
        self._of_feature = np.array(self.features, dtype=np.int64).reshape(-1, len(Leaking._fields)).T
        self.moments = spurious_moments(bank)
        self.leaks, self.gaps = (Spreads(len(of), 2**audits) for of in (self.pairs, self.features))

    def look(self, pictures: CleanPictures) -> None:
        """Take in activations, before `add`."""
        self.moments.update(pictures.class_index, pictures.activations)

    def add(self, audits: Sequence[tuple[CleanPictures, NDArray[np.int32]]]) -> None:
        """Count pictures: as each audit has them, with the class in the bank of each of its outputs."""
        own, _ = audits[0]
        scores = self.moments.z_scores(own.class_index, own.activations)
        classes, places, _, others = self._of_pair
        pair, picture = _meeting(classes, own.class_index)
        drawn = [of_output[seen.predicted][picture] == others[pair] for seen, of_output in audits]
        self.leaks.add(pair, scores[picture, places[pair]], _joint(drawn))
        classes, places, _ = self._of_feature
        feature, picture = _meeting(classes, own.class_index)
        right = [seen.correct[picture] for seen, _ in audits]
        self.gaps.add(feature, scores[picture, places[feature]], _joint(right))


def _joint(outcomes: Sequence[NDArray[np.bool_]]) -> NDArray[np.int64]:
    """Outcomes of one audit or two as one number, the first's the higher digit."""
    joint = np.zeros(outcomes[0].size, dtype=np.int64)
    for own in outcomes:
        joint = 2 * joint + own
    return joint


class LeakChanges(Changes):
    """Compares both ends of each feature picture by picture."""

    reads = READS
    looks = True

    def __init__(self, scopes: tuple[Scope, Scope], parameters: LeakParameters) -> None:
        self._scopes, self._ends = scopes, parameters.ends
        self._spreads = LeakSpreads(scopes[0].bank, scopes[0].classes, audits=2)

    def look(self, first: pa.Table, second: pa.Table) -> None:
        """See `Changes`."""
        self._spreads.look(shared_pictures(first, second)[0])

    def add(self, first: pa.Table, second: pa.Table) -> None:
        """See `Changes`."""
        pictures = shared_pictures(first, second)
        self._spreads.add([(own, scope.of_output) for own, scope in zip(pictures, self._scopes, strict=True)])

    def found(self) -> Iterator[Change]:
        """See `Changes`."""
        names = self._scopes[0].bank.classes
        for i, pair in enumerate(self._spreads.pairs):
            if (ends := self._spreads.leaks.of(i).ends(self._ends)) is not None:
                rise = self._difference(LEAK, ends, (pair.class_index, pair.feature, pair.other))
                yield Change(LEAK, names[pair.class_index], rise, pair.feature, names[pair.other])
        for i, (class_index, _, feature) in enumerate(self._spreads.features):
            if (ends := self._spreads.gaps.of(i).ends(self._ends)) is not None:
                gap = self._difference(GAP, ends, (class_index, feature, class_index))
                yield Change(GAP, names[class_index], gap, feature)

    def _difference(
        self, metric: str, ends: tuple[NDArray[np.int64], NDArray[np.int64]], keys: tuple[int, ...]
    ) -> Estimate:
        seed = self._scopes[0].seed
        low, high = (
            difference(own.reshape(2, 2), generator_of(seed, "change", metric, *keys, i)) for i, own in enumerate(ends)
        )
        return less(high, low)


class LeakTally(Tally):
    """Moments of the class's activations, then answers over their z-scores."""

    reads: ClassVar[tuple[str, ...]] = READS

    def __init__(self, scope: Scope, parameters: LeakParameters) -> None:
        self._scope, self._parameters = scope, parameters
        self._spreads = LeakSpreads(scope.bank, scope.classes)
        self._looked = False

    def add(self, table: pa.Table) -> None:
        """See `Tally`."""
        own = clean_pictures(table)
        if self._looked:
            self._spreads.add([(own, self._scope.of_output)])
        else:
            self._spreads.look(own)

    def again(self) -> bool:
        """Once more, when the moments are known."""
        wanted = not self._looked and bool(self._spreads.pairs) and bool(self._spreads.moments.count.any())
        self._looked = True
        return wanted

    def section(self) -> Section:
        """See `Tally`."""
        names, entries = self._scope.bank.classes, list[Entry]()
        for i, pair in enumerate(self._spreads.pairs):
            name, other = names[pair.class_index], names[pair.other]
            if (ends := self._spreads.leaks.of(i).ends(self._parameters.ends)) is None:
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
        for i, (class_index, _, feature) in enumerate(self._spreads.features):
            if (ends := self._spreads.gaps.of(i).ends(self._parameters.ends)) is not None:
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
