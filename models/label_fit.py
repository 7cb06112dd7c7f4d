"""Whether labels of (class, channel) pairs were given for this head: a cheap test on its weights alone.

Labels go to the channels with the largest importance IV(c, j) = W_cj * mean(phi_j), and phi is never negative, so the
weights of labelled pairs lie at the top of their rows. With another checkpoint, with columns or with rows in another
order they lie anywhere: the position of W_cj in its row, 0 (smallest) to 1 (largest), is then 1/2 on average.

A part that all rows of a head share would blur the difference between classes. It changes no softmax, and weight decay
removes it: it is 1 to 7 % of the weights' spread in the heads shipped here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import BankError

MIDWAY = 0.75
"""Least mean position of labels that fit: half way between chance and the top.

Simulated heads of 1000 x 2048 have 0.88 to 0.98."""

GAP = 0.1
"""The mean position must be this much above that under other classes, lest channels that are strong for all pass."""

SIGMAS = 4.0
"""Least distance from chance, in standard deviations of it: 3 in 100,000 foreign heads come as far."""

DRAWS = 400


@dataclass(frozen=True)
class Chance:
    """Mean position of the labels under other orders of the columns (or rows): its mean and standard deviation."""

    mean: float
    std: float


@dataclass(frozen=True)
class LabelFit:
    """What the test found.

    Attributes:
        pairs: number of labelled pairs.
        position: mean position of their weights in their rows, in [0, 1].
        columns: the same with the channels in another order, as in another checkpoint.
        rows: the same with every class's labels on another class.
        verdict: `fits`; `foreign`; or `undecided`, where too few labels look as if they fit to be sure of it.
        doubtful: classes, ascending, whose own labels lie in the lower half of their row on average.
    """

    pairs: int
    position: float
    columns: Chance
    rows: Chance
    verdict: Literal["fits", "foreign", "undecided"]
    doubtful: tuple[int, ...]

    def __str__(self) -> str:
        return (
            f"mean position {self.position:.3f} of {self.pairs:,} labelled weights in their rows (0 smallest, 1 "
            f"largest; {self.columns.mean:.3f} +- {self.columns.std:.3f} for other channels, "
            f"{self.rows.mean:.3f} +- {self.rows.std:.3f} for other classes)"
        )


def label_fit(weight: NDArray[np.floating], pairs: Sequence[tuple[int, int]], seed: int = 0) -> LabelFit:
    """Test labels against a head.

    Args:
        weight: [C, D], the head; C >= 2, D >= 2.
        pairs: (class, channel) of each label, at least one.
        seed: of the orders that chance is estimated with.

    Raises:
        BankError: a weight is not finite, or a pair lies outside the head.
    """
    if not np.isfinite(weight).all():
        raise BankError("the head holds weights that are not finite", field="encoder")
    index = np.asarray(pairs, dtype=np.int64)
    if (index < 0).any() or (index >= weight.shape).any():
        raise BankError(f"a label lies outside the head of {weight.shape[0]} classes x {weight.shape[1]} channels")
    positions = _positions(weight)
    classes, channels = index.T
    own = positions[classes, channels]
    generator = np.random.default_rng(seed)
    columns = [positions[classes, generator.permutation(weight.shape[1])[channels]].mean() for _ in range(DRAWS)]
    rows = [positions[_others(weight.shape[0], generator)[classes], channels].mean() for _ in range(DRAWS)]
    by_columns, by_rows = _chance(columns), _chance(rows)
    position = float(own.mean())
    counts = np.bincount(classes, minlength=weight.shape[0])
    sums = np.bincount(classes, weights=own, minlength=weight.shape[0])
    return LabelFit(
        pairs=len(index),
        position=position,
        columns=by_columns,
        rows=by_rows,
        verdict=_verdict(position, by_columns, by_rows),
        doubtful=tuple(int(c) for c in np.flatnonzero(sums < counts / 2)),
    )


def require_fit(fit: LabelFit) -> None:
    """Refuse labels that do not fit.

    Raises:
        BankError: with the statistic and the chance it was held against.
    """
    if fit.verdict == "foreign":
        raise BankError(
            f"the labels were given for another checkpoint: {fit}",
            field="encoder",
            remedy="use the very checkpoint whose features were labelled: indices of another network's mean nothing",
        )
    if fit.verdict == "undecided":
        raise BankError(
            f"too few labels to tell whether they were given for this checkpoint: {fit}",
            field="file",
            remedy="give the labels of more classes",
        )


def _positions(weight: NDArray[np.floating]) -> NDArray[np.float64]:
    """Position of each weight in its row, in (0, 1); equal weights share the mean of theirs."""
    ordered = np.sort(weight, axis=1)
    places = [
        np.searchsorted(row, own, side="left") + np.searchsorted(row, own, side="right")
        for row, own in zip(ordered, weight, strict=True)
    ]
    result: NDArray[np.float64] = np.stack(places) / (2 * weight.shape[1])
    return result


def _others(count: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Another class for each class: a random cyclic order (Sattolo, 1986), which leaves none where it is."""
    cycle = generator.permutation(count)
    others = np.empty(count, dtype=np.int64)
    others[cycle] = np.roll(cycle, 1)
    return others


def _chance(draws: Sequence[float]) -> Chance:
    return Chance(float(np.mean(draws)), float(np.std(draws)))


def _verdict(position: float, columns: Chance, rows: Chance) -> Literal["fits", "foreign", "undecided"]:
    if position < MIDWAY or position < rows.mean + GAP:
        return "foreign"
    if min((position - chance.mean) - SIGMAS * chance.std for chance in (columns, rows)) < 0:
        return "undecided"
    return "fits"
