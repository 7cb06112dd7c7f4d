"""What remains of an audit's rows: counts of outcome patterns per class and feature, whatever the number of pictures.

Every outcome is right or wrong, and the variants of a picture are compared with one another on that picture. So the
figures need only how often each *pattern* of outcomes occurs, e.g. (clean right, control right, tested wrong).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs import rows
from jobs.outcomes import CONDITIONS, Floats, Ints, Keys, Outcomes
from models.bank import Bank

WORST = 3
"""Pictures remembered per spurious feature: those where noise on it costs the class most probability."""

QUANTITIES = (
    "energy",
    "control_energy",
    "overlap",
    "evidence",
    "squared_evidence",
)
"""Summed per key: ||x' - x||_2 of the tested variant and of its control; the share of the mask both cover; the evidence
lost, which is the log-odds of the class under the control less those under the tested mask, and its square."""


LISTED = 100
"""Skipped samples remembered by name; all are counted."""


@dataclass(frozen=True)
class SkippedSample:
    """A sample that was not audited, with the reason as a code and in words."""

    sample: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Worst:
    """A picture on which noise on one feature costs the class much probability.

    Attributes:
        row, sample: which picture.
        clean, control, tested: softmax probability of the class under each, in [0, 1].
        lost: whether the classifier is right with the control and wrong with the tested mask.
    """

    row: int
    sample: str
    clean: float
    control: float
    tested: float
    lost: bool

    def order(self) -> tuple[bool, float, int]:
        """Sorts the worst first; ties by position in the data set."""
        return (not self.lost, self.tested - self.control, self.row)


@dataclass(frozen=True)
class WorstSwap:
    """A picture whose class loses much probability to the spurious features of another.

    Attributes:
        worst: the picture; its control shows the features of another picture of the class, tested those of another.
        same, other: rows of the pictures whose features these are.
    """

    worst: Worst
    same: int
    other: int

    @property
    def rows(self) -> tuple[int, int, int]:
        """The picture and the two that lend."""
        return self.worst.row, self.same, self.other


class Counts(Keys):
    """Sums over the tables added so far; their size depends on the bank alone.

    Attributes:
        skipped: samples by reason code.
        skipped_samples: the first of them.
        ran_on: shards by what they were computed on, as JSON.
        worst: per spurious (class, feature), the pictures where it matters most, first the worst.
        worst_swaps: per class, the same of swaps.
    """

    def __init__(self, bank: Bank) -> None:
        super().__init__(bank)
        spurious = [f for f in bank.manifest.features if f.label == "spurious"]
        self._bars = np.full(self.number, -np.inf)
        """Per key the `_rank` that a picture must not exceed to be remembered; of most keys none is."""
        self._bars[[self.feature(f.class_index, f.feature_index) for f in spurious]] = np.inf
        self._bars[[self.swap(class_index) for class_index in range(self.classes)]] = np.inf
        self._patterns = np.zeros((self.number, 16), dtype=np.int64)
        self._sums = np.zeros((self.number, len(QUANTITIES)))
        self.skipped: Counter[str] = Counter()
        self.skipped_samples: list[SkippedSample] = []
        self.ran_on: Counter[str] = Counter()
        self.worst: dict[tuple[int, int], list[Worst]] = {}
        self.worst_swaps: dict[int, list[WorstSwap]] = {}

    @classmethod
    def of(cls, bank: Bank, tables: Iterable[pa.Table]) -> Counts:
        """The counts of some shards' tables, taken one at a time."""
        counts = cls(bank)
        for table in tables:
            counts.add(table)
        return counts

    def outcomes(self, keys: Sequence[int], *conditions: str) -> Ints:
        """Pictures of some keys together by the outcomes of some of `CONDITIONS`.

        Returns:
            int64 [2] * len(conditions), the axes in the order asked for; 0 is wrong, 1 right.
        """
        pattern = self._patterns[np.array(keys, dtype=np.int64)].sum(axis=0).reshape(2, 2, 2, 2)
        kept: Ints = np.einsum(pattern, range(4), [CONDITIONS.index(condition) for condition in conditions])
        return kept

    def mean(self, keys: Sequence[int], quantity: str) -> float:
        """Mean of one of `QUANTITIES` over the pictures of some keys together; NaN where there are none."""
        n = self.pictures(keys)
        return self.total(keys, quantity) / n if n else float("nan")

    def total(self, keys: Sequence[int], quantity: str) -> float:
        """Sum of one of `QUANTITIES` over the pictures of some keys together."""
        return float(self._sums[np.array(keys, dtype=np.int64), QUANTITIES.index(quantity)].sum())

    def pictures(self, keys: Sequence[int]) -> int:
        """Pictures of some keys together."""
        return int(self._patterns[np.array(keys, dtype=np.int64)].sum())

    def add(self, table: pa.Table) -> None:
        """Add the rows of one shard; all rows of a sample must be in it."""
        if (ran_on := (table.schema.metadata or {}).get(rows.RAN_ON)) is not None:
            self.ran_on[ran_on.decode()] += 1
        skipped = table.filter(pc.equal(table["variant"], rows.SKIPPED))
        for entry in pc.value_counts(skipped["reason"]).to_pylist():
            self.skipped[entry["values"]] += entry["counts"]
        for listed in skipped.slice(0, LISTED - len(self.skipped_samples)).to_pylist():
            self.skipped_samples.append(SkippedSample(listed["sample"], listed["reason"], listed["detail"]))
        for found in self.outcomes_of(table):
            self._accumulate(found)
            if found.variant == rows.SWAP_OTHER:
                self._remember_swaps(found)
            elif found.variant == rows.FEATURE:
                self._remember_worst(found)

    def _accumulate(self, found: Outcomes) -> None:
        keys, tested, control = found.keys, found.tested, found.control
        self._patterns += np.bincount(keys * 16 + found.patterns, minlength=self.number * 16).reshape(-1, 16)
        quantities = (tested.energy, control.energy, tested.overlap, found.evidence, found.evidence**2)
        for index, values in enumerate(quantities):
            self._sums[:, index] += np.bincount(keys, weights=values, minlength=self.number)

    def _remember_worst(self, outcomes: Outcomes) -> None:
        tested = outcomes.tested
        for i, found in _worst_of_each(outcomes, self._bars):
            key = int(tested.class_index[i]), int(tested.feature[i])
            self.worst[key] = known = sorted([*self.worst.get(key, []), found], key=Worst.order)[:WORST]
            self._lower_bar(int(outcomes.keys[i]), known)

    def _remember_swaps(self, outcomes: Outcomes) -> None:
        tested, control = outcomes.tested, outcomes.control
        for i, found in _worst_of_each(outcomes, self._bars):
            key, swap = int(tested.class_index[i]), WorstSwap(found, int(control.donor[i]), int(tested.donor[i]))
            self.worst_swaps[key] = known = sorted(
                [*self.worst_swaps.get(key, []), swap], key=lambda known: known.worst.order()
            )[:WORST]
            self._lower_bar(int(outcomes.keys[i]), [own.worst for own in known])

    def _lower_bar(self, key: int, known: Sequence[Worst]) -> None:
        if len(known) == WORST:
            self._bars[key] = float(_rank(np.array(known[-1].lost), np.array(known[-1].tested - known[-1].control)))


def _rank(lost: NDArray[np.bool_], gain: Floats) -> Floats:
    """Lower is worse, as in `Worst.order`, but for ties: a gain in probability is in [-1, 1]."""
    return np.where(lost, 0.0, 4.0) + gain


def _worst_of_each(outcomes: Outcomes, bars: Floats) -> Iterator[tuple[int, Worst]]:
    """Of each key the `WORST` pictures that lose probability and are below its bar, by their index."""
    codes, clean, tested, control = outcomes.keys, outcomes.clean, outcomes.tested, outcomes.control
    lost = (control.correct == 1) & (tested.correct == 0)
    gain = tested.probability - control.probability
    among = np.flatnonzero((gain < 0) & (_rank(lost, gain) <= bars[codes]))
    order = among[np.lexsort((tested.row[among], gain[among], ~lost[among], codes[among]))]
    first_of_code = np.searchsorted(codes[order], codes[order])
    for i in order[np.arange(order.size) - first_of_code < WORST].tolist():
        yield (
            i,
            Worst(
                row=int(tested.row[i]),
                sample=tested.sample(i),
                clean=float(clean.probability[i]),
                control=float(control.probability[i]),
                tested=float(tested.probability[i]),
                lost=bool(lost[i]),
            ),
        )
