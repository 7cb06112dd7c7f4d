"""A whole small installation for tests of the queue: a store with a bank, a data set and a classifier, and workers."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image
from safetensors.torch import save_file

from jobs.archives import ArchiveLimits
from jobs.audit_request import AuditRequest
from jobs.classifiers import import_classifier
from jobs.datasets import import_archive
from jobs.queue import JobQueue
from jobs.records import JobRecord, JobState
from jobs.settings import Settings
from jobs.store import Store
from jobs.subjects import load_backbone
from jobs.tasks import perform
from models import architectures
from models.bank_writing import write_bank
from tests import networks
from tests.conftest import ROOT
from tests.models.conftest import ARGUMENTS, CLASSES, manifest

FOLDERS = ("cat", "dog")
PATIENCE_SECONDS = 180.0


def wait_for(condition: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Look until the condition holds; fail after a while."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.02)


def archive(path: Path, per_class: int, side: int = 64) -> Path:
    """A zip of noisy pictures in two class folders, with one broken picture and one text file."""
    generator = np.random.default_rng(per_class)
    with zipfile.ZipFile(path, "w") as target:
        target.writestr("README.txt", "not a picture")
        for name in FOLDERS:
            for number in range(per_class):
                stream = io.BytesIO()
                small = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC).save(stream, "PNG")
                target.writestr(f"{name}/{number:04d}.png", stream.getvalue())
        target.writestr(f"{FOLDERS[0]}/broken.png", b"\x89PNG\r\n\x1a\n broken")
    return path


def furnish(settings: Settings, folder: Path) -> AuditRequest:
    """Put a bank of random features, a data set of 261 samples and a classifier into an empty installation.

    Returns:
        An audit of them in four shards, of small batches, so that it lasts a few seconds.
    """
    store = Store.from_settings(settings)
    torch.manual_seed(0)
    weights = folder / "random.safetensors"
    save_file(architectures.build("small_resnet", len(CLASSES), ARGUMENTS).state_dict(), weights)
    load_backbone(write_bank(settings.banks_dir / "tiny", manifest(), weights), settings)  # exports it, once
    limits = ArchiveLimits.from_settings(settings)
    dataset = import_archive(store, archive(folder / "pictures.zip", per_class=130), limits, "noise")
    spec = networks.spec()
    classifier = import_classifier(store, networks.pooled(folder / "classifier.onnx"), spec, settings)
    return AuditRequest(classifier=classifier.id, dataset=dataset.id, bank="tiny", batch_size=2)


class Installation:
    """One store and one Redis, as the service holds them; workers are real processes.

    Attributes:
        queue: What the service would hold.
        request: An audit to submit.
    """

    def __init__(self, settings: Settings, request: AuditRequest) -> None:
        self.settings = settings
        self.request = request
        self.queue = JobQueue(settings)

    @contextmanager
    def worker(self, *, burst: bool = False) -> Iterator[Worker]:
        """A worker process, killed with its children at the end if it still runs."""
        code = f"from jobs.worker import *; run_worker(Settings(), burst={burst})"
        environment = {**os.environ, **self.settings.environment(), "PYTHONPATH": str(ROOT)}
        with_us = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []  # should the tests be killed
        process = subprocess.Popen([*with_us, sys.executable, "-c", code], env=environment)
        try:
            yield Worker(process)
        finally:
            Worker(process).kill()

    def state(self, job: str) -> JobState:
        """Where the job stands now."""
        return self.queue.get(job).state

    def wait_until(self, job: str, state: JobState) -> JobRecord:
        """The record, once the job is in this state."""
        wait_for(lambda: self.state(job) is state or self.state(job).is_final, f"{job} to be {state}")
        record = self.queue.get(job)
        assert record.state is state, record
        return record

    def attempts(self, job: str, task: str) -> str | None:
        """How often a task was started."""
        return self.queue.ledger.client.hget(f"cuecheck:job:{job}:attempts", task)

    def shard_times(self, job: str) -> dict[str, int]:
        """When each shard's file was written, ns."""
        folder = Path(self.queue.store.url.removeprefix("file://"), f"audits/{job}/shards")
        return {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}

    def wait_for_mid_shard(self, job: str, finished: int = 0) -> None:
        """Until some shards are finished and another has begun."""
        ledger = self.queue.ledger

        def under_way() -> bool:
            assert not self.state(job).is_final, self.queue.get(job)
            return len(ledger.finished(job)) >= finished and ledger.client.hlen(f"cuecheck:job:{job}:partial") > 0

        wait_for(under_way, "a shard to be under way")

    def files(self, job: str) -> dict[str, bytes]:
        """The shards and reports of an audit, by name."""
        store = self.queue.store
        shards = [f"shards/{name}" for name in store.list(f"audits/{job}/shards")]
        return {
            name: store.read_bytes(f"audits/{job}/{name}")
            for name in (*shards, "report.json", "report.html", "skipped.parquet")
        }


def work(queue: JobQueue) -> list[str]:
    """Run what is on the queue, in this process, until it is empty; the names of the tasks, in order."""
    done = []
    while names := queue.rq.get_job_ids():
        for name in names:
            queue.rq.remove(name)
            job, _, rest = name.partition("-")
            done.append(rest.rpartition("-")[0])
            perform(job, done[-1])
    return done


class Worker:
    """A worker process and what runs below it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def horse(self) -> psutil.Process:
        """The process that runs the present task, waited for."""
        worker = psutil.Process(self.process.pid)
        wait_for(lambda: bool(worker.children()), "a task to begin")
        return worker.children()[0]

    def terminate(self) -> None:
        """Ask it to end."""
        self.process.terminate()

    def end(self) -> int:
        """Wait for its end; its exit code."""
        return self.process.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        """SIGKILL it and everything below it, as when a machine fails."""
        if self.process.poll() is None:
            worker = psutil.Process(self.process.pid)
            for member in [worker, *worker.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    member.kill()
        self.process.wait()
