"""One measurement on the world of coloured squares: what the classifier is shown, the rows, and the section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from jobs.audit import Subjects, audit_shard, scope_of
from jobs.audit_request import AuditRequest
from jobs.datasets import Sample
from jobs.figures import Figure
from jobs.measurements import measurements
from jobs.sections import Entry, Section
from tests.jobs import world


@dataclass(frozen=True)
class Measured:
    """What came out."""

    table: pa.Table
    section: Section

    def entry(self, metric: str, of: str | None = "hen", part: str | None = None) -> Entry:
        """The one entry of this name."""
        (found,) = (e for e in self.section.entries if (e.metric, e.of, e.part) == (metric, of, part))
        return found

    def figure(self, metric: str, of: str | None = "hen", part: str | None = None) -> Figure:
        """Its figure."""
        return self.entry(metric, of, part).figure

    def value(self, metric: str, of: str | None = "hen", part: str | None = None) -> float | None:
        """Its value."""
        return self.figure(metric, of, part).value

    def rows(self, variant: str, part: str | None = None) -> list[dict[str, Any]]:
        """The rows of a variant, by picture."""
        found = [row for row in self.table.to_pylist() if row["variant"] == variant and part in (None, row["part"])]
        return sorted(found, key=lambda row: (row["row"], row["part"] or ""))


class Recorder:
    """A classifier that keeps what it is shown, and answers as another one does."""

    def __init__(self, predict: Any = None) -> None:
        self._predict = predict or world.looking_at(world.RED)
        self.shown: list[np.ndarray] = []

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        self.shown += list(batch.copy())
        return self._predict(batch)


def request(name: str, parameters: Mapping[str, Any], beside: Sequence[str] = (), batch_size: int = 8) -> AuditRequest:
    """An audit that makes this measurement, and others as they usually are."""
    chosen = {name: dict(parameters)} | {other: {} for other in beside}
    return AuditRequest(classifier="c", dataset="d", bank="world", batch_size=batch_size, measurements=chosen)


def measure(
    name: str,
    predict: Any,
    items: Sequence[Sample],
    parameters: Mapping[str, Any] | None = None,
    *,
    beside: Sequence[str] = (),
    batch_size: int = 8,
    subjects: Subjects | None = None,
    further: Sequence[Sample] | None = None,
) -> Measured:
    """Audit the samples in one shard and sum up."""
    asked = request(name, parameters or {}, beside, batch_size)
    subject = subjects or world.subjects(predict, dataset=items)
    second = None if further is None else {name: further}
    table = audit_shard(items, subject, asked, 10**6, lambda done: None, second)
    return Measured(table, summed_up(name, [table], subject, parameters or {}))


def summed_up(name: str, tables: Sequence[pa.Table], subject: Subjects, parameters: Mapping[str, Any]) -> Section:
    """The section of some shards' tables."""
    own = measurements()[name]
    scope = scope_of(subject.bank, subject.classes, subject.pictures, seed=0)
    tally = own.tally(scope, own.parameters.model_validate(dict(parameters)))
    assert tally is not None
    for table in tables:
        tally.add(table)
    assert not tally.again()
    return tally.section()


def refused(name: str, parameters: Mapping[str, Any]) -> tuple[str, str]:
    """The field at fault and the message of a request that is refused for its parameters."""
    with pytest.raises(ValidationError) as raised:
        request(name, parameters)
    (error,) = raised.value.errors()
    return ".".join(map(str, error["loc"])), error["msg"]


def check_that_batches_change_nothing(name: str, parameters: Mapping[str, Any], items: Sequence[Sample]) -> None:
    """Batches of another size and two shards in place of one give the same rows and the same section."""
    predict = world.looking_at(world.GREEN)
    whole = measure(name, predict, items, parameters)
    subject = world.subjects(predict, dataset=items)
    half = len(items) // 2
    parts = [
        audit_shard(part, subject, request(name, parameters, batch_size=3), 10**6, lambda done: None)
        for part in (items[:half], items[half:])
    ]
    by = [("row", "ascending"), ("variant", "ascending"), ("part", "ascending")]
    assert pa.concat_tables(parts).sort_by(by).equals(whole.table.sort_by(by))
    assert summed_up(name, parts, subject, parameters) == whole.section
