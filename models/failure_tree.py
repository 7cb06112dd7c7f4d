"""A shallow decision tree that tells a classifier's failures from its successes by what a robust model reads.

Source: Singla, Nushi, Shah, Kamar & Horvitz, Understanding Failures of Deep Networks via Robust Feature Extraction
(Barlow; CVPR 2021). Splits are those of highest information gain, failures and successes weighing alike in total.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

CHUNK = 256
"""Features that are ordered at a time: bounds memory to some 20 bytes * CHUNK * pictures."""

SMALLEST_GAIN = 1e-9
"""Bits; less is rounding."""


@dataclass(frozen=True)
class Condition:
    """One step on a path: feature `feature` (its own index, of phi) is above `threshold`, or is not."""

    feature: int
    threshold: float
    above: bool

    def holds(self, phi: Floats) -> Bools:
        """bool [N], for pictures with features [N, D]."""
        above: Bools = phi[:, self.feature] > self.threshold
        return above if self.above else ~above


@dataclass(frozen=True)
class Leaf:
    """The pictures at the end of one path; shares are in [0, 1].

    Attributes:
        path: from the root.
        pictures, failures: n_l and f_l.
        error_rate: ER = f_l / n_l.
        error_coverage: EC = f_l / F, of all failures of the group.
        importance: IV = ER * EC.
        failing: whether failures, weighted as in the tree, outweigh successes: then ER is above the group's.
    """

    path: tuple[Condition, ...]
    pictures: int
    failures: int
    error_rate: float
    error_coverage: float
    importance: float
    failing: bool

    @classmethod
    def of(cls, path: tuple[Condition, ...], counts: tuple[int, int], group: tuple[int, int]) -> Leaf:
        """From the counts (pictures, failures) of the leaf and of the whole group; a leaf without pictures has ER 0."""
        (pictures, failures), (every, all_failures) = counts, group
        rate = failures / pictures if pictures else 0.0
        coverage = failures / all_failures
        failing = failures * (every - all_failures) > (pictures - failures) * all_failures
        return cls(path, pictures, failures, rate, coverage, rate * coverage, failing)


@dataclass(frozen=True)
class Node:
    """A split.

    Attributes:
        path: from the root; empty for the root itself.
        feature, threshold: what divides the pictures.
        gain: information gained, in bits.
        pictures, failures: that reach it.
        aler: average leaf error rate of the leaves below it, weighted by their failures.
    """

    path: tuple[Condition, ...]
    feature: int
    threshold: float
    gain: float
    pictures: int
    failures: int
    aler: float


@dataclass(frozen=True)
class FailureTree:
    """Nodes from the root down, and leaves by importance, the highest first. Without a split, the root is the leaf."""

    nodes: tuple[Node, ...]
    leaves: tuple[Leaf, ...]

    @property
    def aler(self) -> float:
        """ALER = sum of EC * ER over the leaves: the error rate of the leaf that a failure finds itself in."""
        return average_leaf_error_rate(self.leaves)


def average_leaf_error_rate(leaves: Sequence[Leaf]) -> float:
    """sum ER * EC / sum EC, in [0, 1]; between the base error rate and 1 over all leaves; 0 without failures."""
    coverage = sum(leaf.error_coverage for leaf in leaves)
    return sum(leaf.importance for leaf in leaves) / coverage if coverage else 0.0


def grow(phi: Floats, failed: Bools, features: Sequence[int], depth: int, smallest_leaf: int) -> FailureTree:
    """The tree over some features.

    Args:
        phi: float [N, D].
        failed: bool [N], some but not all True.
        features: indices of the columns that may divide.
        depth: splits on a path, at most.
        smallest_leaf: pictures of a leaf, at least.
    """
    group = len(failed), int(failed.sum())
    columns = np.array(sorted(features), dtype=np.int64)
    nodes: list[Node] = []
    leaves: list[Leaf] = []

    def divide(rows: NDArray[np.intp], path: tuple[Condition, ...]) -> list[Leaf]:
        counts = len(rows), int(failed[rows].sum())
        found = _best(phi[np.ix_(rows, columns)], failed[rows], group, smallest_leaf) if len(path) < depth else None
        if found is None:
            leaves.append(Leaf.of(path, counts, group))
            return leaves[-1:]
        feature, threshold, gain = int(columns[found[0]]), found[1], found[2]
        place = len(nodes)
        nodes.append(Node(path, feature, threshold, gain, *counts, aler=0.0))
        below = []
        for above in (False, True):
            condition = Condition(feature, threshold, above)
            below += divide(rows[condition.holds(phi[rows])], (*path, condition))
        nodes[place] = Node(path, feature, threshold, gain, *counts, aler=average_leaf_error_rate(below))
        return below

    divide(np.arange(len(failed)), ())
    return FailureTree(tuple(nodes), tuple(sorted(leaves, key=lambda leaf: -leaf.importance)))


def gains(phi: Floats, failed: Bools, smallest_leaf: int) -> Floats:
    """Information about failure in the best threshold of each feature: float64 [D], in [0, 1] bits.

    It is the mutual information of failure and `phi_j > threshold`, failures and successes weighing alike; 0 for a
    feature that no threshold divides into parts of at least `smallest_leaf` pictures.
    """
    group = len(failed), int(failed.sum())
    found = np.zeros(phi.shape[1])
    for columns, order, allowed in _orders(phi, smallest_leaf):
        counts = np.cumsum(failed[order], axis=1, dtype=np.int64)
        left = np.arange(1, len(failed) + 1)
        found[columns] = np.where(allowed, _gain(left, counts, group, group), 0).max(axis=1)
    return found


def largest_gains_by_chance(
    phi: Floats, failed: Bools, smallest_leaf: int, permutations: int, generator: np.random.Generator
) -> Floats:
    """The largest of `gains` after failure was shuffled over the pictures, so many times: float64 [permutations].

    For a given number of pictures on one side, the gain is convex in the failures among them. So the largest over all
    features is where those are most or fewest, and only these two numbers are kept for each place.
    """
    count, group = len(failed), (len(failed), int(failed.sum()))
    shuffled = np.stack([generator.permutation(failed) for _ in range(permutations)]).astype(np.int32)
    most = np.full((permutations, count), -1, dtype=np.int32)
    fewest = np.full((permutations, count), count + 1, dtype=np.int32)
    for _, order, allowed in _orders(phi, smallest_leaf):
        for number in range(permutations):
            counts = np.cumsum(shuffled[number][order], axis=1, dtype=np.int32)
            np.maximum(most[number], np.where(allowed, counts, -1).max(axis=0), out=most[number])
            np.minimum(fewest[number], np.where(allowed, counts, count + 1).min(axis=0), out=fewest[number])
    left = np.arange(1, count + 1)
    divides = most >= 0
    best = [_gain(left, np.where(divides, counts, 0), group, group) for counts in (most, fewest)]
    return np.where(divides, np.maximum(*best), 0).max(axis=1)


def _best(values: Floats, failed: Bools, group: tuple[int, int], smallest_leaf: int) -> tuple[int, float, float] | None:
    """Column, threshold and gain of the best split of a node; None where none gains."""
    node = len(failed), int(failed.sum())
    best: tuple[int, float, float] | None = None
    for columns, order, allowed in _orders(values, smallest_leaf):
        gained = _gain(np.arange(1, len(failed) + 1), np.cumsum(failed[order], axis=1, dtype=np.int64), node, group)
        gained = np.where(allowed, gained, 0)
        row, place = np.unravel_index(int(gained.argmax()), gained.shape)
        if gained[row, place] > (SMALLEST_GAIN if best is None else best[2]):
            column = int(columns[row])
            below, above = (float(values[order[row, at], column]) for at in (place, place + 1))
            threshold = (below + above) / 2
            best = column, threshold if threshold < above else below, float(gained[row, place])
    return best


def _orders(values: Floats, smallest_leaf: int) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp], Bools]]:
    """By chunks of d columns: their indices, the rows in ascending order [d, N], and whether a threshold may divide
    behind each place [d, N]: the next value is larger and both parts are large enough."""
    count = len(values)
    places = np.arange(1, count + 1)
    large = (places >= smallest_leaf) & (places <= count - smallest_leaf)
    for start in range(0, values.shape[1], CHUNK):
        columns = np.arange(start, min(start + CHUNK, values.shape[1]))
        chunk = np.ascontiguousarray(values[:, columns].T)
        order = np.argsort(chunk, axis=1, kind="stable")
        ranked = np.take_along_axis(chunk, order, axis=1)
        rises = np.zeros(ranked.shape, dtype=bool)
        rises[:, :-1] = ranked[:, 1:] > ranked[:, :-1]
        yield columns, order, rises & large


def _gain(
    left: NDArray[np.int64], left_failures: NDArray[np.integer], node: tuple[int, int], group: tuple[int, int]
) -> Floats:
    """Bits gained by splitting a node (pictures, failures), weighted so that failures and successes of the whole group
    weigh alike, into a left part of so many pictures and failures and the rest."""
    heavier = (group[0] - group[1]) / group[1]
    failures = heavier * left_failures
    successes = left - left_failures
    all_failures, all_successes = heavier * node[1], node[0] - node[1]
    parted = _bits(failures, successes) + _bits(all_failures - failures, all_successes - successes)
    gain: Floats = (_bits(np.asarray(all_failures), np.asarray(all_successes)) - parted) / (
        all_failures + all_successes
    )
    return gain


def _bits(first: NDArray[np.generic], second: NDArray[np.generic]) -> Floats:
    """The entropy of two weights, times their sum."""
    total = _log_power(np.add(first, second))
    bits: Floats = total - _log_power(first) - _log_power(second)
    return bits


def _log_power(weight: NDArray[np.generic]) -> Floats:
    """w log2 w, 0 at (or by rounding below) 0."""
    positive = np.maximum(np.asarray(weight, dtype=np.float64), 1e-300)
    power: Floats = positive * np.log2(positive)
    return power
