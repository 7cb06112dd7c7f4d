"""How much of a class's spurious features a picture shows, and the pictures that show most and least.

Source: Moayeri, Wang, Singla & Feizi, Spuriosity Rankings (NeurIPS 2023). For a picture x of class c with spurious
features S(c):

    spuriosity(x, c) = mean over i in S(c) of (phi_i(x) - mean_ic) / std_ic

with mean and population standard deviation over the pictures labelled c. A feature that never changes says nothing and
adds zero; the released code divides by its deviation. The released rankings keep the last 1,000 of an *ascending* order
and take the *first* k of them as the highest: with 1,300 pictures ranks 300 to 399, with 50 the lowest themselves. Here
both ends are kept, each from its own end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from models.moments import Moments


def spuriosity(activations: NDArray[np.float32], moments: Moments) -> NDArray[np.float32]:
    """The mean z-score of pictures, in standard deviations.

    Args:
        activations: float32 [N, K], of the class's spurious features, K >= 1.
        moments: of the same features over the pictures labelled as the class.

    Returns:
        float32 [N].
    """
    changing = moments.std > 0
    scores = (activations.astype(np.float64) - moments.mean) / np.where(changing, moments.std, 1)
    return np.where(changing, scores, 0).mean(axis=1).astype(np.float32)


class Ranked(NamedTuple):
    """A picture in a list."""

    spuriosity: float
    row: int
    sample: str


@dataclass(frozen=True)
class Extremes:
    """The pictures of a class at both ends, at most `most` each; equal ones by row. Mergeable in any order.

    Attributes:
        highest: the most spurious first.
        lowest: the least spurious first.
        pictures: how many there are between them and at them.
    """

    most: int
    highest: tuple[Ranked, ...] = ()
    lowest: tuple[Ranked, ...] = ()
    pictures: int = 0

    def add(self, further: Sequence[Ranked]) -> Extremes:
        """With further pictures of the class."""
        return Extremes(
            self.most,
            tuple(nsmallest(self.most, [*self.highest, *further], key=lambda one: (-one.spuriosity, one.row))),
            tuple(nsmallest(self.most, [*self.lowest, *further], key=lambda one: (one.spuriosity, one.row))),
            self.pictures + len(further),
        )

    @property
    def length(self) -> int:
        """Of both lists, so that no picture is in both: half of the class at the most."""
        return min(self.most, self.pictures // 2)


class RankedPicture(BaseModel):
    """A picture and its spuriosity."""

    model_config = ConfigDict(frozen=True)

    sample: str
    row: int = Field(description="Its position in the data set's index.")
    spuriosity: float = Field(description="Mean z-score over the class's spurious features, standard deviations.")


class ClassRanking(BaseModel):
    """The ranking of one class."""

    model_config = ConfigDict(frozen=True)

    class_index: int
    class_name: str
    pictures: int = Field(description="Pictures labelled so that were looked at.")
    features: list[int] = Field(description="The class's spurious features, by rank.")
    mean: list[float] = Field(description="Of each over these pictures.")
    std: list[float] = Field(description="Of each over these pictures: population standard deviation.")
    highest: list[RankedPicture] = Field(description="The most spurious first.")
    lowest: list[RankedPicture] = Field(description="The least spurious first; none of them is among the highest.")


class Rankings(BaseModel):
    """`rankings.json`: the most and the least spurious pictures of every class that has spurious features."""

    model_config = ConfigDict(frozen=True)

    schema_version: int = 1
    bank: str = Field(description="Digest of the bank.")
    dataset: str = Field(description="Digest of the data set.")
    ranked: int = Field(description="Longest list that was asked for; a list holds half of its class at the most.")
    classes: list[ClassRanking]


def moments_of(parts: Iterable[tuple[int, NDArray[np.float32]]]) -> dict[int, Moments]:
    """Moments of the activations, float32 [N, K], of each class, whose parts may come in any number."""
    found: dict[int, Moments] = {}
    for class_index, activations in parts:
        own = Moments.of(activations)
        found[class_index] = found[class_index].merge(own) if class_index in found else own
    return found


def ranking(class_index: int, class_name: str, features: Sequence[int], of: Moments, ends: Extremes) -> ClassRanking:
    """What `rankings.json` says of a class."""

    def told(pictures: Sequence[Ranked]) -> list[RankedPicture]:
        return [
            RankedPicture(sample=one.sample, row=one.row, spuriosity=short(one.spuriosity))
            for one in pictures[: ends.length]
        ]

    return ClassRanking(
        class_index=class_index,
        class_name=class_name,
        pictures=ends.pictures,
        features=list(features),
        mean=[short(value) for value in of.mean],
        std=[short(value) for value in of.std],
        highest=told(ends.highest),
        lowest=told(ends.lowest),
    )


def merge_extremes(ends: Mapping[int, Extremes], class_index: int, most: int, further: Sequence[Ranked]) -> Extremes:
    """The ends of a class with further pictures, begun where it has none."""
    return ends.get(class_index, Extremes(most)).add(further)


def short(value: float) -> float:
    """Six digits: enough to compare."""
    return float(f"{float(value):.6g}")
