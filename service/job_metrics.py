"""The state of the jobs for Prometheus, read from Redis at each scrape: it is true whoever counts and whoever dies."""

from __future__ import annotations

import time
from collections.abc import Iterator

import redis
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from jobs.errors import Unavailable
from jobs.ledger import PREFIX
from jobs.queue import JobQueue

SKIPPED = "pictures_skipped:"
ENDED = "jobs_"


class JobCollector(Collector):
    """Jobs, queue and workers as Redis has them now; only `cuecheck_redis_up` where it does not answer."""

    def __init__(self, queue: JobQueue) -> None:
        self.queue = queue

    def collect(self) -> Iterator[Metric]:
        """All families, from one look at Redis."""
        try:
            found = [*self._now(), *self._ever()]
        except (Unavailable, redis.RedisError):
            found = []
        yield GaugeMetricFamily("cuecheck_redis_up", "Whether Redis answers.", value=float(bool(found)))
        yield from found

    def _now(self) -> Iterator[Metric]:
        states = GaugeMetricFamily("cuecheck_jobs", "Jobs by state.", labels=["state"])
        for state, count in self.queue.ledger.states().items():
            states.add_metric([state.value], count)
        yield states
        yield GaugeMetricFamily(
            "cuecheck_queue_length", "Tasks of jobs that wait for a worker.", value=self.queue.rq.count
        )
        yield GaugeMetricFamily(
            "cuecheck_oldest_job_seconds", "Age of the oldest job that has not ended.", value=self._oldest()
        )
        workers = len(self.queue.ledger.workers())
        yield GaugeMetricFamily("cuecheck_workers", "Workers for jobs that are alive.", value=workers)

    def _oldest(self) -> float:
        ledger = self.queue.ledger
        created = [ledger.client.zscore(f"{PREFIX}jobs", job) for job in ledger.active()]
        return max((time.time() - float(moment) for moment in created if moment is not None), default=0.0)

    def _ever(self) -> Iterator[Metric]:
        counters = self.queue.ledger.counters()
        yield CounterMetricFamily(
            "cuecheck_pictures_audited", "Pictures audited.", value=counters.get("pictures_audited", 0)
        )
        yield CounterMetricFamily("cuecheck_shards", "Shards finished.", value=counters.get("shards", 0))
        yield CounterMetricFamily(
            "cuecheck_shard_seconds", "Time spent in finished shards.", value=counters.get("shard_seconds", 0)
        )
        skipped = CounterMetricFamily("cuecheck_pictures_skipped", "Pictures audits skipped.", labels=["reason"])
        ended = CounterMetricFamily("cuecheck_jobs_ended", "Jobs that ended, by how.", labels=["state"])
        for name, value in sorted(counters.items()):
            if name.startswith(SKIPPED):
                skipped.add_metric([name.removeprefix(SKIPPED)], value)
            elif name.startswith(ENDED):
                ended.add_metric([name.removeprefix(ENDED)], value)
        yield skipped
        yield ended
