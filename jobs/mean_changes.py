"""How figures that are means over pictures differ between two audits: picture by picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jobs.figures import generator_of
from jobs.measurement import Change, Changes, Scope, changes_by_class
from jobs.paired_sums import PairedSums, shared

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Values:
    """What M pictures of one audit add to the figures of a metric, which are their means.

    Attributes:
        metric: its name.
        reach: as in `PairedSums.change`.
        row: int64 [M], the picture.
        class_index: int64 [M], its class in the bank.
        value: float64 [M].
        parts: ways in which pictures were changed; each has a figure of its own.
        part: int64 [M], place among them; each picture comes once for each.
    """

    metric: str
    reach: float
    row: Ints
    class_index: Ints
    value: NDArray[np.float64]
    parts: Sequence[str | None] = (None,)
    part: Ints | None = None

    @property
    def keys(self) -> Ints:
        """int64 [M]: class and part as one number."""
        return self.class_index if self.part is None else self.class_index * len(self.parts) + self.part


class MeanChanges(Changes):
    """Of all metrics of a section that are means over pictures."""

    def __init__(
        self,
        section: str,
        scopes: tuple[Scope, Scope],
        reads: Iterable[str],
        values: Callable[[pa.Table, Scope], Iterable[Values]],
    ) -> None:
        """Nothing is summed yet.

        Args:
            section: name of the measurement, for the seeds.
            scopes: of both audits.
            reads: as in `Changes`.
            values: of the rows of one audit; the same metrics for all tables, in one order.
        """
        self.reads = tuple(reads)
        self._section, self._scopes, self._values = section, scopes, values
        self._metrics: dict[str, _Metric] = {}

    def add(self, first: pa.Table, second: pa.Table) -> None:
        """See `Changes`."""
        found = (self._values(table, scope) for table, scope in zip((first, second), self._scopes, strict=True))
        for own, other in zip(*found, strict=True):
            if own.metric not in self._metrics:
                sums = PairedSums(len(self._scopes[0].bank.classes) * len(own.parts))
                self._metrics[own.metric] = _Metric(own.reach, own.parts, sums)
            sums = self._metrics[own.metric].sums
            at, other_at = shared(own.row * sums.keys + own.keys, other.row * sums.keys + other.keys)
            sums.add(own.keys[at], own.value[at], other.value[other_at])

    def found(self) -> Iterator[Change]:
        """See `Changes`."""
        scope = self._scopes[0]
        for name, metric in self._metrics.items():
            for place, part in enumerate(metric.parts):
                own = {}
                for c in scope.classes:
                    key = c * len(metric.parts) + place
                    if metric.sums.pictures(key):
                        generator = generator_of(scope.seed, self._section, "change", name, part, c)
                        own[c] = metric.sums.change([key], metric.reach, generator)
                yield from changes_by_class(scope.bank, name, own, part)


@dataclass(frozen=True)
class _Metric:
    reach: float
    parts: Sequence[str | None]
    sums: PairedSums
