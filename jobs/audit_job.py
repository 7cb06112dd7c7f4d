"""Audits as jobs: planned, done shard by shard, and reduced to a report."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

import pyarrow as pa

from jobs import rows
from jobs.audit import audit_shard
from jobs.audit_request import AuditRequest
from jobs.datasets import get_dataset, read_rows
from jobs.errors import Unavailable
from jobs.kinds import Kind, Work
from jobs.ledger import Ledger
from jobs.progress import progress_of
from jobs.publication import publish
from jobs.settings import Settings
from jobs.shards import ShardPlan, plan_shards
from jobs.store import Store
from jobs.subjects import check_subjects, open_subjects

if TYPE_CHECKING:
    from jobs.queue import JobInputs, JobQueue


def check(store: Store, settings: Settings, request: AuditRequest) -> dict[str, str]:
    """Pin the bank by its digest. Raises as `check_subjects`."""
    return {"bank": check_subjects(store, settings, request).digest}


def plan(queue: JobQueue, job: str, inputs: JobInputs) -> Work:
    """Cut the audit into shards, once."""
    store, request = queue.store, _request(inputs)
    name = f"audits/{job}/plan.json"
    if not store.exists(name):
        samples = get_dataset(store, request.dataset).pictures
        fresh = plan_shards(job, samples, request.max_pictures, queue.settings.shard_pictures, request.seed)
        store.write_bytes(name, fresh.model_dump_json(indent=1).encode())
    shards = _plan(store, job)
    second = [get_dataset(store, identifier).pictures for identifier in request.further().values()]
    there = {f"audits/{job}/shards/{file}" for file in store.list(f"audits/{job}/shards")}
    return Work(
        [
            len(shards.positions(shard)) + sum(len(shards.stretch(shard, total)) for total in second)
            for shard in range(shards.shards)
        ],
        frozenset(shard for shard in range(shards.shards) if shards.file("audits", shard) in there),
    )


def run_shard(queue: JobQueue, job: str, shard: int, inputs: JobInputs) -> int:
    """Audit one shard and write its file, unless it is there."""
    shards = _plan(queue.store, job)
    name = shards.file("audits", shard)
    request = _request(inputs)
    second = {
        measurement: (identifier, shards.stretch(shard, get_dataset(queue.store, identifier).pictures))
        for measurement, identifier in request.further().items()
    }
    if not queue.store.exists(name):
        began = time.monotonic()
        with open_subjects(queue.store, queue.settings, request) as subjects:
            table = audit_shard(
                read_rows(queue.store, request.dataset, shards.rows_of(shard)),
                subjects,
                request,
                queue.settings.max_pixels,
                progress_of(queue.ledger, job, shard),
                {name: read_rows(queue.store, identifier, own) for name, (identifier, own) in second.items()},
            )
        queue.store.write_bytes(name, rows.to_parquet(table))
        _count(queue.ledger, table, time.monotonic() - began)
    return len(shards.positions(shard)) + sum(len(own) for _, own in second.values())


def reduce(queue: JobQueue, job: str, inputs: JobInputs) -> None:
    """Write the report from the shards' files, unless it is there."""
    if not queue.store.exists(f"audits/{job}/report.json"):
        publish(queue.store, queue.settings, _request(inputs), _plan(queue.store, job), inputs.code_version)


KIND = Kind("audit", AuditRequest, check, plan, run_shard, reduce)


def _request(inputs: JobInputs) -> AuditRequest:
    return AuditRequest.model_validate(inputs.pinned())


def _plan(store: Store, job: str) -> ShardPlan:
    return ShardPlan.model_validate_json(store.read_bytes(f"audits/{job}/plan.json"))


def _count(ledger: Ledger, table: pa.Table, seconds: float) -> None:
    """Add a shard to the counters of all workers; they are for watching, a lost one does no harm."""
    variants = Counter(table["variant"].to_pylist())
    reasons = Counter(reason for reason in table["reason"].to_pylist() if reason is not None)
    increments = {f"pictures_skipped:{reason}": float(count) for reason, count in reasons.items()}
    with suppress(Unavailable):
        ledger.count(shards=1, shard_seconds=seconds, pictures_audited=variants[rows.CLEAN], **increments)
