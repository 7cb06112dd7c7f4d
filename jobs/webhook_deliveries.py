"""Which message goes where and what came of it, in Redis.

    cuecheck:deliveries:due              sorted set of `<webhook>:<event>` by the time of the next try
    cuecheck:delivery:<webhook>:<event>  hash: record, body; expires some time after the last try
    cuecheck:webhook:<id>:deliveries     sorted set of the same names by creation, the latest only
    cuecheck:webhook:<id>:lease          there while a process sends to it; expires should that process die

A delivery is entered once however often it is asked for, and leaves the first set only when it was received or given
up. So whoever dies with a message in hand, it is sent again, under the same id.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, Literal

import redis
from pydantic import BaseModel, ConfigDict, Field

from jobs.ledger import PREFIX
from jobs.redis_client import answering

DUE = PREFIX + "deliveries:due"
KEPT_SECONDS = 30 * 24 * 3600
"""How long a settled delivery can be looked up."""
MOST_LISTED = 500
"""Deliveries remembered per webhook."""

# KEYS: delivery, due, list of the webhook. ARGV: name, time, record, body, most listed.
_ADD = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'record', ARGV[3], 'body', ARGV[4])
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
redis.call('ZADD', KEYS[3], ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -1 - tonumber(ARGV[5]))
return 1
"""


class Delivery(BaseModel):
    """One event on its way to one webhook."""

    model_config = ConfigDict(frozen=True)

    event: str = Field(description="Id of the event; receivers drop what they have seen.")
    webhook: str
    type: str = Field(description="Of the event.")
    job: str | None = Field(None, description="Whose end it tells.")
    created: datetime
    state: Literal["pending", "delivered", "failed"] = "pending"
    attempts: int = Field(0, description="Times it was sent.")
    status: int | None = Field(None, description="HTTP status of the last answer.")
    error: str | None = Field(None, description="Why the last try did not succeed.")
    next_attempt: datetime | None = Field(None, description="When it is sent again.")
    settled: datetime | None = Field(None, description="When it was received or given up.")

    @property
    def name(self) -> str:
        """Of the delivery in Redis."""
        return f"{self.webhook}:{self.event}"


class Deliveries:
    """All methods raise `Unavailable` while Redis cannot be reached."""

    def __init__(self, client: redis.Redis) -> None:
        """Use a client whose answers are text."""
        self._client: Any = client
        self._add = self._client.register_script(_ADD)

    @answering
    def add(self, delivery: Delivery, body: str) -> bool:
        """Enter a delivery that is due; False where it is known already."""
        moment = delivery.created.timestamp()
        keys = [_key(delivery.name), DUE, _list(delivery.webhook)]
        return bool(self._add(keys=keys, args=[delivery.name, moment, delivery.model_dump_json(), body, MOST_LISTED]))

    @answering
    def due(self, most: int) -> list[str]:
        """Names of deliveries that are due, the earliest of each webhook, for up to `most` webhooks."""
        names = self._client.zrangebyscore(DUE, "-inf", time.time(), 0, 20 * most)
        first: dict[str, str] = {}
        for name in names:
            first.setdefault(name.partition(":")[0], name)
        return list(first.values())[:most]

    @answering
    def read(self, name: str) -> tuple[Delivery, str] | None:
        """A delivery and its body; None where it is gone."""
        record, body = self._client.hmget(_key(name), "record", "body")
        return None if record is None else (Delivery.model_validate_json(record), body)

    @answering
    def note(self, delivery: Delivery) -> None:
        """List a delivery that is settled already."""
        with self._client.pipeline() as pipe:
            pipe.hset(_key(delivery.name), "record", delivery.model_dump_json())
            pipe.expire(_key(delivery.name), KEPT_SECONDS)
            pipe.zadd(_list(delivery.webhook), {delivery.name: delivery.created.timestamp()})
            pipe.zremrangebyrank(_list(delivery.webhook), 0, -1 - MOST_LISTED)
            pipe.execute()

    @answering
    def update(self, delivery: Delivery) -> None:
        """Note what came of a try."""
        with self._client.pipeline() as pipe:
            pipe.hset(_key(delivery.name), "record", delivery.model_dump_json())
            if delivery.next_attempt is None:
                pipe.zrem(DUE, delivery.name)
                pipe.expire(_key(delivery.name), KEPT_SECONDS)
            else:
                pipe.zadd(DUE, {delivery.name: delivery.next_attempt.timestamp()})
            pipe.execute()

    @answering
    def of(self, webhook: str, most: int) -> list[Delivery]:
        """The latest deliveries to a webhook, the newest first."""
        names = self._client.zrevrange(_list(webhook), 0, most - 1)
        with self._client.pipeline() as pipe:
            for name in names:
                pipe.hget(_key(name), "record")
            records = pipe.execute()
        return [Delivery.model_validate_json(record) for record in records if record is not None]

    @answering
    def forget(self, webhook: str) -> None:
        """Drop all that was, or was to be, sent to a webhook."""
        names = self._client.zrange(_list(webhook), 0, -1)
        with self._client.pipeline() as pipe:
            for name in names:
                pipe.zrem(DUE, name)
                pipe.delete(_key(name))
            pipe.delete(_list(webhook))
            pipe.execute()

    @answering
    def drop(self, name: str) -> None:
        """Send it no more: its webhook is gone."""
        with self._client.pipeline() as pipe:
            pipe.zrem(DUE, name)
            pipe.delete(_key(name))
            pipe.execute()

    @answering
    def take(self, webhook: str, seconds: float) -> bool:
        """Claim a webhook for this process; False while another one sends to it."""
        return bool(self._client.set(_lease(webhook), 1, nx=True, px=int(seconds * 1000)))

    @answering
    def give_back(self, webhook: str) -> None:
        """Let others send to it."""
        self._client.delete(_lease(webhook))


def settled(delivery: Delivery, state: Literal["delivered", "failed"], **found: Any) -> Delivery:
    """The delivery at its end."""
    now = datetime.now(UTC)
    return delivery.model_copy(update={"state": state, "next_attempt": None, "settled": now, **found})


def _key(name: str) -> str:
    return f"{PREFIX}delivery:{name}"


def _list(webhook: str) -> str:
    return f"{PREFIX}webhook:{webhook}:deliveries"


def _lease(webhook: str) -> str:
    return f"{PREFIX}webhook:{webhook}:lease"
