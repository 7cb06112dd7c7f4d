"""What each model worker says of itself, in a small file that the API reads.

LitServe 0.2.19 answers health checks in the API process, which never saw the model or its device, and goes on saying
"ready" for a worker that no longer answers; so the worker itself reports, again and again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import BaseModel, Field, ValidationError

BEAT_SECONDS = 1.0
STALE_SECONDS = 10.0


class WorkerStatus(BaseModel):
    """The latest word of one worker. Times are `time.monotonic()`, which all processes of a machine share."""

    process: int = Field(description="Process id.")
    device: str = Field(description="Device that the models run on.", examples=["cpu"])
    provider: str = Field(description="What really runs them.", examples=["CPUExecutionProvider"])
    runtime: str = Field(description="`onnxruntime` or `torch`.", examples=["onnxruntime"])
    precision: str = Field(description="`fp32` or `bf16`.", examples=["fp32"])
    banks: list[str] = Field(description="Banks loaded, ready to answer.", examples=[["planted"]])
    beat: float = 0.0
    busy_since: float | None = None

    def healthy(self, longest_batch: float) -> bool:
        """Whether the worker is alive, reports, and is not stuck in one batch for over `longest_batch` seconds."""
        now = time.monotonic()
        stuck = self.busy_since is not None and now - self.busy_since > longest_batch
        return now - self.beat < STALE_SECONDS and not stuck and Path(f"/proc/{self.process}").exists()


class Heart:
    """Writes a worker's status once a second from a thread of its own, for as long as the process lives.

    Attributes:
        status: what is written; the worker keeps it up to date.
    """

    def __init__(self, path: Path, status: WorkerStatus) -> None:
        self.path = path
        self.status = status
        self._write()
        Thread(target=self._beat, name="heart", daemon=True).start()

    def _beat(self) -> None:
        while True:
            time.sleep(BEAT_SECONDS)
            self._write()

    def _write(self) -> None:
        self.status.beat = time.monotonic()
        draft = self.path.with_suffix(".draft")
        draft.write_text(self.status.model_dump_json())
        draft.replace(self.path)


def status_file(folder: Path, worker: str) -> Path:
    """Where the worker of this number reports."""
    return folder / f"worker-{worker}.json"


def healthy_workers(folder: Path, longest_batch: float) -> list[WorkerStatus]:
    """The workers that can answer now; see `WorkerStatus.healthy`."""
    return [worker for worker in _statuses(folder) if worker.healthy(longest_batch)]


class WorkerCollector(Collector):
    """The workers that can answer now, for Prometheus: an alert on their provider finds a silent fall-back."""

    def __init__(self, folder: Path, longest_batch: float) -> None:
        self.folder = folder
        self.longest_batch = longest_batch

    def collect(self) -> Iterator[Metric]:
        """One family, read from the status files."""
        labels = ["device", "provider", "precision"]
        found = GaugeMetricFamily("cuecheck_model_workers", "Model workers that can answer.", labels=labels)
        for worker in healthy_workers(self.folder, self.longest_batch):
            found.add_metric([worker.device, worker.provider, worker.precision], 1)
        yield found


def _statuses(folder: Path) -> list[WorkerStatus]:
    """The latest word of every worker there has been."""
    found = []
    for file in sorted(folder.glob("worker-*.json")):
        try:
            found.append(WorkerStatus.model_validate_json(file.read_bytes()))
        except (OSError, ValidationError):
            continue
    return found
