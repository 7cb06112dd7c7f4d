"""A CSV of the schema of Salient ImageNet's release, made up so that its counts are the published ones.

The release itself may not be passed on. Which class has which features, who answered what and why is invented here;
only the totals are those that `tests/models/test_salient_imagenet.py` states.
"""

from __future__ import annotations

import csv
import random
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from models.vote_rows import COLUMNS

PLACES = ("main_object", "separate_object", "background")

SPURIOUS_VOTES = {
    (0, 0, 5): 75,
    (0, 1, 4): 6,
    (0, 2, 3): 7,
    (0, 3, 2): 49,
    (0, 4, 1): 104,
    (0, 5, 0): 44,
    (1, 0, 4): 37,
    (1, 1, 3): 8,
    (1, 2, 2): 52,
    (1, 3, 1): 38,
    (1, 4, 0): 35,
    (2, 0, 3): 98,
    (2, 1, 2): 14,
    (2, 2, 1): 37,
    (2, 3, 0): 26,
}
"""Pairs by votes for main object, separate object and background: one way to meet all published totals at once."""

CORE_VOTES = {(3, 0, 2): 47, (3, 1, 1): 105, (3, 2, 0): 21, (4, 1, 0): 382, (4, 0, 1): 110, (5, 0, 0): 3705}
CLASSES_BY_SPURIOUS = {5: 15, 4: 22, 3: 32, 2: 83, 1: 205, 0: 643}
SPURIOUS_BY_RANK = (84, 100, 141, 148, 157)
CONFIDENCES = {5: 10_937, 4: 10_572, 3: 2_547, 2: 830, 1: 114}
FEATURES_SPURIOUS_ONLY, FEATURES_BOTH, FEATURES_CORE_ONLY = 109, 192, 1161
PAIRS_OF_SPURIOUS_ONLY = 236
BUSY, OTHERS, PAIRS_WITH_THREE_BUSY = 10, 255, 4575
TIES = 13

Row = dict[str, str]


def rows() -> list[Row]:
    """25,000 rows, sorted by class."""
    made: list[Row] = []
    workers = _workers()
    for (class_index, rank, feature), places, confidences in _pairs():
        for place, confidence, worker in zip(places, confidences, next(workers), strict=True):
            values = (
                str(worker),
                f"n{10_000_000 + class_index}",
                str(class_index),
                str(feature),
                str(rank),
                place,
                f"{confidence:.1f}",
                f'it lies, says {worker}, "mostly"\non the {place}',
            )
            made.append(dict(zip(COLUMNS, values, strict=True)))
    return made


def write(path: Path, content: Sequence[Row], columns: Sequence[str] = COLUMNS) -> Path:
    """Write rows as the release has them."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(content)
    return path


def pair_rows(
    class_index: int, feature: int, rank: int, votes: tuple[int, int, int], wordnet_id: str | None = None
) -> list[Row]:
    """The rows of one pair; votes for main object, separate object and background."""
    places = [place for place, number in zip(PLACES, votes, strict=True) for _ in range(number)]
    name = wordnet_id or f"n{10_000_000 + class_index}"
    return [
        dict(zip(COLUMNS, (str(w), name, str(class_index), str(feature), str(rank), p, "4.0", "because"), strict=True))
        for w, p in enumerate(places)
    ]


def _pairs() -> Iterator[tuple[tuple[int, int, int], list[str], list[int]]]:
    """((class, rank, feature), places, confidences) of every pair."""
    shuffle = random.Random(0).shuffle
    spurious = [votes for votes, number in SPURIOUS_VOTES.items() for _ in range(number)]
    core = [votes for votes, number in CORE_VOTES.items() for _ in range(number)]
    shuffle(spurious)
    shuffle(core)
    confidences = _Confidences()
    for class_index, ranks, features in _classes():
        for rank in range(1, 6):
            votes = (spurious if rank in ranks else core).pop()
            places, levels = confidences.answer(votes)
            yield (class_index, rank, features[rank - 1]), places, levels


def _classes() -> Iterator[tuple[int, set[int], list[int]]]:
    """(class, its spurious ranks, its features by rank)."""
    left = dict(enumerate(SPURIOUS_BY_RANK, start=1))
    numbers = [number for number, classes in CLASSES_BY_SPURIOUS.items() for _ in range(classes)]
    channels = sorted([*random.Random(1).sample(range(1, 2047), 1460), 0, 2047])
    random.Random(2).shuffle(channels)
    both = channels[FEATURES_SPURIOUS_ONLY : FEATURES_SPURIOUS_ONLY + FEATURES_BOTH]
    lonely = channels[:FEATURES_SPURIOUS_ONLY]
    core = deque(channels[FEATURES_SPURIOUS_ONLY:])
    assert len(core) == FEATURES_BOTH + FEATURES_CORE_ONLY
    spurious_pairs = 0
    for class_index, number in enumerate(numbers):
        ranks = set(sorted(left, key=lambda rank: -left[rank])[:number])
        features: list[int] = []
        for rank in range(1, 6):
            if rank in ranks:
                left[rank] -= 1
                source = lonely if spurious_pairs < PAIRS_OF_SPURIOUS_ONLY else both
                features.append(source[spurious_pairs % len(source)])
                spurious_pairs += 1
            else:
                features.append(-1)
        for place, feature in enumerate(features):
            if feature < 0:
                chosen = next(channel for channel in core if channel not in features)
                core.remove(chosen)
                core.append(chosen)
                features[place] = chosen
        yield class_index, ranks, features


class _Confidences:
    """Deals out the confidences: thirteen ties and one flip among narrow votes, elsewhere the same for all five."""

    def __init__(self) -> None:
        left = dict(CONFIDENCES)
        self._narrow = [([4, 3, 3], [5, 5])] * TIES + [([3, 3, 3], [5, 5])]
        for many, few in self._narrow:
            for level in (*many, *few):
                left[level] -= 1
        levels = [level for level, number in left.items() for _ in range(number)]
        fives = [levels[start : start + 5] for start in range(0, len(levels), 5)]
        self._mixed = [five for five in fives if len(set(five)) > 1]
        self._even = [five for five in fives if len(set(five)) == 1]

    def answer(self, votes: tuple[int, int, int]) -> tuple[list[str], list[int]]:
        main, separate, background = votes
        others = [PLACES[1]] * separate + [PLACES[2]] * background
        mains = [PLACES[0]] * main
        if len(mains) in (2, 3) and self._narrow:
            many, few = self._narrow.pop()
            return (mains + others, many + few) if main == 3 else (others + mains, many + few)
        if main == 5 and self._mixed:
            return mains, self._mixed.pop()
        return mains + others, self._even.pop()


def _workers() -> Iterator[list[int]]:
    """Five of 265 annotators for each pair; ten of them give 58.3 % of the answers."""
    busy, others = 0, 0
    pair = 0
    while True:
        count = 3 if pair < PAIRS_WITH_THREE_BUSY else 2
        chosen = [(busy + i) % BUSY for i in range(count)]
        chosen += [BUSY + (others + i) % OTHERS for i in range(5 - count)]
        busy, others, pair = busy + count, others + 5 - count, pair + 1
        yield chosen
