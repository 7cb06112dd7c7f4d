"""Tells the world that jobs have ended: enters a delivery for every webhook, and sends what is due.

The end of a job and the note that it is to be told are one step in Redis (`jobs.ledger`), whoever ended it. From there
on all is done by the service, none by the workers: these run uploaded classifiers and need no way out.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import structlog

from jobs.addresses import networks
from jobs.background import repeating
from jobs.errors import NotFound, Unavailable
from jobs.headlines import Headlines
from jobs.queue import JobQueue
from jobs.records import JobRecord
from jobs.webhook import Webhook, Webhooks
from jobs.webhook_deliveries import Deliveries, Delivery, settled
from jobs.webhook_event import PING_TYPE, SOURCE, Event, end_of, finished_report, type_of
from jobs.webhook_message import SECONDS, Outcome, post

log = structlog.get_logger()

POLL_SECONDS = 1.0
MOST_AT_ONCE = 32
"""Webhooks that are sent to at the same time."""
LEASE_SECONDS = 6 * SECONDS
GROWTH, LONGEST_PAUSE = 4.0, 4 * 3600.0


class Announcer:
    """One per process of the service; several do each other no harm."""

    def __init__(self, queue: JobQueue) -> None:
        settings = queue.settings
        self._queue = queue
        self._allowed = networks(settings.webhook_allowed_networks)
        self.webhooks = Webhooks(queue.store, self._allowed)
        self.deliveries = Deliveries(queue.ledger.client)
        self.headlines = Headlines(queue.ledger.client)

    def step(self) -> int:
        """Tell of the jobs that have ended, and send what is due, one message to each webhook.

        Returns:
            Number of messages sent: where it is not 0, more may be due.

        Raises:
            Unavailable: Redis or the store does not answer.
        """
        for entry, record in self._queue.ledger.ended():
            try:
                self._announce(record)
            except Unavailable:
                raise
            except Exception:  # one end that cannot be told does not hold up the others
                log.exception("not announced", job=record.id)
            self._queue.ledger.announced(entry)
        names = self.deliveries.due(MOST_AT_ONCE)
        return asyncio.run(self._send_all(names)) if names else 0

    def ping(self, identifier: str) -> Delivery:
        """Send a webhook a test event now, once; what came of it.

        Raises:
            NotFound: There is no such webhook.
        """
        webhook, now = self.webhooks.get(identifier), datetime.now(UTC)
        source = (self._queue.settings.public_url or "").rstrip("/") or SOURCE
        event = Event(id=uuid4().hex, source=source, type=PING_TYPE, time=now, data={"webhook": identifier})
        found = asyncio.run(self._post(webhook, event.id, event.body()))
        delivery = Delivery(event=event.id, webhook=identifier, type=PING_TYPE, created=now, attempts=1)
        delivery = settled(delivery, "failed" if found.error else "delivered", status=found.status, error=found.error)
        self.deliveries.note(delivery)
        return delivery

    def remove(self, identifier: str) -> None:
        """Forget a webhook and all that was to be sent to it.

        Raises:
            NotFound: There is no such webhook.
        """
        self.webhooks.remove(identifier)
        self.deliveries.forget(identifier)

    def _announce(self, record: JobRecord) -> None:
        finished = record.finished or record.created
        told = [
            webhook
            for webhook in self.webhooks.list()
            if type_of(record) in webhook.types and webhook.created <= finished
        ]
        report = finished_report(self._queue.store, record)
        if report is not None:
            self.headlines.note(report, finished)
        if told:
            with suppress(NotFound):  # the job's folder is gone
                record = record.model_copy(update={"artefacts": self._queue.artefacts(record.id)})
        for webhook in told:
            event = end_of(record, report, webhook.gate, self._queue.settings.public_url)
            delivery = Delivery(
                event=event.id, webhook=webhook.id, type=event.type, job=record.id, created=datetime.now(UTC)
            )
            self.deliveries.add(delivery, event.body())

    async def _send_all(self, names: list[str]) -> int:
        return sum(await asyncio.gather(*(self._send(name) for name in names)))

    async def _send(self, name: str) -> bool:
        """Send one delivery, unless another process sends to the same webhook now."""
        identifier = name.partition(":")[0]
        if not self.deliveries.take(identifier, LEASE_SECONDS):
            return False
        try:
            found = self.deliveries.read(name)
            if found is None or found[0].settled is not None:  # another process was quicker
                return False
            delivery, body = found
            try:
                webhook = self.webhooks.get(identifier)
            except NotFound:
                self.deliveries.drop(name)
                return False
            outcome = await self._post(webhook, delivery.event, body)
            self._note(delivery, outcome)
            return True
        finally:
            self.deliveries.give_back(identifier)

    async def _post(self, webhook: Webhook, event: str, body: str) -> Outcome:
        return await post(webhook.url, event, body.encode(), webhook.key, self._allowed)

    def _note(self, delivery: Delivery, outcome: Outcome) -> None:
        settings = self._queue.settings
        attempts = delivery.attempts + 1
        tried: dict[str, Any] = {"attempts": attempts, "status": outcome.status, "error": outcome.error}
        if outcome.error is None:
            delivery = settled(delivery, "delivered", **tried)
        elif attempts >= settings.webhook_attempts:
            delivery = settled(delivery, "failed", **tried)
        else:
            pause = max(pause_after(attempts, settings.webhook_retry_seconds), outcome.retry_after)
            later = datetime.now(UTC) + timedelta(seconds=min(pause, LONGEST_PAUSE))
            delivery = delivery.model_copy(update={**tried, "next_attempt": later})
        if outcome.error is not None:
            log.warning("webhook not delivered", webhook=delivery.webhook, job=delivery.job, **tried)
        self.deliveries.update(delivery)


def pause_after(attempts: int, first: float) -> float:
    """Seconds until a message that was sent `attempts` times is sent again: exponential, varied by half either way."""
    return min(LONGEST_PAUSE, first * GROWTH ** (attempts - 1)) * random.uniform(0.5, 1.5)


@contextmanager
def announcing(announcer: Announcer) -> Iterator[None]:
    """Announce from a thread for as long as the block lasts."""

    def step() -> float:
        return 0.0 if announcer.step() else POLL_SECONDS

    with repeating("announce", step, first=0.0, after_failure=POLL_SECONDS):
        yield
