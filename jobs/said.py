"""What a classifier says to pictures, as classes of the bank, and how often it says each class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs.paired_sums import shared_under_one_class

Ints = NDArray[np.int64]

READS = ("row", "class", "variant", "part", "predicted")
"""What of a shard's table is read for `Said`."""


@dataclass(frozen=True)
class Said:
    """What the classifier said to some pictures, by row.

    Attributes:
        row: int64 [M], ascending.
        said, label: int64 [M], the class said and the picture's own; -1 for none of the bank's.
    """

    row: Ints
    said: Ints
    label: Ints

    @classmethod
    def of(cls, table: pa.Table, variant: str, of_output: NDArray[np.int32]) -> Said:
        """From the rows of a variant, which has each picture once; the class in the bank of each output."""
        own = table.filter(pc.equal(table["variant"], variant))
        said = of_output[own["predicted"].to_numpy()].astype(np.int64)
        found = cls(own["row"].to_numpy(), said, own["class"].to_numpy().astype(np.int64))
        return found.at(np.argsort(found.row))

    def at(self, places: Ints) -> Said:
        """Some of them."""
        return Said(self.row[places], self.said[places], self.label[places])

    def places(self, other: Said) -> tuple[Ints, Ints]:
        """Places, here and there, of the pictures that another audit has too, under the same class."""
        return shared_under_one_class((self.row, self.label), (other.row, other.label))


def said_by_class(classes: int, first: Ints, second: Ints, among: Ints | None = None) -> Ints:
    """int64 [C, 2, 2], pictures by whether each class was said of them the first time, and the second (last axis).

    Args:
        classes: of the bank.
        first, second: int64 [M], the class said of each picture, -1 for none of the bank's.
        among: int64 [M]; each class counts the pictures that have it here alone. All pictures where left out.
    """

    def count(class_of: Ints, which: NDArray[np.bool_]) -> Ints:
        return np.bincount(class_of[which & (class_of >= 0)], minlength=classes)

    own = first if among is None else among
    every = np.ones(first.size, dtype=bool)
    n = np.full(classes, first.size) if among is None else count(among, every)
    of_first = count(first, first == own)
    of_second = count(second, every if among is None else second == among)
    both = count(first, (first == second) & (first == own))
    tables = [[n - of_first - of_second + both, of_second - both], [of_first - both, both]]
    return np.moveaxis(np.array(tables), -1, 0)
