"""The model worker: LitServe's hooks around `service.engine`, and a loop that takes whatever waits as one batch."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import torch
from litserve import LitAPI
from litserve.loops.base import _SENTINEL_VALUE, _StopLoopError
from litserve.loops.simple_loops import BatchedLoop
from litserve.transport.base import MessageTransport

from jobs.logs import configure_logs
from jobs.settings import Settings
from service.answers import Answer
from service.engine import Engine, PictureTask
from service.metrics import metrics, share_metrics
from service.orphans import end_with_parent
from service.problems import Problem
from service.status import Heart, WorkerStatus, status_file
from service.tickets import Ticket, Tickets

API_PATH = "/masks"
"""LitServe's name for the queue; its route of this path is removed."""


@dataclass(frozen=True)
class QueuedPicture:
    """A picture on its way to the worker.

    Attributes:
        task: what to do.
        ticket: proves that somebody still waits for it.
        queued: when it was put into the queue, `time.monotonic()`, which all processes share.
        deadline: when its answer is of no use any more.
        following: how many pictures of the same request are put into the queue right after it.
    """

    task: PictureTask
    ticket: Ticket
    queued: float
    deadline: float
    following: int


class GreedyLoop(BatchedLoop):
    """Takes all that waits, up to a batch, and waits for no more: while one batch is computed the next one gathers.

    LitServe 0.2.19's own collection asks the queue once a millisecond even when nothing happens (14 % of a core), makes
    a lone request wait for `batch_timeout` in full, and gives up on a full queue after that time. Here it only waits
    for the other pictures of a request of which it has one.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Serve until told to stop through the queue, then end the process."""
        super().__call__(*args, **kwargs)
        os._exit(0)  # all is said and done; taking torch down in good order would only cost a second or two more

    def get_batch_requests(
        self, lit_api: LitAPI, request_queue: Queue[Any], transport: MessageTransport
    ) -> tuple[list[tuple[int, str, QueuedPicture]], list[tuple[int, str]]]:
        """A batch of (consumer, request id, picture), and none timed out: the worker sees to deadlines itself."""
        batch: list[tuple[int, str, QueuedPicture]] = []
        wait = 1.0
        while len(batch) < lit_api.max_batch_size:
            try:
                message = request_queue.get(timeout=wait) if wait else request_queue.get_nowait()
            except Empty:
                break
            if message == _SENTINEL_VALUE:
                raise _StopLoopError
            consumer, uid, _, picture = message
            lit_api.begin(picture)
            batch.append((consumer, uid, picture))
            wait = lit_api.batch_timeout if picture.following else 0.0
        return batch, []


class MaskAPI(LitAPI):
    """What LitServe runs in the worker process. Nothing it does for one picture may raise: see `Engine.answer`."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        """
        Args:
            settings: of the service.
            folder: the files that the processes of this server share, see `service.app`.
        """
        super().__init__(
            max_batch_size=settings.batch_size,
            batch_timeout=settings.batch_timeout,
            api_path=API_PATH,
            loop=GreedyLoop(),
        )
        self.settings = settings
        self.folder = folder

    def setup(self, device: str) -> None:
        """Load the default bank and begin to report. Runs once in every worker process."""
        # Ctrl-C and a SIGTERM to the whole process group reach the worker too; it is stopped last, through the queue,
        # when nothing is in flight any more.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        end_with_parent()
        configure_logs(self.settings)
        share_metrics(self.folder / "metrics")
        if self.settings.threads is not None:
            torch.set_num_threads(self.settings.threads)
        self.tickets = Tickets(self.folder / "tickets")
        self.engine = Engine(self.settings)
        _, backbone = self.engine.load(self.settings.default_bank)
        status = WorkerStatus(
            process=os.getpid(),
            device=str(backbone.device),
            provider=backbone.provider,
            runtime=backbone.runtime,
            precision=backbone.precision,
            banks=self.engine.loaded,
        )
        self.heart = Heart(status_file(self.folder, os.environ["LITSERVE_WORKER_ID"]), status)
        self.tickets.serve()

    def begin(self, picture: QueuedPicture) -> None:
        """Note that this worker has the picture, should it die over it."""
        self.tickets.begin(picture.ticket)
        metrics().queue_seconds.observe(time.monotonic() - picture.queued)

    def decode_request(self, request: QueuedPicture) -> QueuedPicture:
        """Decoding happens in `predict`, where a bad picture can fail alone."""
        return request

    def batch(self, inputs: Sequence[QueuedPicture]) -> list[QueuedPicture]:
        """Pictures stay apart until the engine knows which of them can be used."""
        return list(inputs)

    def predict(self, pictures: list[QueuedPicture]) -> list[Answer]:
        """Answer a batch; pictures that nobody waits for any more cost nothing."""
        now = time.monotonic()
        self.heart.status.busy_since = now
        wanted = [i for i, one in enumerate(pictures) if one.deadline > now and self.tickets.wanted(one.ticket)]
        dropped = Answer(problem=Problem("deadline", "The picture was given up before its turn came."))
        answers = [dropped] * len(pictures)
        for i, answer in zip(wanted, self.engine.answer([pictures[i].task for i in wanted]), strict=True):
            answers[i] = answer
        self.heart.status.busy_since = None
        self.heart.status.banks = self.engine.loaded
        if wanted:
            metrics().batch_pictures.observe(len(wanted))
            for stage, seconds in self.engine.seconds.items():
                metrics().predict_seconds.labels(stage).observe(seconds)
        return answers

    def unbatch(self, output: list[Answer]) -> list[Answer]:
        """One answer per picture."""
        return output

    def encode_response(self, output: Answer) -> Answer:
        """Encoded already, in parallel."""
        return output
