"""What a release of Salient ImageNet's answers counts up to, to be held against what its authors published."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import get_args

import numpy as np

from models.agreement import PLACES, Place, core_or_not, decide, fleiss_kappa, vote_table
from models.bank import Kind
from models.published.salient_imagenet import ANSWERS_PER_PAIR, RANKS
from models.vote_rows import Pair

BUSIEST = 10
"""Annotators whose share of all answers is given."""


@dataclass(frozen=True)
class Counts:
    """Counts of one file under one threshold.

    Attributes:
        feature_range: smallest and largest channel.
        kinds: pairs by kind; `main_object` are the core ones.
        classes_by_spurious: classes with 0, 1, ... 5 spurious features.
        spurious_by_rank: spurious pairs of rank 1, ... 5.
        answers: by place. confidences: answers of confidence 1, ... 5.
        pairs_by_main: pairs with 0, ... 5 votes for the main object.
        split: pairs decided by one vote: three to two on core or spurious.
        features_spurious, features_core, features_both: channels that are spurious (core, both) for some class.
        spurious_core_elsewhere: spurious pairs whose channel is core for another class.
        kappa: Fleiss' kappa of the three answers, in [-1, 1]. kappa_binary: of main object against the other two.
        mean_confidence: in [1, 5]; NaN where all are missing.
        busiest_share: of the answers that the ten busiest annotators gave, in [0, 1].
        weighted_flips, weighted_ties: pairs that votes weighted by confidence would decide otherwise, or not at all.
    """

    rows: int
    pairs: int
    classes: int
    features: int
    feature_range: tuple[int, int]
    kinds: dict[Kind, int]
    classes_by_spurious: tuple[int, ...]
    classes_with_core: int
    spurious_by_rank: tuple[int, ...]
    answers: dict[Place, int]
    confidences: tuple[int, ...]
    mean_confidence: float
    workers: int
    busiest_share: float
    pairs_by_main: tuple[int, ...]
    split: int
    features_spurious: int
    features_core: int
    features_both: int
    spurious_core_elsewhere: int
    kappa: float
    kappa_binary: float
    weighted_flips: int
    weighted_ties: int

    @property
    def core(self) -> int:
        """Core pairs."""
        return self.kinds["main_object"]

    @property
    def spurious(self) -> int:
        """Spurious pairs."""
        return self.pairs - self.core

    def as_card(self) -> dict[str, object]:
        """All of them by name, as JSON has them."""
        return {
            field.name: list(value) if isinstance(value := getattr(self, field.name), tuple) else value
            for field in fields(self)
        }


def count(pairs: Sequence[Pair], threshold: int = 3) -> Counts:
    """Count the pairs of a release, at least one; `threshold` as in `decide`."""
    kinds = [decide(pair.votes, threshold)[1] for pair in pairs]
    spurious = [kind != "main_object" for kind in kinds]
    answers = [answer for pair in pairs for answer in pair.answers]
    table = vote_table(pair.votes for pair in pairs)
    main = core_or_not(table)[:, 0]
    spurious_of: Counter[int] = Counter({pair.class_index: 0 for pair in pairs})
    core_for: defaultdict[int, set[int]] = defaultdict(set)
    spurious_for: defaultdict[int, set[int]] = defaultdict(set)
    for pair, bad in zip(pairs, spurious, strict=True):
        spurious_of[pair.class_index] += bad
        (spurious_for if bad else core_for)[pair.feature_index].add(pair.class_index)
    by_count = Counter(spurious_of.values())
    by_rank = Counter(pair.rank for pair, bad in zip(pairs, spurious, strict=True) if bad)
    confidences = Counter(answer.confidence for answer in answers)
    known = [answer.confidence for answer in answers if answer.confidence is not None]
    workers = Counter(answer.worker for answer in answers)
    margins = [_weighted_margin(pair) for pair in pairs]
    return Counts(
        rows=len(answers),
        pairs=len(pairs),
        classes=len(spurious_of),
        features=len(core_for.keys() | spurious_for.keys()),
        feature_range=(min(pair.feature_index for pair in pairs), max(pair.feature_index for pair in pairs)),
        kinds={kind: kinds.count(kind) for kind in get_args(Kind)},
        classes_by_spurious=tuple(by_count[number] for number in range(RANKS + 1)),
        classes_with_core=len({index for held in core_for.values() for index in held}),
        spurious_by_rank=tuple(by_rank[rank] for rank in range(1, RANKS + 1)),
        answers={place: int(total) for place, total in zip(PLACES, table.sum(axis=0), strict=True)},
        confidences=tuple(confidences[float(level)] for level in range(1, 6)),
        mean_confidence=float(np.mean(known)) if known else float("nan"),
        workers=len(workers),
        busiest_share=sum(number for _, number in workers.most_common(BUSIEST)) / len(answers),
        pairs_by_main=tuple(int((main == number).sum()) for number in range(ANSWERS_PER_PAIR + 1)),
        split=int((np.abs(2 * main - ANSWERS_PER_PAIR) == 1).sum()),
        features_spurious=len(spurious_for),
        features_core=len(core_for),
        features_both=len(spurious_for.keys() & core_for.keys()),
        spurious_core_elsewhere=sum(
            pair.feature_index in core_for for pair, bad in zip(pairs, spurious, strict=True) if bad
        ),
        kappa=fleiss_kappa(table),
        kappa_binary=fleiss_kappa(core_or_not(table)),
        weighted_flips=sum((margin > 0) != bad and margin != 0 for margin, bad in zip(margins, spurious, strict=True)),
        weighted_ties=margins.count(0),
    )


def _weighted_margin(pair: Pair) -> float:
    """Confidence of the answers that say spurious over that of those that say core; missing ones count nothing."""
    signed = ((1 if answer.place != "main_object" else -1) * (answer.confidence or 0) for answer in pair.answers)
    return float(sum(signed))
