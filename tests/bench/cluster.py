"""Audits by real workers over a real Redis: how much memory they take, and what a second worker is worth."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from pydantic import BaseModel

from jobs.archives import ArchiveLimits
from jobs.audit_request import AuditRequest
from jobs.classifiers import import_classifier
from jobs.datasets import import_archive
from jobs.queue import JobQueue
from jobs.records import JobState
from jobs.redis_server import RedisServer
from jobs.settings import Settings
from models.classifiers.spec import ClassifierSpec
from models.shipped import shipped_classifiers
from tests.bench.subjects import archive

PAUSE = 0.05


class Memory(threading.Thread):
    """Watches a process and all below it; shared pages count once.

    Attributes:
        peak: most bytes they took together, proportional set sizes added up.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._process = psutil.Process(pid)
        self._over = threading.Event()

    def run(self) -> None:
        """Sample until told to stop."""
        while not self._over.wait(PAUSE):
            total = 0
            with suppress(psutil.NoSuchProcess):
                for process in (self._process, *self._process.children(recursive=True)):
                    with suppress(psutil.NoSuchProcess):
                        total += process.memory_full_info().pss
            self.peak = max(self.peak, total)

    def stop(self) -> int:
        """The peak."""
        self._over.set()
        self.join()
        return self.peak


@contextmanager
def redis(folder: Path, threads: int) -> Iterator[Settings]:
    """Settings of a fresh installation with a Redis of its own."""
    with RedisServer(folder / "redis") as server:
        yield Settings(data_dir=folder / "data", redis_url=server.url, threads=threads, log_level="warning")


@contextmanager
def workers(settings: Settings, count: int) -> Iterator[list[int]]:
    """Process ids of that many workers, ended with the block."""
    command = [sys.executable, "-m", "service.cli", "worker"]
    started = [subprocess.Popen(command, env={**os.environ, **settings.environment()}) for _ in range(count)]
    try:
        queue = JobQueue(settings)
        while len(queue.ledger.workers()) < count:
            time.sleep(PAUSE)
        yield [process.pid for process in started]
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()


def cifar10_request(settings: Settings, pictures: str, most: int) -> AuditRequest:
    """An audit of the shipped ordinary classifier on CIFAR-10 pictures."""
    queue = JobQueue(settings)
    shipped = shipped_classifiers()["cifar10-classifier"]
    spec = ClassifierSpec.model_validate_json(shipped.spec.read_bytes())
    with queue.store.scratch_file() as copy:
        shutil.copyfile(shipped.model, copy)
        classifier = import_classifier(queue.store, copy, spec, settings)
    with queue.store.scratch_file() as copy:
        shutil.copyfile(archive(pictures), copy)
        dataset = import_archive(queue.store, copy, ArchiveLimits.from_settings(settings), pictures)
    return AuditRequest(classifier=classifier.id, dataset=dataset.id, bank="cifar10", max_pictures=most)


def ended(settings: Settings, request: BaseModel) -> float:
    """Seconds from submitting a job to its end."""
    queue = JobQueue(settings)
    start = time.perf_counter()
    job = queue.submit(request).id
    *_, last = queue.watch(job, pause=PAUSE)
    if last.state is not JobState.SUCCEEDED:
        raise RuntimeError(f"the job did not succeed: {last}")
    return time.perf_counter() - start
