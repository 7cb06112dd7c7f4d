"""What comparisons read: the reports of audits that have succeeded, and the files of their shards side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.audit_request import AuditRequest
from jobs.audit_subjects import scope_of
from jobs.class_map import map_classes
from jobs.classifiers import get_classifier
from jobs.comparability import read_report
from jobs.datasets import get_dataset, get_pictures
from jobs.errors import NotFound
from jobs.measurement import Scope
from jobs.report import Report
from jobs.shards import ShardPlan
from jobs.store import Store
from models.bank import Bank


def report_of(store: Store, audit: str, whose: str, field: str) -> Report:
    """The report of an audit that has succeeded. Raises as `read_report`, and NotFound where there is none."""
    name = f"audits/{audit}/report.json"
    if not audit.isalnum() or not store.exists(name):
        raise NotFound(f"There is no report of an audit {audit[:80]!r}.", field=field)
    return read_report(store.read_bytes(name), whose, field)


def plan_of(store: Store, audit: str) -> ShardPlan:
    """How an audit was cut."""
    return ShardPlan.model_validate_json(store.read_bytes(f"audits/{audit}/plan.json"))


def scopes_of(store: Store, bank: Bank, requests: tuple[AuditRequest, AuditRequest]) -> tuple[Scope, Scope] | None:
    """What both audits sum up; None where the data set or a classifier was deleted since."""
    try:
        first, second = (_scope(store, bank, request) for request in requests)
    except NotFound:
        return None
    return first, second


def side_by_side(
    store: Store, plans: tuple[ShardPlan, ShardPlan], columns: Sequence[str], done: Callable[[int], None]
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """The tables of two audits of the same pictures, however each was cut; one of each is in memory at a time.

    Each picture is in one pair of tables, as is each of a second data set: shards have even parts of both.

    Args:
        store: holds the shards' files.
        plans: of both audits.
        columns: to be read.
        done: called before each pair with the number of pictures that are behind it.
    """
    first, second = plans
    at = other_at = 0
    own, other = _table(store, first, 0, columns), _table(store, second, 0, columns)
    while True:
        done(max(first.positions(at).start, second.positions(other_at).start))
        yield own, other
        ahead = (at + 1) * second.shards - (other_at + 1) * first.shards  # of where both end, as parts of the whole
        if ahead == 0 and at + 1 == first.shards:
            return
        if ahead <= 0:
            own = _table(store, first, at := at + 1, columns)
        if ahead >= 0:
            other = _table(store, second, other_at := other_at + 1, columns)


def _scope(store: Store, bank: Bank, request: AuditRequest) -> Scope:
    classifier, dataset = get_classifier(store, request.classifier), get_dataset(store, request.dataset)
    classes = map_classes(bank, dataset.classes, classifier.spec.classes, request.class_map, request.classes)
    return scope_of(bank, classes, get_pictures(store, dataset.id), request.seed)


def _table(store: Store, plan: ShardPlan, shard: int, columns: Sequence[str]) -> pa.Table:
    with store.open(plan.file("audits", shard)) as file:
        return pq.read_table(file, columns=list(columns))
