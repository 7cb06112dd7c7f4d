"""How a training job is followed while it goes on: progress, cancelling, and the figures of its epochs."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from jobs.errors import NotFound
from jobs.progress import progress_of
from jobs.training_epochs import EpochAttack, Epochs
from jobs.training_request import TrainingRequest
from jobs.training_result import accuracy_png
from models.training.evaluation import EPOCH_STEPS
from models.training.following import Batch, EpochRecord

if TYPE_CHECKING:
    from jobs.queue import JobQueue

ONLY_SHARD = 0
"""A training is one shard."""


class TrainingFollower:
    """Reports progress, stops the training once it is no longer wanted, and keeps what is known of its epochs."""

    def __init__(self, queue: JobQueue, job: str, request: TrainingRequest) -> None:
        """Take up the epochs that an earlier start of the job has left."""
        self.queue, self.job, self.request = queue, job, request
        self.records: dict[int, EpochRecord] = {}
        with suppress(NotFound):
            found = Epochs.model_validate_json(queue.store.read_bytes(f"trainings/{job}/epochs.json"))
            self.records = {record.epoch: record for record in found.epochs}
        self._report = progress_of(queue.ledger, job, ONLY_SHARD)
        self._pictures = 0
        self._has_progressed = False

    def batch(self, at: Batch) -> None:
        """Raises `Cancelled` once the job was cancelled."""
        self.done(at.pictures)

    def done(self, pictures: int) -> None:
        """As `batch`."""
        self._pictures = pictures
        self._report(pictures)

    def evaluating(self) -> None:
        """As `batch`."""
        self._report(self._pictures)

    def epoch(self, record: EpochRecord) -> None:
        """Keep its figures."""
        self.records[record.epoch] = record
        self.write()
        if not self._has_progressed:
            # A start that got an epoch further is not one of those that lead nowhere.
            self.queue.ledger.take_back_attempt(self.job, f"shard-{ONLY_SHARD}")
            self._has_progressed = True

    def fill_in(self, records: Iterable[EpochRecord]) -> None:
        """Keep those that the checkpoint knows of and `epochs.json` does not: its worker died between the two."""
        self.records |= {record.epoch: record for record in records}

    def write(self) -> None:
        """`epochs.json` and `accuracy.png`."""
        records = tuple(self.records[epoch] for epoch in sorted(self.records))
        attack = EpochAttack(norm=self.request.norm, epsilon=self.request.radius, steps=EPOCH_STEPS)
        content = Epochs(attack=attack, epochs=records).model_dump_json(indent=1)
        # The plot first: whoever has read of an epoch finds it there.
        self.queue.store.write_bytes(f"trainings/{self.job}/accuracy.png", accuracy_png(records))
        self.queue.store.write_bytes(f"trainings/{self.job}/epochs.json", f"{content}\n".encode())
