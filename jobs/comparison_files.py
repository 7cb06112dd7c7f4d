"""Comparisons of audits in the store: from their shards' files, kept beside the audit, and made once."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from jobs.audit_pairs import AuditPairs
from jobs.comparability import check_comparable, read_report
from jobs.comparison import Comparison, compare
from jobs.outcomes import COLUMNS
from jobs.report import Report
from jobs.robustness import robustness_of
from jobs.settings import Settings
from jobs.shards import ShardPlan
from jobs.store import Store
from jobs.subjects import find_bank
from jobs.version import code_version
from models.bank import Bank

FOLDER = "comparisons"
"""Below an audit's folder; one file for each baseline."""


def report_of(store: Store, audit: str, whose: str, field: str) -> Report:
    """The report of an audit that has succeeded. Raises as `read_report`."""
    return read_report(store.read_bytes(f"audits/{audit}/report.json"), whose, field)


def comparison_of(
    store: Store, settings: Settings, audit: str, baseline: str, others: Sequence[str] = ()
) -> Comparison:
    """Compare two audits that have succeeded.

    Args:
        store: holds their reports and the files of their shards.
        settings: where banks are.
        audit, baseline: their ids.
        others: ids of further audits, beside which the effective robustness of all is reckoned.

    Raises:
        Invalid: They cannot be compared; it says in what they differ.
        NotFound: Their bank is not there any more.
    """
    first = report_of(store, audit, "the audit", "audit")
    second = report_of(store, baseline, "the baseline", "baseline")
    further = [report_of(store, other, "the further audit", "with") for other in others]
    for other in further:
        check_comparable(first, other, "with")
    found = _kept(store, audit, baseline) or _made(store, settings, first, second)
    if further:
        return found.model_copy(update={"effective_robustness": robustness_of([first, second, *further])})
    return found


def pairs_of(store: Store, first: ShardPlan, second: ShardPlan, bank: Bank) -> AuditPairs:
    """The pairs of two audits; a table of each is in memory at a time, whether or not they were cut alike."""
    pairs, at, other_at = AuditPairs(bank), 0, 0
    own, other = _table(store, first, 0), _table(store, second, 0)
    while True:
        pairs.add(own, other)
        end, other_end = first.positions(at).stop, second.positions(other_at).stop
        if end >= first.pictures and other_end >= second.pictures:
            return pairs
        if end <= other_end:
            own = _table(store, first, at := at + 1)
        if other_end <= end:
            other = _table(store, second, other_at := other_at + 1)


def _made(store: Store, settings: Settings, first: Report, second: Report) -> Comparison:
    check_comparable(first, second, "baseline")
    bank = find_bank(settings, first.bank.digest)
    plans = [
        ShardPlan.model_validate_json(store.read_bytes(f"audits/{report.audit}/plan.json"))
        for report in (first, second)
    ]
    pairs = pairs_of(store, plans[0], plans[1], bank)
    found = compare(first, second, (pairs, bank), code_version())
    store.write_bytes(_name(first.audit, second.audit), found.to_json())
    return found


def _kept(store: Store, audit: str, baseline: str) -> Comparison | None:
    """The comparison as this version of the code made it before."""
    name = _name(audit, baseline)
    if not store.exists(name):
        return None
    try:
        found = Comparison.model_validate_json(store.read_bytes(name))
    except ValidationError:
        return None  # of another version
    return found if found.code_version == code_version() else None


def _name(audit: str, baseline: str) -> str:
    return f"audits/{audit}/{FOLDER}/{baseline}.json"


def _table(store: Store, plan: ShardPlan, shard: int) -> pa.Table:
    with store.open(plan.file("audits", shard)) as file:
        return pq.read_table(file, columns=list(COLUMNS))
