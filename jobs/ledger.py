"""The Redis side of jobs: their states, their progress, who works on which part, and the counters of all workers.

    cuecheck:jobs                  sorted set of job ids by time of creation
    cuecheck:active                set of ids that are queued or running
    cuecheck:states                hash: state -> number of jobs in it
    cuecheck:counters              hash of sums over all jobs
    cuecheck:workers               set of names of workers; what each says is in cuecheck:worker:<name>, which expires
    cuecheck:sweep                 there while somebody swept lately
    cuecheck:restored              set once the jobs of the store are known here
    cuecheck:ended                 list of the records of jobs that have ended and whose end is not announced yet
    cuecheck:job:<id>              hash: state, times, total, done, shards, message, request
    cuecheck:job:<id>:finished     set of finished shards
    cuecheck:job:<id>:partial      hash: shard -> pictures that its present run has done
    cuecheck:job:<id>:attempts     hash: task -> times it was started
    cuecheck:job:<id>:lease:<task> name of the worker that runs the task; expires when it is not heard of

What has to change together is one script, so that nobody ever sees half of it. Nothing here is the last copy: finished
shards and final records lie in the store, and `jobs/restore.py` fills an empty Redis from there.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

import redis

from jobs.errors import Cancelled
from jobs.records import JobRecord, JobState, WorkerInfo
from jobs.redis_client import answering

PREFIX = "cuecheck:"

# KEYS: job hash, jobs, active, states. ARGV: id, time of creation, state, fields and values of the hash.
_ADD = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'state', ARGV[3], unpack(ARGV, 4))
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
if ARGV[3] == 'queued' then redis.call('SADD', KEYS[3], ARGV[1]) end
redis.call('HINCRBY', KEYS[4], ARGV[3], 1)
return 1
"""

MOST_ENDED = 10_000
"""Ends that wait to be announced, where nobody announces them: the service is down."""

# KEYS: job hash, active, states, ended. ARGV: id, states to leave joined by commas, new state, most ended, fields and
# values of the hash. What has ended is put down with the record as it is now: a retry may change it before it is told.
_MOVE = """
local state = redis.call('HGET', KEYS[1], 'state')
if not state or not string.find(',' .. ARGV[2] .. ',', ',' .. state .. ',', 1, true) then return 0 end
redis.call('HSET', KEYS[1], 'state', ARGV[3], unpack(ARGV, 5))
if ARGV[3] == 'queued' or ARGV[3] == 'running' then redis.call('SADD', KEYS[2], ARGV[1])
else
  redis.call('SREM', KEYS[2], ARGV[1])
  redis.call('RPUSH', KEYS[4], cjson.encode({ARGV[1], redis.call('HGETALL', KEYS[1])}))
  redis.call('LTRIM', KEYS[4], -tonumber(ARGV[4]), -1)
end
redis.call('HINCRBY', KEYS[3], state, -1)
redis.call('HINCRBY', KEYS[3], ARGV[3], 1)
return 1
"""

# KEYS: job hash, partial. ARGV: shard, pictures. Returns the job's state.
_PROGRESS = """
local state = redis.call('HGET', KEYS[1], 'state')
if state == 'running' then redis.call('HSET', KEYS[2], ARGV[1], ARGV[2]) end
return state
"""

# KEYS: job hash, partial, finished. ARGV: shard, pictures. Returns 1 for the run that makes the set complete.
_FINISH = """
redis.call('HDEL', KEYS[2], ARGV[1])
if redis.call('HGET', KEYS[1], 'state') ~= 'running' then return 0 end
if redis.call('SADD', KEYS[3], ARGV[1]) == 0 then return 0 end
redis.call('HINCRBY', KEYS[1], 'done', ARGV[2])
if redis.call('SCARD', KEYS[3]) == tonumber(redis.call('HGET', KEYS[1], 'shards')) then return 1 end
return 0
"""

# KEYS: lease. ARGV: worker.
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class Ledger:
    """All methods raise `Unavailable` while Redis cannot be reached."""

    def __init__(self, client: redis.Redis) -> None:
        """Use a client whose answers are text."""
        self.client: Any = client  # redis-py 8 types every answer as value-or-awaitable
        self._add = client.register_script(_ADD)
        self._move = client.register_script(_MOVE)
        self._progress = client.register_script(_PROGRESS)
        self._finish = client.register_script(_FINISH)
        self._release = client.register_script(_RELEASE)

    # --- Jobs

    @answering
    def add(self, record: JobRecord) -> bool:
        """Enter a job; False where it is there already."""
        fields = {
            "kind": record.kind,
            "created": record.created.isoformat(),
            "started": _text(record.started),
            "finished": _text(record.finished),
            "total": _text(record.total),
            "done": record.done,
            "message": record.message or "",
            "request": json.dumps(record.request),
        }
        keys = [_job(record.id), PREFIX + "jobs", PREFIX + "active", PREFIX + "states"]
        head = [record.id, str(record.created.timestamp()), record.state.value]
        return bool(self._add(keys=keys, args=[*head, *_pairs(fields)]))

    @answering
    def read(self, job: str) -> JobRecord | None:
        """The job's record as of now, without its artefacts; None where Redis does not know it."""
        with self.client.pipeline() as pipe:
            pipe.hgetall(_job(job)).hvals(_job(job, "partial"))
            fields, partial = pipe.execute()
        return _record(job, fields, partial) if fields else None

    @answering
    def state(self, job: str) -> JobState | None:
        """Where the job stands; None where Redis does not know it."""
        state = self.client.hget(_job(job), "state")
        return None if state is None else JobState(state)

    @answering
    def page(self, after: str | None, limit: int) -> list[str]:
        """Ids, newest first, from the one that follows `after`."""
        start = 0
        if after is not None:
            rank = self.client.zrevrank(PREFIX + "jobs", after)
            if rank is None:
                return []
            start = rank + 1
        return list(self.client.zrevrange(PREFIX + "jobs", start, start + limit - 1))

    @answering
    def active(self) -> set[str]:
        """Ids of the jobs that are queued or running."""
        return set(self.client.smembers(PREFIX + "active"))

    @answering
    def move(self, job: str, leaving: Collection[JobState], state: JobState, **fields: object) -> bool:
        """Change the state and, with it, some fields (None empties one); False where it is not one of `leaving`."""
        keys = [_job(job), PREFIX + "active", PREFIX + "states", PREFIX + "ended"]
        args = [job, ",".join(leaving), state.value, str(MOST_ENDED), *_pairs({"message": None, **fields})]
        return bool(self._move(keys=keys, args=args))

    @answering
    def ended(self, most: int = 100) -> list[tuple[str, JobRecord]]:
        """Jobs whose end is not announced yet, the first first: what `announced` takes, and the record as it ended."""
        entries = self.client.lrange(PREFIX + "ended", 0, most - 1)
        found = []
        for entry in entries:
            job, flat = json.loads(entry)
            found.append((entry, _record(job, dict(zip(flat[::2], flat[1::2], strict=True)), [])))
        return found

    @answering
    def announced(self, entry: str) -> None:
        """Forget an end that everybody was told of, or will be."""
        self.client.lrem(PREFIX + "ended", 1, entry)

    @answering
    def note(self, job: str, message: str) -> None:
        """Say in the record what holds an active job up."""
        if self.client.sismember(PREFIX + "active", job):
            self.client.hset(_job(job), "message", message)

    @answering
    def forget_work(self, job: str) -> None:
        """Drop all that belongs to one run of a job: finished shards, partial counts and attempts."""
        self.client.delete(*(_job(job, part) for part in ("finished", "partial", "attempts")))

    # --- Shards and tasks

    @answering
    def set_plan(self, job: str, total: int, shards: int) -> None:
        """Say how many pictures and shards there are; counting starts anew."""
        with self.client.pipeline() as pipe:
            pipe.delete(_job(job, "finished"), _job(job, "partial"))
            pipe.hset(_job(job), mapping={"total": total, "shards": shards, "done": 0, "resumed": 0})
            pipe.execute()

    @answering
    def extend_plan(self, job: str, total: int, shards: int) -> None:
        """Say that there is more to do; what is finished stays so."""
        self.client.hset(_job(job), mapping={"total": total, "shards": shards})

    @answering
    def shards(self, job: str) -> int | None:
        """Number of shards; None before the job is planned."""
        shards = self.client.hget(_job(job), "shards")
        return int(shards) if shards else None

    @answering
    def progress(self, job: str, shard: int, pictures: int) -> None:
        """Note how many pictures the present run of a shard has done.

        Raises:
            Cancelled: The job was cancelled or failed meanwhile. A job that Redis has lost goes on: its shards count
                when it is back.
        """
        state = self._progress(keys=[_job(job), _job(job, "partial")], args=[shard, pictures])
        if state is not None and state != JobState.RUNNING:
            raise Cancelled(f"Job {job} is {state}.")

    @answering
    def finish_shard(self, job: str, shard: int, pictures: int, *, resumed: bool = False) -> bool:
        """Count a shard as finished, once however often it ran; True for the call that completes the job's set."""
        keys = [_job(job), _job(job, "partial"), _job(job, "finished")]
        complete = bool(self._finish(keys=keys, args=[shard, pictures]))
        if resumed:
            self.client.hincrby(_job(job), "resumed", pictures)
        return complete

    @answering
    def finished(self, job: str) -> set[int]:
        """The finished shards."""
        return {int(shard) for shard in self.client.smembers(_job(job, "finished"))}

    @answering
    def start_attempt(self, job: str, task: str) -> int:
        """Count a start of a task; returns its number, from 1."""
        return int(self.client.hincrby(_job(job, "attempts"), task, 1))

    @answering
    def take_back_attempt(self, job: str, task: str) -> None:
        """Uncount a start that ended for reasons outside the task."""
        self.client.hincrby(_job(job, "attempts"), task, -1)

    # --- Leases

    @answering
    def take_lease(self, job: str, task: str, worker: str, seconds: float) -> bool:
        """Claim a task for a worker; False while another one holds it."""
        return bool(self.client.set(_lease(job, task), worker, nx=True, px=int(seconds * 1000)))

    @answering
    def renew_lease(self, job: str, task: str, worker: str, seconds: float) -> None:
        """Say that the worker is still at it."""
        self.client.set(_lease(job, task), worker, px=int(seconds * 1000))

    @answering
    def release_lease(self, job: str, task: str, worker: str) -> None:
        """Give a task up, unless another worker holds it by now."""
        self._release(keys=[_lease(job, task)], args=[worker])

    @answering
    def leased(self, job: str, tasks: Collection[str]) -> set[str]:
        """Those of the tasks that someone works on."""
        names = list(tasks)
        holders = self.client.mget([_lease(job, task) for task in names]) if names else []
        return {task for task, holder in zip(names, holders, strict=True) if holder is not None}

    # --- Upkeep

    @answering
    def claim_sweep(self, seconds: float) -> bool:
        """Whether this process may sweep now; nobody else may for so long."""
        return bool(self.client.set(PREFIX + "sweep", 1, nx=True, px=int(seconds * 1000)))

    @answering
    def needs_restoring(self) -> bool:
        """Whether this Redis has not been filled from the store since its data began."""
        return not self.client.exists(PREFIX + "restored")

    @answering
    def mark_restored(self) -> None:
        """Note that all jobs of the store are known here."""
        self.client.set(PREFIX + "restored", 1)

    # --- Workers

    @answering
    def beat(self, worker: WorkerInfo, seconds: float) -> None:
        """Keep what a worker says of itself, until it is not heard of for so long."""
        with self.client.pipeline() as pipe:
            pipe.sadd(PREFIX + "workers", worker.name)
            pipe.set(f"{PREFIX}worker:{worker.name}", worker.model_dump_json(), px=int(seconds * 1000))
            pipe.execute()

    @answering
    def forget_worker(self, worker: str) -> None:
        """A worker has ended."""
        self.client.delete(f"{PREFIX}worker:{worker}")

    @answering
    def workers(self) -> list[WorkerInfo]:
        """The workers heard of lately, by name."""
        names = sorted(self.client.smembers(PREFIX + "workers"))
        infos = self.client.mget([f"{PREFIX}worker:{name}" for name in names]) if names else []
        if gone := [name for name, info in zip(names, infos, strict=True) if info is None]:
            self.client.srem(PREFIX + "workers", *gone)
        return [WorkerInfo.model_validate_json(info) for info in infos if info is not None]

    # --- Sums

    @answering
    def count(self, **increments: float) -> None:
        """Add to the counters of all workers."""
        with self.client.pipeline() as pipe:
            for name, increment in increments.items():
                pipe.hincrbyfloat(PREFIX + "counters", name, increment)
            pipe.execute()

    @answering
    def counters(self) -> dict[str, float]:
        """The counters by name.

        `shards` and `shard_seconds` (finished ones, models loaded included), `pictures_audited`,
        `pictures_skipped:<reason>`, `tasks_requeued` (lost ones), `jobs_<final state>`.
        """
        return {name: float(value) for name, value in self.client.hgetall(PREFIX + "counters").items()}

    @answering
    def states(self) -> dict[JobState, int]:
        """Number of jobs in each state."""
        counts = self.client.hgetall(PREFIX + "states")
        return {state: int(counts.get(state.value, 0)) for state in JobState}


def _job(job: str, part: str | None = None) -> str:
    return f"{PREFIX}job:{job}" if part is None else f"{PREFIX}job:{job}:{part}"


def _lease(job: str, task: str) -> str:
    return _job(job, f"lease:{task}")


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return "" if value is None else str(value)


def _pairs(fields: dict[str, Any]) -> list[str]:
    return [part for name, value in fields.items() for part in (name, _text(value))]


def _record(job: str, fields: dict[str, Any], partial: list[str]) -> JobRecord:
    def moment(name: str) -> datetime | None:
        return datetime.fromisoformat(fields[name]) if fields.get(name) else None

    state = JobState(fields["state"])
    total = int(fields["total"]) if fields.get("total") else None
    done = int(fields.get("done") or 0) + sum(map(int, partial))
    if total is not None:
        done = min(done, total)
    started = moment("started")
    rate = seconds_left = None
    if state is JobState.RUNNING and started is not None:
        elapsed = (datetime.now(UTC) - started).total_seconds()
        fresh = done - int(fields.get("resumed") or 0)
        rate = fresh / elapsed if fresh > 0 and elapsed > 0 else None
        seconds_left = (total - done) / rate if rate and total is not None else None
    return JobRecord(
        id=job,
        kind=fields["kind"],
        state=state,
        created=datetime.fromisoformat(fields["created"]),
        started=started,
        finished=moment("finished"),
        done=done,
        total=total,
        rate=rate,
        seconds_left=seconds_left,
        message=fields.get("message") or None,
        request=json.loads(fields["request"]),
    )
