"""What the answers are worth: precision and recall of labels, and whether they hold on the class's top fifth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from models.agreement import Place, decide, tally
from models.bank import Kind, Label
from models.statistics import Interval, smoothed_draws, spanned
from models.training.discovery_recall import Share
from tests.truth.exact import Verdict


@dataclass(frozen=True)
class Row:
    """One (class, feature): what was said of it, and where it truly lies.

    Attributes:
        answer, confidence, reason: the annotator's.
        label, kind: in the published bank.
        validated: in the second round.
        panel: by rule, the verdict of the exact masks on each picture of its panel.
        top: by rule, on each picture of the class's top fifth.
    """

    class_name: str
    feature: int
    rank: int
    answer: Place
    confidence: int
    reason: str
    label: Label
    kind: Kind
    validated: bool
    panel: Mapping[str, Sequence[Verdict]]
    top: Mapping[str, Sequence[Verdict]]


@dataclass(frozen=True)
class Mean:
    """A mean over rows in [0, 1]; the interval is bootstrapped over rows, whose pictures are not independent."""

    value: float
    interval: Interval


@dataclass(frozen=True)
class Holding:
    """How far some labels hold on the class's top fifth.

    rows: those of which most pictures there say the same. pictures: share of a row's pictures that say the same, mean
    over rows. Without intervals where labels are drawn at random.
    """

    labels: str
    rows: Share
    pictures: Mean | float


@dataclass(frozen=True)
class Figures:
    """All figures under one rule of the exact masks, of the first ``first`` features of every class.

    precision, recall: by label, of the labels given against what most pictures of the panel truly show. places: rows
    whose answer is the very place (of three) that most of them show.
    """

    rule: str
    first: int
    precision: Mapping[Label, Share]
    recall: Mapping[Label, Share]
    places: Share
    holding: tuple[Holding, ...]


def truth(verdicts: Sequence[Verdict]) -> tuple[Label, Kind]:
    """What most pictures show; of silent ones nothing is counted, ties are core."""
    return decide(tally(one for one in verdicts if one is not None))


def core_share(verdicts: Sequence[Verdict]) -> float:
    """Share of the pictures that show the main object, of those on which the feature is not silent."""
    heard = [one for one in verdicts if one is not None]
    return sum(one == "main_object" for one in heard) / len(heard) if heard else 0.0


def figures(rows: Sequence[Row], rule: str, first: int) -> Figures:
    """Score the rows up to the rank ``first``."""
    chosen = [row for row in rows if row.rank <= first]
    exact = [truth(row.panel[rule]) for row in chosen]
    right = [row.label == label for row, (label, _) in zip(chosen, exact, strict=True)]
    labels: tuple[Label, ...] = ("spurious", "core")
    precision, recall = {}, {}
    for label in labels:
        hits = sum(fine and row.label == label for fine, row in zip(right, chosen, strict=True))
        precision[label] = Share.counted(hits, sum(row.label == label for row in chosen))
        recall[label] = Share.counted(hits, sum(true == label for true, _ in exact))
    places = sum(row.answer == kind for row, (_, kind) in zip(chosen, exact, strict=True))
    given = np.array([row.label == "core" for row in chosen], dtype=float)
    by_masks = np.array([label == "core" for label, _ in exact], dtype=float)
    tops = [row.top[rule] for row in chosen]
    return Figures(
        rule,
        first,
        precision,
        recall,
        Share.counted(places, len(chosen)),
        (
            holding("the annotator's", given, tops),
            holding("those of the exact masks on the same five pictures", by_masks, tops),
            holding("all core", np.ones(len(chosen)), tops),
            holding("the annotator's, shuffled among the rows", np.full(len(chosen), given.mean()), tops),
        ),
    )


def holding(labels: str, core: NDArray[np.float64], tops: Sequence[Sequence[Verdict]]) -> Holding:
    """How far labels hold.

    Args:
        labels: whose they are.
        core: float [N], of each row the probability that it is labelled core; 0 or 1 where it is known.
        tops: of each row the verdicts on the top fifth.
    """
    shares = np.array([core_share(top) for top in tops])
    agreeing = core * shares + (1 - core) * (1 - shares)
    most = np.array([truth(top)[0] == "core" for top in tops], dtype=float)
    rows = float((core * most + (1 - core) * (1 - most)).sum())
    value = float(agreeing.mean())
    if not np.isin(core, (0, 1)).all():
        return Holding(labels, Share(rows, len(tops)), value)
    weights = smoothed_draws(np.full(len(tops), 0.5), np.random.default_rng(0))  # Rubin's Bayesian bootstrap
    return Holding(labels, Share.counted(round(rows), len(tops)), Mean(value, spanned(value, weights @ agreeing)))


def second_round(rows: Sequence[Row], rule: str) -> dict[str, Share]:
    """Rows whose label truly holds on the top fifth, of those that the second round validated and of the others."""
    holds = [row.label == truth(row.top[rule])[0] for row in rows]
    found = {}
    for name, fine in (("validated", True), ("not validated", False)):
        of = [held for held, row in zip(holds, rows, strict=True) if row.validated == fine]
        found[name] = Share.counted(sum(of), len(of))
    return found


def record(row: Row) -> dict[str, object]:
    """A row for the JSON file; of the top fifth counts by place."""
    top = {
        rule: {str(place): list(found).count(place) for place in dict.fromkeys(found)}
        for rule, found in row.top.items()
    }
    return asdict(row) | {"top": top}
