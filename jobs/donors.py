"""Which pictures lend their spurious features to which: donors, the same whatever the shard, order or machine.

Every picture that clearly shows spurious features has two donors that do so too: another picture of its class, and one
of another class. A few candidates are drawn per class, looked at when they are first needed and kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from jobs.datasets import Pictures, Sample

MOST_DONORS, FEWEST_DONORS = 8, 2
"""Donors kept per class."""

MOST_CANDIDATES = 64
"""Pictures of a class looked at in search of them."""

CHUNK = 8
"""Candidates looked at together."""

PARTNERS = 8
"""Other classes that lend to a class."""

PIXEL_BUDGET = 2560 * 224 * 224
"""Most input pixels of all donors kept, 5 bytes each; with many classes each keeps fewer donors."""


@dataclass(frozen=True)
class Donor:
    """A picture that clearly shows spurious features of its class.

    Attributes:
        row: which picture of the data set.
        class_index: its class in the bank.
        pixels: uint8 [3, s, s], the classifier's input before mean and standard deviation.
        spurious, core: bool [s, s], where these features of its class lie.
    """

    row: int
    class_index: int
    pixels: Tensor
    spurious: Tensor
    core: Tensor


class Pair(NamedTuple):
    """The donors of one picture."""

    same: Donor
    other: Donor


class Donors:
    """The donors of a data set, of all classes with spurious features that both bank and classifier know."""

    def __init__(
        self,
        pictures: Pictures,
        of_label: NDArray[np.int32],
        classes: Iterable[int],
        side: int,
        seed: int,
        look: Callable[[Sequence[Sample], int], list[Donor]],
    ) -> None:
        """Nothing is read yet.

        Args:
            pictures: the whole data set, not one shard of it.
            of_label: class index in the bank per label of the data set.
            classes: class indices whose pictures may lend.
            side: of the classifier's input, in pixels.
            seed: of the draw.
            look: at samples of one class, at most `CHUNK`; keeps those that clearly show its spurious features.
        """
        self._pictures = pictures
        self._look = look
        self._seed = seed
        class_of_row = of_label[pictures.labels]
        self._candidates = {}
        for c in classes:
            rows = np.flatnonzero(class_of_row == c)
            if rows.size:
                drawn = np.random.default_rng([seed, c]).permutation(rows)[:MOST_CANDIDATES]
                self._candidates[c] = drawn.tolist()
        room = PIXEL_BUDGET // (side * side * max(1, len(self._candidates)))
        self._wanted = min(MOST_DONORS, max(FEWEST_DONORS, room))
        self._found: dict[int, list[Donor]] = {}

    def pair(self, class_index: int, row: int, sample: str) -> Pair | None:
        """The donors of one picture; None where it has not both.

        Args:
            class_index: of the picture, in the bank.
            row, sample: which it is; it never lends to itself.
        """
        if len(self._candidates.get(class_index, ())) < 2:
            return None  # nothing to look at but the picture itself
        digest = hashlib.sha256(f"{self._seed}:{sample}:donors".encode()).digest()
        first, second, third = (int.from_bytes(digest[i : i + 8], "little") for i in (0, 8, 16))
        same = [donor for donor in self._of(class_index) if donor.row != row]
        if not same:
            return None
        partners = self._partners(class_index)
        for step in range(len(partners)):
            if others := self._of(partners[(second + step) % len(partners)]):
                return Pair(same[first % len(same)], others[third % len(others)])
        return None

    def _partners(self, class_index: int) -> list[int]:
        others = [c for c in self._candidates if c != class_index]
        return np.random.default_rng([self._seed, class_index]).permutation(others)[:PARTNERS].tolist()

    def _of(self, class_index: int) -> list[Donor]:
        if class_index not in self._found:
            found: list[Donor] = []
            candidates = self._candidates.get(class_index, [])
            for start in range(0, len(candidates), CHUNK):
                rows = sorted(candidates[start : start + CHUNK])
                found += self._look(list(self._pictures.read(rows)), class_index)
                if len(found) >= self._wanted:
                    break
            self._found[class_index] = found[: self._wanted]
        return self._found[class_index]
