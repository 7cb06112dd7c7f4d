"""Comparisons as jobs: two audits read side by side, shard by shard, and what differs between them.

One task does it all, so that no sums have to be kept between shards. `comparisons/<id>/` takes the page, the Markdown
and, last, `comparison.json`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import TYPE_CHECKING

import pyarrow as pa

from jobs.comparability import check_comparable
from jobs.comparison import Comparison, compare
from jobs.comparison_files import plan_of, report_of, scopes_of, side_by_side
from jobs.comparison_page import comparison_html, comparison_markdown
from jobs.comparison_request import ComparisonRequest
from jobs.kinds import Kind, Work
from jobs.pairing import Pairing
from jobs.progress import progress_of
from jobs.report import Report
from jobs.robustness import robustness_of
from jobs.settings import Settings
from jobs.store import Store
from jobs.subjects import find_bank

if TYPE_CHECKING:
    from jobs.queue import JobInputs, JobQueue

RESULT = "comparison.json"
PAUSE_SECONDS = 0.5
"""Between two looks at whether the job is still wanted, where nothing is read."""


def check(store: Store, settings: Settings, request: ComparisonRequest) -> dict[str, str]:
    """Find out whether the audits can be compared.

    Raises:
        Invalid: They cannot; it says in what they differ.
        NotFound: One has left no report, or their bank is not there any more.
    """
    first, *_ = _reports(store, request)
    find_bank(settings, first.bank.digest)
    return {}


def plan(queue: JobQueue, job: str, inputs: JobInputs) -> Work:
    """All in one shard, whose pictures count once for each time that they are read."""
    first, second, *_ = _reports(queue.store, _request(inputs))
    pictures = plan_of(queue.store, first.audit).pictures * _pairing(queue, first, second).passes
    return Work([pictures], frozenset({0} if queue.store.exists(_file(job)) else ()))


def run_shard(queue: JobQueue, job: str, shard: int, inputs: JobInputs) -> int:
    """Compare, unless that is done."""
    store, report = queue.store, progress_of(queue.ledger, job, shard)
    first, second, *others = _reports(store, _request(inputs))
    pairing, plans = _pairing(queue, first, second), (plan_of(store, first.audit), plan_of(store, second.audit))
    if not store.exists(_file(job)):
        passed = count(step=plans[0].pictures)

        def tables(columns: Sequence[str]) -> Iterator[tuple[pa.Table, pa.Table]]:
            before = next(passed)
            return side_by_side(store, plans, columns, lambda pictures: report(before + pictures))

        pairing.take_in(tables)
        alive = _now_and_then(lambda: report(pairing.passes * plans[0].pictures))
        found = compare(first, second, pairing, inputs.code_version, alive)
        if others:
            robustness = robustness_of([first, second, *others])
            found = found.model_copy(update={"effective_robustness": robustness})
        _publish(store, job, found)
    return pairing.passes * plans[0].pictures


def reduce(queue: JobQueue, job: str, inputs: JobInputs) -> None:
    """There is nothing left to do."""


KIND = Kind("comparison", ComparisonRequest, check, plan, run_shard, reduce)


def _publish(store: Store, job: str, found: Comparison) -> None:
    store.write_bytes(f"comparisons/{job}/comparison.html", comparison_html(found).encode())
    store.write_bytes(f"comparisons/{job}/comparison.md", comparison_markdown(found).encode())
    store.write_bytes(_file(job), found.to_json())


def _reports(store: Store, request: ComparisonRequest) -> list[Report]:
    """Of the audit, the baseline and the further audits. Raises as `check`."""
    first = report_of(store, request.audit, "the audit", "audit")
    second = report_of(store, request.baseline, "the baseline", "baseline")
    check_comparable(first, second, "baseline")
    others = [report_of(store, other, "the further audit", "with") for other in request.others]
    for other in others:
        check_comparable(first, other, "with")
    return [first, second, *others]


def _pairing(queue: JobQueue, first: Report, second: Report) -> Pairing:
    bank, requests = find_bank(queue.settings, first.bank.digest), (first.parameters, second.parameters)
    return Pairing(bank, requests, scopes_of(queue.store, bank, requests))


def _now_and_then(act: Callable[[], None]) -> Callable[[], None]:
    """The same, done only where it was not for a while."""
    last = time.monotonic()

    def maybe() -> None:
        nonlocal last
        if time.monotonic() - last > PAUSE_SECONDS:
            last = time.monotonic()
            act()

    return maybe


def _request(inputs: JobInputs) -> ComparisonRequest:
    return ComparisonRequest.model_validate(inputs.pinned())


def _file(job: str) -> str:
    return f"comparisons/{job}/{RESULT}"
