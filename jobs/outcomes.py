"""Which rows of a shard are compared with one another: the outcomes of each picture under the conditions of a key.

A key is what figures are made of: the pictures of a class, those that show its spurious or its core set, its swaps,
the pictures of other classes that are given its spurious features, or one labelled feature.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs import rows
from models.bank import Bank

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

PULL = "swap_pull"
"""What is tested where pictures of other classes are given the spurious features of a class: right is that class."""

CONDITIONS = ("clean", "outside_core", "control", "tested")
"""The axes of a pattern, each 0 (wrong) or 1 (right); a condition that a key does not have counts as wrong."""


@dataclass(frozen=True)
class Outcomes:
    """K pictures (of a feature: K pictures and features) under the conditions of their keys.

    Attributes:
        variant: what was tested: a value of `rows.VARIANTS`, or `PULL`.
        keys: int64 [K].
        patterns: int64 [K], the outcomes under `CONDITIONS` as the digits of a binary number, the first the highest.
        clean, tested, control: the rows, [K] each.
    """

    variant: str
    keys: Ints
    patterns: Ints
    clean: Columns
    tested: Columns
    control: Columns

    @property
    def evidence(self) -> Floats:
        """Log-odds of the class under the control less those under the tested mask, nats, float64 [K]."""
        return self.control.log_odds - self.tested.log_odds


class Keys:
    """What the figures of a bank are made of, numbered: `whole`, `spurious`, `core`, `swap`, `pull` and `feature`."""

    def __init__(self, bank: Bank) -> None:
        features = bank.manifest.features
        self.classes = len(bank.classes)
        self._channels = bank.features_per_picture
        self._codes = np.array(sorted(self._code(f.class_index, f.feature_index) for f in features))
        self.number = 5 * self.classes + len(features)

    def whole(self, class_index: int) -> int:
        """The key of a class's pictures."""
        return class_index

    def spurious(self, class_index: int) -> int:
        """The key of a class's spurious set."""
        return self.classes + class_index

    def core(self, class_index: int) -> int:
        """The key of a class's core set."""
        return 2 * self.classes + class_index

    def swap(self, class_index: int) -> int:
        """The key of a class's swaps: tested are features of another class, the control are those of its own."""
        return 3 * self.classes + class_index

    def pull(self, class_index: int) -> int:
        """The key of pictures of other classes that are given its features: the control shows those of their own."""
        return 4 * self.classes + class_index

    def feature(self, class_index: int, feature_index: int) -> int:
        """The key of one labelled feature."""
        return int(self._keys(np.array([self._code(class_index, feature_index)]))[0])

    def outcomes_of(self, table: pa.Table) -> Iterator[Outcomes]:
        """What the rows of one shard are for these keys; all rows of a sample must be in it."""
        columns = _by_variant(table)
        clean = columns[rows.CLEAN]
        sample, order = np.unique(clean.row, return_index=True)
        clean = clean.at(order)
        yield Outcomes(rows.CLEAN, clean.class_index, clean.correct * 8, clean, clean, clean)
        for name, control_name, offset in (
            (rows.SPURIOUS, rows.SPURIOUS_CONTROL, self.classes),
            (rows.CORE, rows.CORE_CONTROL, 2 * self.classes),
            (rows.SWAP_OTHER, rows.SWAP_SAME, 3 * self.classes),
            (rows.FEATURE, rows.FEATURE_CONTROL, None),
        ):
            tested, control = columns[name], columns[control_name]
            own = clean.at(np.searchsorted(sample, tested.row))
            pattern = own.correct * 8 + control.correct * 2 + tested.correct
            if name == rows.CORE:
                pattern += columns[rows.OUTSIDE_CORE].correct * 4
            if offset is None:
                keys = self._keys(self._code(tested.class_index, tested.feature))
            else:
                keys = offset + tested.class_index
            yield Outcomes(name, keys, pattern, own, tested, control)
            if name == rows.SWAP_OTHER:
                pattern = control.as_lender * 2 + tested.as_lender
                yield Outcomes(PULL, 4 * self.classes + tested.lender, pattern, own, tested, control)

    def _code(self, class_index: Any, feature_index: Any) -> Any:
        """One whole number per (class, feature)."""
        return class_index * self._channels + feature_index

    def _keys(self, codes: Ints) -> Ints:
        return 5 * self.classes + np.searchsorted(self._codes, codes)


def _by_variant(table: pa.Table) -> dict[str, Columns]:
    """The rows of each of `rows.VARIANTS`, by sample and feature."""
    variant = pc.fill_null(pc.index_in(table["variant"], value_set=pa.array(rows.VARIANTS)), -1).to_numpy()
    columns = Columns.of(table)
    order = np.lexsort((columns.feature, columns.row, variant))
    ends = np.searchsorted(variant[order], np.arange(len(rows.VARIANTS) + 1))
    return {name: columns.at(order[ends[i] : ends[i + 1]]) for i, name in enumerate(rows.VARIANTS)}


@dataclass(frozen=True)
class Columns:
    """Rows of one variant as arrays, by sample and feature; nulls are 0.

    Attributes:
        names: of the samples of all rows of the table.
        place: int64, which of those each row is.
    """

    names: pa.ChunkedArray
    place: Ints
    row: Ints
    class_index: Ints
    feature: Ints
    correct: Ints
    probability: Floats
    log_odds: Floats
    energy: Floats
    overlap: Floats
    donor: Ints
    lender: Ints
    as_lender: Ints

    @classmethod
    def of(cls, table: pa.Table) -> Columns:
        def whole(name: str) -> Ints:
            return pc.fill_null(table[name].cast(pa.int64()), 0).to_numpy()

        def real(name: str) -> Floats:
            return pc.fill_null(table[name].cast(pa.float64()), 0.0).to_numpy()

        return cls(
            names=table["sample"],
            place=np.arange(table.num_rows),
            row=whole("row"),
            class_index=whole("class"),
            feature=whole("feature"),
            correct=whole("correct"),
            probability=real("probability"),
            log_odds=real("log_odds"),
            energy=real("energy"),
            overlap=real("overlap"),
            donor=whole("donor"),
            lender=whole("lender"),
            as_lender=whole("as_lender"),
        )

    def at(self, indices: Ints) -> Columns:
        return Columns(names=self.names, **{name: getattr(self, name)[indices] for name in _ARRAYS})

    def sample(self, index: int) -> str:
        """The name of one row's sample."""
        name: str = self.names[int(self.place[index])].as_py()
        return name


COLUMNS = (
    "sample",
    "row",
    "class",
    "variant",
    "feature",
    "correct",
    "probability",
    "log_odds",
    "energy",
    "overlap",
    "donor",
    "lender",
    "as_lender",
)
"""What of a shard's table is read here."""

_ARRAYS = tuple(field.name for field in fields(Columns) if field.name != "names")
