"""The jobs of this installation: submit, follow, cancel and retry them.

What is submitted is written to the store first and then queued in Redis; what has ended is written to the store too.
So a finished job outlives Redis, and one that was on its way when Redis lost its data is queued again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import rq
from pydantic import BaseModel, ConfigDict, Field

from jobs.errors import Conflict, LimitExceeded, NotFound, StoreFull, Unavailable
from jobs.kinds import FOLDERS, Kind, kind_of, kinds
from jobs.ledger import Ledger
from jobs.records import JobPage, JobRecord, JobState
from jobs.redis_client import answering, connect
from jobs.settings import Settings
from jobs.store import Store
from jobs.version import code_version

PLAN, REDUCE, SHARD = "plan", "reduce", "shard-"
ENQUEUED_AT_ONCE = 1000
FAILURE_SECONDS = 24 * 3600  # how long RQ keeps what it knows of a failed task
# The same for one that ended well. With 0 RQ 3.0.0 deletes the task at once, and raises "Execution ... not found" where
# an earlier start of it died with its worker.
RESULT_SECONDS = 60
ID_DIGITS = 32
UNFINISHED = (JobState.QUEUED, JobState.RUNNING)


class JobInputs(BaseModel):
    """Everything that decides the bytes of a job's result. `<folder>/<id>/request.json`."""

    model_config = ConfigDict(frozen=True)

    kind: str = Field(description="What is done.")
    request: dict[str, Any] = Field(description="As submitted; banks may be given by name.")
    pins: dict[str, str] = Field(description="Fields of the request with what their names stood for: digests.")
    code_version: str = Field(description="Version that computes the result.")
    created: datetime = Field(description="When it was first submitted, UTC; not part of the id.")

    def pinned(self) -> dict[str, Any]:
        """The request with every name replaced by what it stood for."""
        return self.request | self.pins

    def kind_of_job(self) -> Kind:
        """The functions that do it."""
        return kinds()[self.kind]

    def id(self) -> str:
        """32 hexadecimal digits, equal for equal inputs."""
        inputs = {"kind": self.kind, "request": self.pinned(), "code_version": self.code_version}
        text = json.dumps(inputs, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:ID_DIGITS]


class JobQueue:
    """One per process; its methods may be called from several threads.

    Every method raises `Unavailable` while Redis or the store cannot be reached, unless it says otherwise.
    """

    def __init__(self, settings: Settings) -> None:
        """Connects when first used."""
        self.settings = settings
        self.store = Store.from_settings(settings)
        self.ledger = Ledger(connect(settings.redis_url, text=True))
        self._folders: dict[str, str] = {}
        self.rq = rq.Queue(settings.queue, connection=connect(settings.redis_url, text=False), serializer="json")

    # --- What users do

    def submit(self, request: BaseModel) -> JobRecord:
        """Queue a job; one with the same inputs that is queued, running or done is returned instead.

        One that failed or was cancelled is tried again, its finished shards kept.

        Raises:
            NotFound, Invalid: The request names something that is not there or does not fit.
            LimitExceeded: As many jobs as allowed are queued or running.
        """
        inputs = self._inputs_of(request)
        job = inputs.id()
        known = self._find(job)
        if known is not None:
            return self.retry(job) if known.state in (JobState.FAILED, JobState.CANCELLED) else known
        if len(self.ledger.active()) >= self.settings.max_jobs:
            raise LimitExceeded(
                f"{self.settings.max_jobs} jobs are queued or running.",
                remedy="Wait for one to end, or have CUECHECK_MAX_JOBS raised.",
            )
        self.store.write_bytes(
            f"{inputs.kind_of_job().folder}/{job}/request.json", inputs.model_dump_json(indent=1).encode()
        )
        self.enter(job)
        return self.get(job)

    def known(self, request: BaseModel) -> JobRecord | None:
        """The job that such a request would be, if it was submitted before. Raises as `submit` where it is refused."""
        return self._find(self._inputs_of(request).id())

    def get(self, job: str, kind: str | None = None) -> JobRecord:
        """The job's record as of now; a finished one is answered from the store where Redis cannot.

        Raises:
            NotFound: There is no such job, or none of this kind where one is named.
        """
        record = self._find(job)
        if record is None or kind not in (None, record.kind):
            raise NotFound(f"There is no job {job[:80]!r}.", field="job")
        return record

    def page(self, after: str | None = None, limit: int = 50, kind: str | None = None) -> JobPage:
        """Up to `limit` jobs, newest first, from the one that follows `after`; of one kind where it is named."""
        found: list[JobRecord] = []
        while len(found) <= limit and (ids := self.ledger.page(after, limit + 1)):
            records = (self.ledger.read(job) for job in ids)
            found += [record for record in records if record is not None and kind in (None, record.kind)]
            after = ids[-1]
        return JobPage(jobs=found[:limit], next=found[limit - 1].id if len(found) > limit else None)

    def watch(self, job: str, pause: float = 0.25) -> Iterator[JobRecord]:
        """The job's record now and whenever it has changed, until it has ended.

        Args:
            job: Its id.
            pause: Seconds between two looks.
        """
        last: JobRecord | None = None
        while last is None or not last.state.is_final:
            record = self.get(job)
            if record != last:
                last = record
                yield record
            if not record.state.is_final:
                time.sleep(pause)

    def cancel(self, job: str) -> JobRecord:
        """Stop a job: its queued shards are dropped, running ones stop at their next batch.

        Raises:
            NotFound: There is no such job.
            Conflict: It has succeeded or failed already.
        """
        record = self.get(job)
        if not self._end(job, JobState.CANCELLED, UNFINISHED, message=None):
            record = self.get(job)
            if record.state is not JobState.CANCELLED:
                raise Conflict(f"Job {job} has {record.state} already.", field="job")
        return self.get(job)

    def retry(self, job: str) -> JobRecord:
        """Try a failed or cancelled job again; shards that were finished are kept.

        Raises:
            NotFound: There is no such job.
            Conflict: It has not ended, or has succeeded.
        """
        record = self.get(job)
        if record.state not in (JobState.FAILED, JobState.CANCELLED):
            raise Conflict(f"Job {job} is {record.state}: only failed or cancelled ones are retried.", field="job")
        self.store.delete(self.file(job, "job.json"))
        self.ledger.forget_work(job)
        if self.ledger.move(
            job, (JobState.FAILED, JobState.CANCELLED), JobState.QUEUED, started=None, finished=None, shards=None
        ):
            self.enqueue(job, [PLAN])
        return self.get(job)

    def users_of(self, identifier: str) -> list[str]:
        """Ids of queued or running jobs that need a data set or classifier, which must not be deleted then."""
        records = (self.ledger.read(job) for job in self.ledger.active())
        return sorted(record.id for record in records if record and identifier in record.request.values())

    def artefacts(self, job: str) -> list[str]:
        """Names of the files a job left that may be downloaded, below its folder."""
        folder = self.folder(job)
        hidden = {"shards", "job.json"} | self._kind(job).hidden
        return [name for name in self.store.list(folder) if name not in hidden]

    # --- What workers do

    def folder(self, job: str) -> str:
        """Where the job's files lie in the store.

        Raises:
            NotFound: There is no such job.
        """
        if job not in self._folders:
            for folder in FOLDERS.values():
                if self.store.exists(f"{folder}/{job}/request.json"):
                    self._folders[job] = f"{folder}/{job}"
                    break
            else:
                raise NotFound(f"There is no job {job[:80]!r}.", field="job")
        return self._folders[job]

    def file(self, job: str, name: str) -> str:
        """A file of the job, as it is named in the store."""
        return f"{self.folder(job)}/{name}"

    def inputs(self, job: str) -> JobInputs:
        """What the job was submitted with."""
        return JobInputs.model_validate_json(self.store.read_bytes(self.file(job, "request.json")))

    def succeed(self, job: str) -> bool:
        """Mark a job whose report is in the store as done; False where it was cancelled meanwhile."""
        return self._end(job, JobState.SUCCEEDED, UNFINISHED, message=None)

    def fail(self, job: str, message: str) -> bool:
        """End a job with a reason in plain words; False where it has ended already."""
        return self._end(job, JobState.FAILED, UNFINISHED, message=message)

    @answering
    def enqueue(self, job: str, tasks: Iterable[str]) -> None:
        """Put tasks of a job on the queue: `plan`, `shard-<n>` or `reduce`."""
        batch: list[rq.queue.EnqueueData] = []
        for task in tasks:
            batch.append(self._task_data(job, task))
            if len(batch) == ENQUEUED_AT_ONCE:
                self.rq.enqueue_many(batch)
                batch = []
        if batch:
            self.rq.enqueue_many(batch)

    @answering
    def queued(self) -> dict[str, set[str]]:
        """The tasks on the queue by job."""
        return by_job(self.rq.get_job_ids())

    @answering
    def taken(self) -> dict[str, set[str]]:
        """The tasks, by job, that a worker has taken off the queue and not yet begun."""
        return by_job(self.rq.intermediate_queue.get_job_ids())

    def enter(self, job: str) -> None:
        """Make a job of the store known to Redis: final as it ended, else queued from the start."""
        inputs = self.inputs(job)
        record = self._final(job)
        if record is None:
            record = JobRecord(
                id=job,
                kind=inputs.kind,
                state=JobState.QUEUED,
                created=inputs.created,
                request=inputs.request,
            )
        if self.ledger.add(record) and not record.state.is_final:
            self.enqueue(job, [PLAN])

    # --- Inside

    def _inputs_of(self, request: BaseModel) -> JobInputs:
        kind = kind_of(request)
        return JobInputs(
            kind=kind.name,
            request=request.model_dump(mode="json"),
            pins=kind.check(self.store, self.settings, request),
            code_version=code_version(),
            created=datetime.now(UTC),
        )

    def _kind(self, job: str) -> Kind:
        folder = self.folder(job).split("/")[0]
        return next(kind for kind in kinds().values() if kind.folder == folder)

    def _find(self, job: str) -> JobRecord | None:
        if len(job) != ID_DIGITS or not job.isalnum():
            return None
        try:
            record = self.ledger.read(job)
        except Unavailable:
            record = self._final(job)
            if record is None:
                raise
        if record is None:
            with suppress(NotFound):
                self.enter(job)  # Redis has lost it
                record = self.ledger.read(job)
        if record is None or not record.state.is_final:
            return record
        return record.model_copy(update={"artefacts": self.artefacts(job)})

    def _final(self, job: str) -> JobRecord | None:
        try:
            name = self.file(job, "job.json")
        except NotFound:
            return None
        return JobRecord.model_validate_json(self.store.read_bytes(name)) if self.store.exists(name) else None

    def _end(self, job: str, state: JobState, leaving: tuple[JobState, ...], message: str | None) -> bool:
        if not self.ledger.move(job, leaving, state, message=message, finished=datetime.now(UTC)):
            return False
        self.ledger.count(**{f"jobs_{state}": 1})
        self._drop_queued(job)
        record = self.ledger.read(job)
        if record is not None:
            with suppress(StoreFull):  # a full store is why many an audit fails; Redis knows the reason
                self.store.write_bytes(self.file(job, "job.json"), record.model_dump_json(indent=1).encode())
        self.ledger.forget_work(job)
        return True

    @answering
    def _drop_queued(self, job: str) -> None:
        mine = [name for name in self.rq.get_job_ids() if name.startswith(f"{job}-")]
        with self.rq.connection.pipeline() as pipe:
            for name in mine:
                pipe.lrem(self.rq.key, 1, name)
                pipe.delete(rq.job.Job.key_for(name))
            pipe.execute()

    def _task_data(self, job: str, task: str) -> rq.queue.EnqueueData:
        # A name of its own for every start: RQ 3.0.0 keeps notes on the last one, and would fail the next for them.
        return self.rq.prepare_data(
            "jobs.tasks.perform",
            args=(job, task),
            job_id=f"{job}-{task}-{uuid4().hex[:8]}",
            description=f"{task} of job {job}",
            timeout=getattr(self.settings, self._kind(job).timeout),
            result_ttl=RESULT_SECONDS,
            failure_ttl=FAILURE_SECONDS,
            retry=rq.Retry(max=self.settings.max_attempts - 1) if self.settings.max_attempts > 1 else None,
        )


def by_job(names: Iterable[str]) -> dict[str, set[str]]:
    """`<job>-<task>-<start>` sorted into {job: {task}}."""
    tasks: dict[str, set[str]] = {}
    for name in names:
        job, _, rest = name.partition("-")
        tasks.setdefault(job, set()).add(rest.rpartition("-")[0])
    return tasks
