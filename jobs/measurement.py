"""What a measurement of an audit is: it may change pictures, note what the networks saw, and sum up in a section.

All measurements share one decode, one backbone forward and the classifier's clean forward of every picture; each new
one is a file in `jobs.measurements` that defines `MEASUREMENT`, and nothing else changes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from jobs.figures import Estimate, mean
from jobs.sections import Metric, Section
from jobs.variants import Seen
from jobs.views import View
from models.backbone import Features
from models.bank import Bank
from models.classifiers.linear_head import LinearHead


class Parameters(BaseModel):
    """Of a measurement; those that have none take nothing but `{}`."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class OwnFeatures:
    """What the audited classifier's last linear layer makes of N pictures.

    Attributes:
        features: float32 [N, D], what goes into it.
        head: the layer.
        of_output: int32 [C], class index in the bank that each output stands for, or -1.
    """

    features: NDArray[np.float32]
    head: LinearHead
    of_output: NDArray[np.int32]

    def output_of(self, class_index: int) -> int | None:
        """The one output that stands for a class of the bank; None where none or several do."""
        found = np.flatnonzero(self.of_output == class_index)
        return int(found[0]) if len(found) == 1 else None


@dataclass(frozen=True)
class Batch:
    """N pictures as both networks see them.

    Attributes:
        bank: the labels.
        views: the pictures.
        pixels: float32 [N, 3, s, s] in [0, 1], the classifier's input before mean and standard deviation.
        draws: float32 of that shape, standard normal, each picture's own whatever the batch.
        features: of the backbone.
        seen: where the labelled features lie, in the classifier's input pixels.
        correct: bool [N], whether the classifier is right on the unchanged picture.
        seed: of the audit.
        scope: of the whole audit.
        corrupt: what the request does to the masked part of pictures: (pictures [M, 3, s, s], masks [M, s, s],
            draws [M, 3, s, s]) -> [M, 3, s, s].
        own: what the classifier itself sees, for measurements with `own_features`; or why that is not to be had.
    """

    bank: Bank
    views: Sequence[View]
    pixels: Tensor
    draws: Tensor
    features: Features
    seen: Seen
    correct: NDArray[np.bool_]
    seed: int
    scope: Scope
    corrupt: Callable[[Tensor, Tensor, Tensor], Tensor]
    own: OwnFeatures | str | None = None


@dataclass(frozen=True)
class Changed:
    """V pictures of a batch, changed in one way, to be shown to the classifier: V rows of the shard's table.

    Attributes:
        variant: value of the rows' column of that name; starts with the name of the measurement.
        picture: int64 [V], the picture of the batch that each is made of.
        make: some of them, by a slice of the V: float32 [v, 3, s, s] in [0, 1] on the batch's device. They are made
            when they are needed, so that never more than a batch of them is in memory.
        columns: further columns of the rows, each of length V.
    """

    variant: str
    picture: NDArray[np.int64]
    make: Callable[[slice], Tensor]
    columns: Mapping[str, Any] = field(default_factory=dict)


class Tally(ABC):
    """Takes in the shards' tables one at a time, as often as it needs, and sums up.

    Its size depends on the bank and its parameters alone, not on the number of pictures.

    Attributes:
        reads: columns of the tables that it looks at; all where None.
    """

    reads: ClassVar[tuple[str, ...] | None] = None

    @abstractmethod
    def add(self, table: pa.Table) -> None:
        """Take in one shard: all rows of its samples, also those of other measurements and of skipped samples."""

    def again(self) -> bool:
        """Whether all tables are to be taken in once more, now that the last has been."""
        return False

    @abstractmethod
    def section(self) -> Section:
        """What was found."""


@dataclass(frozen=True)
class Scope:
    """What a tally is of.

    Attributes:
        bank: the labels.
        classes: class indices with labelled features that data set, classifier and request have.
        seed: of the intervals' bootstrap and of any further draw.
        sizes: pictures of the data set by class index.
        of_row: int32 [rows], class index in the bank of each picture of the data set, -1 where there is none.
        of_output: int32 [C], the same of each output of the classifier.
    """

    bank: Bank
    classes: Sequence[int]
    seed: int
    sizes: Mapping[int, int]
    of_row: NDArray[np.int32]
    of_output: NDArray[np.int32]

    @cached_property
    def place(self) -> NDArray[np.int64]:
        """int64 [rows]: each picture's place among those of its class in an order drawn by the seed.

        Those with a place below k are k pictures of each class, the same for every shard and every classifier.
        """
        order = np.lexsort((np.random.default_rng(self.seed).random(self.of_row.size), self.of_row))
        place = np.empty(self.of_row.size, dtype=np.int64)
        of_class = self.of_row[order]
        place[order] = np.arange(order.size) - np.searchsorted(of_class, of_class)
        return place


@dataclass(frozen=True)
class Change:
    """A figure of a section in one audit less that in another of the same pictures.

    Attributes:
        metric, of, feature, part: as in its `Entry`.
        estimate: picture compared with picture.
    """

    metric: str
    of: str | None
    estimate: Estimate
    feature: int | None = None
    part: str | None = None


def changes_by_class(
    bank: Bank, metric: str, by_class: Mapping[int, Estimate], part: str | None = None
) -> Iterator[Change]:
    """Of the mean over classes, then of each of them, by class index."""
    yield Change(metric, None, mean(list(by_class.values())), part=part)
    for c, estimate in by_class.items():
        yield Change(metric, bank.classes[c], estimate, part=part)


class Changes(ABC):
    """Takes in the tables of two audits side by side and tells how figures of a section differ between them.

    Its size depends on the bank and its parameters alone, not on the number of pictures, but where pictures are ranked:
    there it is some bytes for each. The tables of a pair may have all, some or no pictures in common; each picture that
    both audits have is in one pair.

    Attributes:
        reads: columns of the tables that it looks at.
        looks: whether it wants to see all tables once before.
    """

    reads: tuple[str, ...]
    looks: ClassVar[bool] = False

    def look(self, first: pa.Table, second: pa.Table) -> None:  # noqa: B027
        """See a pair of tables, before all are taken in."""

    @abstractmethod
    def add(self, first: pa.Table, second: pa.Table) -> None:
        """Take in a pair of tables."""

    @abstractmethod
    def found(self) -> Iterator[Change]:
        """What all of them say; also of figures that a report may not have."""


class Measurement(ABC):
    """One way of measuring reliance on spurious features.

    Attributes:
        name: as requests call it.
        title: for people.
        summary: what it does, in one sentence.
        needs: what must be there for it to say anything, for people.
        parameters: what may be set.
        default: whether audits that do not choose have it.
        columns: columns that it adds to the shards' tables, beyond `rows.SCHEMA`.
        own_features: whether it needs what goes into the classifier's last linear layer (`Batch.own`).
        metrics: of its section, for those who write rules before there is a report.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]
    parameters: ClassVar[type[Parameters]] = Parameters
    default: ClassVar[bool] = False
    columns: ClassVar[tuple[pa.Field, ...]] = ()
    own_features: ClassVar[bool] = False
    metrics: ClassVar[tuple[Metric, ...]] = ()

    @property
    def complete(self) -> bool:
        """Whether all of its parameters may be left out."""
        return not any(field.is_required() for field in self.parameters.model_fields.values())

    def changed(self, batch: Batch, parameters: Any) -> Iterable[Changed]:
        """What the classifier is to be shown beyond the pictures as they are."""
        return ()

    def noted(self, batch: Batch, parameters: Any, scope: Scope) -> Mapping[str, Any]:
        """Values of `columns` for the rows of the unchanged pictures, each of length N."""
        return {}

    def further(self, parameters: Any) -> str | None:
        """Id of a second data set, which the classifier is shown as it is; its rows have the measurement's name."""
        return None

    def tally(self, scope: Scope, parameters: Any) -> Tally | None:
        """What sums up; None for those whose figures stand in the report's findings."""
        return None

    def changes(self, scopes: tuple[Scope, Scope], parameters: Any) -> Sequence[Changes]:
        """What tells how its figures differ between two audits; those left out are compared as of other pictures."""
        return ()
