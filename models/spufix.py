"""Which of a classifier's own features carry the evidence of spurious features, and what SpuFix takes off.

Source: Neuhaus, Augustin, Boreiko & Hein, Spurious Features Everywhere (ICCV 2023), section on SpuFix, and its released
code. For class k with own features f, psi_k = W_k * f (elementwise, so that their sum and the bias are the logit):

    d_l = normalise(sum over the class's pictures x of alpha_l(x) (psi_k(x) - mean psi_k))
    lambda = (D D^T)^-1 D (psi_k(x) - mean psi_k),   beta_l = lambda_l <1, d_l>
    f'_k = f_k - sum over l of max(beta_l, 0)

alpha_l is how strongly picture x shows the spurious feature l. Of the same network with the class's own neural
principal components, d_l = +-v_l and beta_l = alpha_l. The released code needs pictures in a fixed order and squeezes a
batch of one away; here sums over pictures are enough, and batches of any size do. A ridge keeps near-collinear
directions apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.errors import FeaturesError
from models.moments import checked

Floats = NDArray[np.float64]

SMALLEST = 1e-9
"""A direction shorter than this share of the longest it could be is rounding."""


@dataclass(frozen=True)
class Covariation:
    """How D features of a classifier and K activations vary together over pictures. Mergeable in any order.

    Attributes:
        count: pictures.
        mean: float64 [D], of the features.
        level: float64 [K], mean of the activations.
        products: float64 [K, D], the sum of (activation - level)(feature - mean).
        squares: float64 [K], the sum of (activation - level)^2.
        spread: float64 [D], the sum of (feature - mean)^2.
    """

    count: int
    mean: Floats
    level: Floats
    products: Floats
    squares: Floats
    spread: Floats

    @classmethod
    def of(cls, features: ArrayLike, activations: ArrayLike) -> Self:
        """Of pictures with features [N, D] and activations [N, K]. Raises FeaturesError as `models.moments.checked`."""
        values, alphas = checked(features), checked(activations)
        if len(values) != len(alphas):
            raise FeaturesError(f"{len(values)} rows of features and {len(alphas)} of activations", field="activations")
        if not len(values):
            (_, width), (_, many) = values.shape, alphas.shape
            return cls(0, np.zeros(width), np.zeros(many), np.zeros((many, width)), np.zeros(many), np.zeros(width))
        mean, level = values.mean(axis=0), alphas.mean(axis=0)
        apart, beyond = values - mean, alphas - level
        squares, spread = np.square(beyond).sum(axis=0), np.square(apart).sum(axis=0)
        return cls(len(values), mean, level, beyond.T @ apart, squares, spread)

    def merge(self, other: Self) -> Self:
        """Of both groups of pictures, which have none in common (Chan, Golub & LeVeque, 1979)."""
        if not self.count or not other.count:
            return self if self.count else other
        count = self.count + other.count
        apart, beyond = other.mean - self.mean, other.level - self.level
        share, weight = other.count / count, self.count * other.count / count
        return type(self)(
            count,
            self.mean + apart * share,
            self.level + beyond * share,
            self.products + other.products + weight * np.outer(beyond, apart),
            self.squares + other.squares + weight * np.square(beyond),
            self.spread + other.spread + weight * np.square(apart),
        )

    def directions(self, row: ArrayLike) -> Floats:
        """d_l of each activation, float64 [K, D], of unit norm; zeros where activation or evidence does not vary.

        row: float [D], the head's row of the class, or ones where the features are psi_k already.
        """
        weights = np.asarray(row, np.float64)
        found = self.products * weights
        length = np.linalg.norm(found, axis=1)
        longest = np.sqrt(self.squares * (self.spread @ np.square(weights)))
        certain = length > SMALLEST * longest
        return np.where(certain[:, None], found / np.where(certain, length, 1)[:, None], 0)


@dataclass(frozen=True)
class Evidence:
    """beta_l(x) = weight_l . f(x) - offset_l of some spurious features: linear in the classifier's own features.

    Attributes:
        weight: float64 [L, D].
        offset: float64 [L].
        of: which of the K activations each belongs to; those without a direction are left out.
        ridge: what was added to the Gram matrix.
    """

    weight: Floats
    offset: Floats
    of: tuple[int, ...]
    ridge: float

    @classmethod
    def transferred(cls, pictures: Covariation, row: ArrayLike, apart: float) -> Self:
        """Of one class.

        Args:
            pictures: of the class.
            row: float [D], the head's row of the class.
            apart: in (0, 1], the smallest eigenvalue that the directions' Gram matrix is allowed to have: a ridge lifts
                it so far. 1 is that of orthogonal directions, 0 of directions that depend on one another.
        """
        weights = np.asarray(row, np.float64)
        found = pictures.directions(weights)
        of = np.flatnonzero(found.any(axis=1))
        kept = found[of]
        if not len(of):
            return cls(np.zeros((0, len(weights))), np.zeros(0), (), 0.0)
        gram = kept @ kept.T
        ridge = max(0.0, apart - float(np.linalg.eigvalsh(gram)[0])) if len(of) > 1 else 0.0
        projection = np.linalg.solve(gram + ridge * np.eye(len(of)), kept)
        weight = kept.sum(axis=1)[:, None] * projection * weights
        return cls(weight, weight @ pictures.mean, tuple(of.tolist()), ridge)

    def betas(self, features: ArrayLike) -> Floats:
        """float64 [N, L] of features, float [N, D], in logit units; zero on average over the class's pictures."""
        return np.asarray(features, np.float64) @ self.weight.T - self.offset


@dataclass(frozen=True)
class Correction:
    """What SpuFix takes off a classifier's scores: max(beta, 0) of each piece of evidence.

    Attributes:
        evidence: L pieces of it.
        outputs: int [L], the score that each is taken off.
        classes: C, scores that the classifier gives.
    """

    evidence: Evidence
    outputs: NDArray[np.integer]
    classes: int

    def taken(self, features: ArrayLike) -> Floats:
        """float64 [N, C], >= 0, of features, float [N, D]."""
        betas = np.maximum(self.evidence.betas(features), 0)
        taken = np.zeros((len(betas), self.classes))
        np.add.at(taken.T, self.outputs, betas.T)
        return taken

    def renewed(self, newer: Self) -> Self:
        """The newer one for the scores that it acts on, this for the others.

        Not both for one score: directions of the same head share evidence, which would be taken off twice.
        """
        others = ~np.isin(self.outputs, newer.outputs)
        old, new = self.evidence, newer.evidence
        weight, offset = (
            np.concatenate([old.weight[others], new.weight]),
            np.concatenate([old.offset[others], new.offset]),
        )
        joined = Evidence(weight, offset, tuple(range(len(offset))), max(old.ridge, new.ridge))
        return type(self)(joined, np.concatenate([self.outputs[others], newer.outputs]), self.classes)
