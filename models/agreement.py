"""What several people's answers on one feature come to: its label, whether one vote decided it, and how far they agree.

The label rule is that of Singla & Feizi, Salient ImageNet (ICLR 2022); agreement is Fleiss' kappa (Psychological
Bulletin 76, 1971), with Gwet's extension to unequal numbers of answers (Handbook of Inter-Rater Reliability, 2014).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from models.bank import Kind, Label, Votes

Place = Literal["main_object", "separate_object", "background"]
"""Where an annotator saw the feature."""

PLACES: tuple[Place, ...] = get_args(Place)


def needed(total: int, threshold: int | None = None, of: int | None = None) -> int:
    """Votes for background or separate object that make a feature spurious which has `total` answers.

    Args:
        total: answers there are, >= 0.
        threshold: as asked for; None for more than half of them.
        of: answers that the threshold was chosen for, >= threshold. A feature with exactly so many needs `threshold`
            votes, one with more or fewer the same share of them, ties counting for the main object: `3 of 5` is 4 of
            6 and 4 of 7. None where the threshold is a plain number of votes, however many there are.

    Returns:
        At least 1.
    """
    if threshold is None:
        return total // 2 + 1
    if of is None:
        return threshold
    return total * (2 * threshold - 1) // (2 * of) + 1


def decide(votes: Votes, threshold: int | None = None, of: int | None = None) -> tuple[Label, Kind]:
    """The label rule of Salient ImageNet, for any number of answers.

    Spurious where background and separate object together have the votes that `needed` says (3 of 5 as published); the
    kind is the one of them that has as many on its own, else ambiguous. Confidence and reasons play no part.

    Args:
        votes: answers of each kind.
        threshold, of: as in `needed`; without them more than half decides.
    """
    least = needed(total(votes), threshold, of)
    if votes.background + votes.separate_object < least:
        return "core", "main_object"
    if votes.background >= least:
        return "spurious", "background"
    if votes.separate_object >= least:
        return "spurious", "separate_object"
    return "spurious", "ambiguous"


def is_split(votes: Votes, threshold: int | None = None, of: int | None = None) -> bool:
    """Whether people differ on core or spurious and one of them could have turned the label; arguments as `decide`."""
    spurious = votes.background + votes.separate_object
    least = needed(total(votes), threshold, of)
    return 0 < spurious < total(votes) and spurious in (least - 1, least)


def total(votes: Votes) -> int:
    """All answers of a feature."""
    return votes.main_object + votes.background + votes.separate_object


def tally(places: Iterable[Place]) -> Votes:
    """Answers counted by kind."""
    counts = Counter(places)
    return Votes(
        main_object=counts["main_object"],
        background=counts["background"],
        separate_object=counts["separate_object"],
    )


def vote_table(votes: Iterable[Votes]) -> NDArray[np.int64]:
    """int64 [features, 3]: answers by kind, in the order of `PLACES`."""
    rows = [[one.main_object, one.separate_object, one.background] for one in votes]
    return np.array(rows, dtype=np.int64).reshape(-1, len(PLACES))


def core_or_not(table: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64 [features, 2] of a `vote_table`: answers for the main object, and against it."""
    main = table[:, PLACES.index("main_object")]
    return np.stack([main, table.sum(axis=1) - main], axis=1)


def fleiss_kappa(table: NDArray[np.int64]) -> float:
    """Agreement beyond chance, in [-1, 1]; NaN where all answers are the same or no subject has two.

    With the same number of answers for each subject it is Fleiss' kappa. Else, after Gwet, the observed agreement is
    the mean over subjects with at least two answers, and the share of a category the mean of its shares within each
    subject that has answers.

    Args:
        table: [subjects, categories], answers per category; any number for each subject.
    """
    table = table[table.sum(axis=1) > 0]
    answers = table.sum(axis=1)
    several = answers >= 2
    if not several.any():
        return float("nan")
    shares = (table / answers[:, None]).mean(axis=0)
    by_chance = float((shares**2).sum())
    pairs = (table[several] ** 2).sum(axis=1) - answers[several]
    observed = float((pairs / (answers[several] * (answers[several] - 1))).mean())
    return (observed - by_chance) / (1 - by_chance) if 1 - by_chance > 1e-12 else float("nan")


@dataclass(frozen=True)
class Consensus:
    """How often one annotator answered as most of the others did.

    Attributes:
        agreed: features on which the answer is the others' most frequent one.
        compared: features where others answered, and one of their answers was more frequent than any other.
    """

    agreed: int
    compared: int

    @property
    def share(self) -> float | None:
        """In [0, 1]; None where nothing could be compared."""
        return self.agreed / self.compared if self.compared else None


def consensus(answers: Iterable[Mapping[str, Place]]) -> dict[str, Consensus]:
    """Agreement of every annotator with the majority of the others.

    Args:
        answers: of each feature, by annotator.
    """
    agreed: Counter[str] = Counter()
    compared: Counter[str] = Counter()
    for given in answers:
        everybody = Counter(given.values())
        others = {place: _majority(everybody - Counter([place])) for place in everybody}
        for annotator, place in given.items():
            compared[annotator] += others[place] is not None
            agreed[annotator] += others[place] == place
    return {annotator: Consensus(agreed[annotator], number) for annotator, number in compared.items()}


def _majority(counts: Counter[Place]) -> Place | None:
    """What was answered more often than anything else; None where two were as often, or there is nothing."""
    most = counts.most_common(2)
    if not most or (len(most) == 2 and most[0][1] == most[1][1]):
        return None
    return most[0][0]
