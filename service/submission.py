"""From the API process to the model worker and back: one queue entry per picture, and a wait that always ends.

LitServe's own request handler (0.2.19) leaves its entry behind when a request is cancelled, waits for ever if the
worker dies, and lets the worker compute for clients that are gone. This one ends on whichever comes first: all
answers, the deadline, the client hanging up, or the death of the worker that had the picture.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from litserve import LitAPI, LitServer
from litserve.server import RegularRequestHandler
from litserve.utils import LitAPIStatus, ResponseBufferItem
from starlette.requests import Request
from starlette.responses import Response

from service.answers import Answer
from service.engine import PictureTask
from service.inference import QueuedPicture
from service.metrics import metrics
from service.problems import Problem
from service.tickets import Ticket, Tickets

LOOK_SECONDS = 0.5
"""How often a waiting request looks whether the worker is still alive."""
SMALL_BYTES = 2**18
"""Bytes that are put into the queue sooner than a thread could be asked to do it."""


class ClientGone(Exception):
    """The client hung up: there is nobody to answer."""


@dataclass(frozen=True)
class _Wait:
    uid: str
    task: PictureTask
    ticket: Ticket
    entry: ResponseBufferItem


class Submission(RegularRequestHandler):
    """Puts pictures into the worker's queue and waits for their answers."""

    def __init__(self, lit_api: LitAPI, server: LitServer, tickets: Tickets, deadline_seconds: float) -> None:
        super().__init__(lit_api, server)
        self.tickets = tickets
        self.deadline_seconds = deadline_seconds

    async def answers(self, tasks: Sequence[PictureTask], request: Request) -> list[Answer]:
        """Have pictures explained, and count what becomes of them.

        Args:
            tasks: the pictures of one request.
            request: whose body has been read; watched for the client hanging up.

        Returns:
            One answer per task, in order. Those not ready at the deadline have the problem `deadline`, those whose
            worker died `worker-lost`.

        Raises:
            Problem: there is no room for them now. ClientGone: the client hung up.
        """
        tickets = self.tickets.admit(len(tasks))
        waits = [
            _Wait(str(uuid.uuid4()), task, ticket, ResponseBufferItem(asyncio.Event()))
            for task, ticket in zip(tasks, tickets, strict=True)
        ]
        try:
            self._count_waiting()
            self.server.response_buffer.update({wait.uid: wait.entry for wait in waits})
            deadline = time.monotonic() + self.deadline_seconds
            worker = self.tickets.worker
            await self._put(waits, deadline)
            await self._wait(waits, worker, request, deadline)
            answers = [_answer(wait, self.tickets) for wait in waits]
        except ClientGone:
            metrics().pictures.labels("client-gone").inc(len(tasks))
            raise
        finally:
            for wait in waits:
                self.server.response_buffer.pop(wait.uid, None)
                self.tickets.release(wait.ticket)
            self._count_waiting()
        for answer in answers:
            metrics().pictures.labels(answer.problem.kind if answer.problem else "answered").inc()
        return answers

    async def _put(self, waits: Sequence[_Wait], deadline: float) -> None:
        """Each put crosses two sockets with the picture's bytes, so large ones must not hold up the event loop."""
        queue = self.server._get_request_queue(self.lit_api.api_path)
        consumer = self.server.app.response_queue_id

        def put() -> None:
            for following, wait in zip(reversed(range(len(waits))), waits, strict=True):
                now = time.monotonic()
                queue.put((consumer, wait.uid, now, QueuedPicture(wait.task, wait.ticket, now, deadline, following)))

        if sum(wait.task.size for wait in waits) <= SMALL_BYTES:
            put()
        else:
            await asyncio.to_thread(put)

    async def _wait(self, waits: Sequence[_Wait], worker: int, request: Request, deadline: float) -> None:
        """Until all are answered or lost, or the deadline has passed; `worker` served when they were put.

        Raises:
            ClientGone: before that, the client hung up.
        """
        answered = asyncio.ensure_future(asyncio.gather(*(wait.entry.event.wait() for wait in waits)))
        hung_up = asyncio.ensure_future(_hang_up(request))
        try:
            while (left := deadline - time.monotonic()) > 0:
                await asyncio.wait(
                    {answered, hung_up}, timeout=min(left, LOOK_SECONDS), return_when=asyncio.FIRST_COMPLETED
                )
                if answered.done():
                    return
                if hung_up.done():
                    raise ClientGone
                for wait in waits:
                    if self.tickets.lost(wait.ticket):
                        wait.entry.event.set()
                if worker != self.tickets.worker:
                    # A picture that the old worker had just asked for is gone from the queue without being begun.
                    # Those still in the queue are put twice by this, which does no harm.
                    worker = self.tickets.worker
                    await self._put([wait for wait in waits if not self.tickets.begun(wait.ticket)], deadline)
        finally:
            for task in (answered, hung_up):
                task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(answered, hung_up, return_exceptions=True)

    def _count_waiting(self) -> None:
        metrics().pictures_waiting.set(self.tickets.held)


async def _hang_up(request: Request) -> None:
    """Returns when the client has gone; the body must have been read to its end."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def end_unanswered(request: Request, error: Exception) -> Response:
    """End a request whose client has gone, with nginx's code for that: for the log and the metrics."""
    return Response(status_code=499)


def _answer(wait: _Wait, tickets: Tickets) -> Answer:
    if wait.entry.response is not None:
        answer, status = wait.entry.response
        if status == LitAPIStatus.OK:
            return answer
        return Answer(problem=Problem("internal", "The model worker failed on this picture; its log has the reason."))
    if tickets.lost(wait.ticket):
        return Answer(
            problem=Problem(
                "worker-lost",
                "The worker that had this picture died; a new one is being started.",
                remedy="Send the picture again; if this repeats, the picture may be the cause.",
                headers={"Retry-After": "5"},
            )
        )
    return Answer(
        problem=Problem(
            "deadline",
            "The answer was not ready in time.",
            remedy="Send fewer pictures at a time, or send them again when the service is less busy.",
            headers={"Retry-After": "5"},
        )
    )
