"""Running sums of features: count, mean and squared deviations, or the whole scatter matrix; mergeable in any order.

Both are updated and merged by the formulas of Chan, Golub & LeVeque (1979) in float64, so that many small parts give
what one pass over all pictures gives, and a feature that never changes has a deviation of exactly zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.errors import FeaturesError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Moments of D features over the pictures of one group.

    Attributes:
        count: pictures.
        mean: float64 [D]; zeros where there is no picture.
        squares: float64 [D], >= 0, the sum of squared deviations from the mean.
    """

    count: int
    mean: Floats
    squares: Floats

    @classmethod
    def empty(cls, width: int) -> Self:
        """Of no picture, D = `width`."""
        return cls(0, np.zeros(width), np.zeros(width))

    @classmethod
    def of(cls, phi: ArrayLike) -> Self:
        """Of pictures with features float [N, D]. Raises FeaturesError where a value is no number."""
        values = checked(phi)
        if not len(values):
            return cls.empty(values.shape[1])
        mean = _mean(values)
        return cls(len(values), mean, np.square(values - mean).sum(axis=0))

    def update(self, phi: ArrayLike) -> Self:
        """With further pictures, float [N, D]. Raises FeaturesError as `of`, or for another number of features."""
        return self.merge(type(self).of(phi))

    def merge(self, other: Self) -> Self:
        """Of both groups of pictures together, which have none in common."""
        _check_widths(self.mean, other.mean)
        count = self.count + other.count
        if not self.count or not other.count:
            return self if self.count else other
        apart = other.mean - self.mean
        return type(self)(
            count,
            self.mean + apart * (other.count / count),
            self.squares + other.squares + np.square(apart) * (self.count * other.count / count),
        )

    @property
    def std(self) -> Floats:
        """float64 [D], >= 0: the population standard deviation; zeros for no picture or one."""
        return np.sqrt(self.squares / max(self.count, 1))

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """As plain arrays, for a file."""
        return {"count": np.array(self.count, dtype=np.int64), "mean": self.mean, "squares": self.squares}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Self:
        """What `to_arrays` gave. Raises FeaturesError for anything else."""
        count, mean, squares = _parts(arrays, "squares")
        if mean.ndim != 1 or squares.shape != mean.shape or (squares < 0).any():
            raise FeaturesError(f"moments do not fit each other: {mean.shape} and {squares.shape}", field="moments")
        return cls(count, mean, squares)


class GroupedMoments:
    """`Moments` of G groups with at most D features each, updated together.

    Attributes:
        count: int64 [G], pictures.
        mean: float64 [G, D].
        squares: float64 [G, D], as in `Moments`.
    """

    def __init__(self, groups: int, width: int) -> None:
        self.count = np.zeros(groups, dtype=np.int64)
        self.mean = np.zeros((groups, width))
        self.squares = np.zeros((groups, width))

    def update(self, groups: NDArray[np.int64], phi: ArrayLike) -> None:
        """Take in N pictures: ascending int64 [N], and float [N, K], K <= D; a feature left out is always 0.

        Raises FeaturesError where a value is no number.
        """
        values = checked(phi)
        known, first, place, number = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
        if not known.size:
            return
        start, n = values[first], number[:, None]
        mean = start + np.add.reduceat(values - start[place], first) / n
        squares = np.add.reduceat(np.square(values - mean[place]), first)
        kept = known, slice(values.shape[1])
        before, count = self.count[known][:, None], (self.count[known] + number)[:, None]
        apart = np.where(before > 0, mean - self.mean[kept], 0)
        self.mean[kept] = np.where(before > 0, self.mean[kept] + apart * (n / count), mean)
        self.squares[kept] += squares + np.square(apart) * (before * n / count)
        self.count[known] += number

    def z_scores(self, groups: NDArray[np.int64], phi: ArrayLike) -> Floats:
        """Pictures of these groups in standard deviations, float64 [N, K]; 0 for features that never change."""
        values = np.asarray(phi, dtype=np.float64)
        kept = groups, slice(values.shape[1])
        deviation = np.sqrt(self.squares[kept] / np.maximum(self.count[groups], 1)[:, None])
        scores: Floats = np.where(deviation > 0, (values - self.mean[kept]) / np.where(deviation > 0, deviation, 1), 0)
        return scores


@dataclass(frozen=True)
class Scatter:
    """Mean and scatter matrix of D features over the pictures of one group: 8 D^2 bytes, 34 MB for D = 2048.

    An update costs a pass over the whole matrix, so that many pictures at a time are better than one. A group of fewer
    than D pictures takes less memory as its features themselves (`models.components.ClassComponents.of_features`).

    Attributes:
        count: pictures.
        mean: float64 [D]; zeros where there is no picture.
        products: float64 [D, D], symmetric, the sum of (phi - mean)(phi - mean)^T.
    """

    count: int
    mean: Floats
    products: Floats

    @classmethod
    def empty(cls, width: int) -> Self:
        """Of no picture, D = `width`."""
        return cls(0, np.zeros(width), np.zeros((width, width)))

    @classmethod
    def of(cls, phi: ArrayLike) -> Self:
        """Of pictures with features float [N, D]. Raises FeaturesError where a value is no number."""
        values = checked(phi)
        if not len(values):
            return cls.empty(values.shape[1])
        mean = _mean(values)
        centred = values - mean
        return cls(len(values), mean, centred.T @ centred)

    def update(self, phi: ArrayLike) -> Self:
        """With further pictures, float [N, D]. Raises FeaturesError as `of`, or for another number of features."""
        return self.merge(type(self).of(phi))

    def merge(self, other: Self) -> Self:
        """Of both groups of pictures together, which have none in common."""
        _check_widths(self.mean, other.mean)
        count = self.count + other.count
        if not self.count or not other.count:
            return self if self.count else other
        apart = other.mean - self.mean
        between = np.outer(apart, apart * (self.count * other.count / count))
        between += self.products
        between += other.products
        return type(self)(count, self.mean + apart * (other.count / count), between)

    @property
    def covariance(self) -> Floats:
        """float64 [D, D], of the sample (divided by count - 1). Raises FeaturesError for fewer than two pictures."""
        if self.count < 2:
            raise FeaturesError(f"a covariance needs at least two pictures, here are {self.count}", field="pictures")
        return self.products / (self.count - 1)

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """As plain arrays, for a file."""
        return {"count": np.array(self.count, dtype=np.int64), "mean": self.mean, "products": self.products}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Self:
        """What `to_arrays` gave. Raises FeaturesError for anything else."""
        count, mean, products = _parts(arrays, "products")
        if mean.ndim != 1 or products.shape != (mean.size, mean.size):
            raise FeaturesError(f"a scatter does not fit its mean: {products.shape}, {mean.shape}", field="scatter")
        return cls(count, mean, products)


def checked(phi: ArrayLike) -> Floats:
    """Features as float64 [N, D]. Raises FeaturesError for another shape or a value that is no number."""
    values = np.asarray(phi, dtype=np.float64)
    if values.ndim != 2:
        raise FeaturesError(f"features must be [pictures, features], not of shape {values.shape}", field="phi")
    finite = np.isfinite(values)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise FeaturesError(
            f"features hold values that are not finite, first {values[row, column]} for feature {column} of picture "
            f"{row}",
            field="phi",
            remedy="check the encoder's weights: they are damaged or overflow",
        )
    return values


def _mean(values: Floats) -> Floats:
    """The mean, taken from the first picture on, so that it is exact for a feature that never changes."""
    return values[0] + (values - values[0]).mean(axis=0)


def _check_widths(first: Floats, second: Floats) -> None:
    if first.shape != second.shape:
        raise FeaturesError(f"moments of {first.size} and of {second.size} features do not go together", field="phi")


def _parts(arrays: Mapping[str, NDArray[np.generic]], name: str) -> tuple[int, Floats, Floats]:
    try:
        count = int(arrays["count"])
        mean, sums = (np.asarray(arrays[key], dtype=np.float64) for key in ("mean", name))
    except (KeyError, TypeError, ValueError) as error:
        raise FeaturesError(f"stored moments lack a part or hold a wrong one: {error}", field="moments") from error
    if count < 0 or not np.isfinite(mean).all() or not np.isfinite(sums).all():
        raise FeaturesError("stored moments hold values that cannot be", field="moments")
    return count, mean, sums
