"""Where an inspected classifier fails: the features of a robust model that tell its failures from its successes.

Source: Barlow (CVPR 2021), see `models.failure_tree`. The released notebooks report figures on the pictures that the
tree was fitted to, test no feature against chance, and print a feature's place among the selected ones instead of the
feature itself. Here the average leaf error rate is cross-fitted as well, the best feature is held against shuffled
failures, leaves have a smallest size, and features have their own index everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from models.errors import FeaturesError
from models.failure_tree import (
    Bools,
    Condition,
    FailureTree,
    Floats,
    Leaf,
    Node,
    gains,
    grow,
    largest_gains_by_chance,
)
from models.moments import checked

SELECTED = 50
DEPTH = 1
SMALLEST_LEAF = 10
FOLDS = 5
PERMUTATIONS = 199
"""Shuffles of failure: the smallest p-value is then 0.005."""

ROUNDING = 1e-9
"""Bits: equal gains that were summed in another order differ by less."""


@dataclass(frozen=True)
class FailureModes:
    """What was found for one group. Shares are in [0, 1]; those that nothing can be said of are None, never NaN.

    Attributes:
        pictures, failures: N and F of the group.
        base_error_rate: BER = F / N.
        empty: why no tree was fitted, in words; "" where one was.
        leaves: by importance, highest first.
        nodes: from the root down.
        aler: ALER = sum over leaves of EC * ER, on the pictures of the tree; BER <= ALER <= 1.
        cross_fitted_aler: the same of pictures that trees were not fitted to; about BER where nothing tells failure.
        held_out: (pictures, failures) of the leaves that `cross_fitted_aler` comes from, each of held-out pictures.
        precision: pooled error rate of the failing leaves.
        recall: pooled error coverage of the failing leaves.
        gain: bits that the best threshold of the best of all features tells of failure.
        p_value: share of shuffles (this order among them) in which the best of all features tells as much.
    """

    pictures: int
    failures: int
    base_error_rate: float | None
    empty: str = ""
    leaves: tuple[Leaf, ...] = ()
    nodes: tuple[Node, ...] = ()
    aler: float | None = None
    cross_fitted_aler: float | None = None
    held_out: tuple[tuple[int, int], ...] = ()
    precision: float | None = None
    recall: float | None = None
    gain: float | None = None
    p_value: float | None = None

    @property
    def modes(self) -> tuple[Leaf, ...]:
        """The failing leaves, the most important first."""
        return tuple(leaf for leaf in self.leaves if leaf.failing)

    @property
    def features(self) -> tuple[int, ...]:
        """Indices of the features on the paths to the failing leaves, each once, of the most important leaf first."""
        return tuple(dict.fromkeys(condition.feature for leaf in self.modes for condition in leaf.path))


def failure_modes(
    phi: ArrayLike,
    failed: ArrayLike,
    *,
    selected: int = SELECTED,
    depth: int = DEPTH,
    smallest_leaf: int = SMALLEST_LEAF,
    folds: int = FOLDS,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> FailureModes:
    """Find the failure modes of one group of pictures, by label or by prediction of the inspected classifier.

    Args:
        phi: float [N, D], features of the robust model; tensors on the CPU.
        failed: bool [N], whether the inspected classifier's prediction differs from the label.
        selected: features that the tree may use: those that tell most of failure, by mutual information.
        depth: of the tree, at least 1; Barlow's is 1.
        smallest_leaf: pictures of a leaf, at least.
        folds: of the cross-fitting, at least 2.
        permutations: shuffles behind the p-value.
        seed: of folds and shuffles.

    Raises:
        FeaturesError: the two do not belong together, or a feature is no number.
    """
    values, failures = checked(phi), np.asarray(failed, dtype=bool)
    if failures.shape != (len(values),):
        raise FeaturesError(
            f"{len(values)} pictures and failures of shape {failures.shape} do not go together", field="failed"
        )
    count, wrong = len(failures), int(failures.sum())
    rate = wrong / count if count else None
    if reason := _nothing_to_tell(count, wrong, smallest_leaf):
        return FailureModes(count, wrong, rate, reason)
    told = gains(values, failures, smallest_leaf)
    tree = _fit(values, failures, told, selected, depth, smallest_leaf)
    if not tree.nodes:
        return FailureModes(count, wrong, rate, "no feature tells failures from successes")
    generator = np.random.default_rng(seed)
    by_chance = largest_gains_by_chance(values, failures, smallest_leaf, permutations, generator)
    held_out = _held_out(values, failures, selected, depth, smallest_leaf, folds, generator)
    gain = float(told.max())
    failing = [leaf for leaf in tree.leaves if leaf.failing]
    return FailureModes(
        count,
        wrong,
        rate,
        leaves=tree.leaves,
        nodes=tree.nodes,
        aler=tree.aler,
        cross_fitted_aler=_left_out_aler(held_out, wrong / count) if min(wrong, count - wrong) > 1 else None,
        held_out=held_out,
        precision=sum(leaf.failures for leaf in failing) / sum(leaf.pictures for leaf in failing),
        recall=sum(leaf.error_coverage for leaf in failing),
        gain=gain,
        p_value=(1 + int((by_chance >= gain - ROUNDING).sum())) / (1 + permutations),
    )


def _nothing_to_tell(count: int, wrong: int, smallest_leaf: int) -> str:
    if not count:
        return "the group has no picture"
    if not wrong:
        return "no picture fails"
    if wrong == count:
        return "every picture fails"
    if count < 2 * smallest_leaf:
        return f"{count} pictures are too few for two leaves of at least {smallest_leaf}"
    return ""


def _fit(phi: Floats, failed: Bools, told: Floats, selected: int, depth: int, smallest_leaf: int) -> FailureTree:
    best = [int(j) for j in np.argsort(-told, kind="stable")[:selected] if told[j] > 0]
    return grow(phi, failed, best, depth, smallest_leaf)


def _held_out(
    phi: Floats,
    failed: Bools,
    selected: int,
    depth: int,
    smallest_leaf: int,
    folds: int,
    generator: np.random.Generator,
) -> tuple[tuple[int, int], ...]:
    """(pictures, failures) of every leaf, of the pictures that its tree was not fitted to.

    Features are selected and trees fitted on the other folds. Folds are drawn from all pictures alike: with a set
    number of failures in each, the others of a failure's fold would fail less often.
    """
    fold = generator.permutation(len(failed)) % folds
    found = []
    for number in range(folds):
        held, others = fold == number, fold != number
        paths: list[tuple[Condition, ...]] = [()]
        if 0 < failed[others].sum() < others.sum():
            told = gains(phi[others], failed[others], smallest_leaf)
            tree = _fit(phi[others], failed[others], told, selected, depth, smallest_leaf)
            paths = [leaf.path for leaf in tree.leaves]
        for path in paths:
            inside = failed[np.all([held, *(condition.holds(phi) for condition in path)], axis=0)]
            found.append((len(inside), int(inside.sum())))
    return tuple(found)


def _left_out_aler(leaves: Sequence[tuple[int, int]], rate: float) -> float:
    """For every failure, the error rate among the *other* held-out pictures of the leaf it falls into, averaged.

    As the failure itself does not count, the average is about BER where leaves tell nothing: (F - 1) / (N - 1). A
    failure that is alone in its leaf counts as BER.
    """
    total = sum(f * ((f - 1) / (n - 1) if n > 1 else rate) for n, f in leaves)
    return total / sum(failures for _, failures in leaves)
