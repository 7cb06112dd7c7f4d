"""Webhooks: who is told when a job ends. Subscriptions lie in the store, with the secrets their messages are signed by.

A secret signs, so it is kept as it is, not as a hash: whoever reads the store can sign in this service's name.
"""

from __future__ import annotations

import base64
import ipaddress
import re
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jobs.addresses import Address, Networks, forbidden
from jobs.errors import Invalid, LimitExceeded, NotFound
from jobs.gate import check_rules
from jobs.gate_rules import read_rules
from jobs.store import Store
from jobs.webhook_target import target_of

FOLDER = "webhooks"
SECRET_PREFIX = "whsec_"
MOST_WEBHOOKS = 100

EventType = Literal["org.cuecheck.job.succeeded", "org.cuecheck.job.failed", "org.cuecheck.job.cancelled"]
EVENT_TYPES: tuple[EventType, ...] = get_args(EventType)


class Subscription(BaseModel):
    """What a webhook is told, and where."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(max_length=2000, description="Where events are posted to: http or https.")
    types: list[EventType] = Field(
        default_factory=lambda: list(EVENT_TYPES), min_length=1, description="Events it is told of; all if left out."
    )
    gate: str | None = Field(
        None,
        description="Text of a rule file (docs/gate.md): the events of audits then carry its verdict. Rules against a "
        "baseline are not for webhooks.",
    )


class Webhook(Subscription):
    """A subscription as it is kept."""

    id: str = Field(pattern=r"^[0-9a-f]{12}$")
    created: datetime = Field(description="UTC; jobs that ended before are not told.")
    secret: str = Field(description="`whsec_` and the key in base64, as in Standard Webhooks.")

    @property
    def key(self) -> bytes:
        """The bytes that messages are signed by."""
        return base64.b64decode(self.secret.removeprefix(SECRET_PREFIX))


class Webhooks:
    """The subscriptions of one store, at `webhooks/<id>.json`. Methods raise `Unavailable` where it does not answer."""

    def __init__(self, store: Store, allowed: Networks) -> None:
        """
        Args:
            store: where they lie.
            allowed: networks that may be called although they are not public.
        """
        self._store = store
        self._allowed = allowed

    def add(self, wanted: Subscription) -> Webhook:
        """Keep a subscription; the answer alone shows its secret.

        Raises:
            Invalid: The address or the rules cannot be used. LimitExceeded: There are as many as may be.
        """
        address = _literal(target_of(wanted.url).host)
        if address is not None and forbidden(address, self._allowed):
            raise Invalid(
                f"{address} is not a public address.",
                field="url",
                remedy="Name a public host, or have its network put into CUECHECK_WEBHOOK_ALLOWED_NETWORKS.",
            )
        if wanted.gate is not None:
            _check_gate(wanted.gate)
        if sum(1 for _ in self.list()) >= MOST_WEBHOOKS:
            raise LimitExceeded(f"There are {MOST_WEBHOOKS} webhooks already.", remedy="Remove one first.")
        webhook = Webhook(
            **wanted.model_dump(),
            id=secrets.token_hex(6),
            created=datetime.now(UTC),
            secret=SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode(),
        )
        self._store.write_bytes(_path(webhook.id), webhook.model_dump_json(indent=1).encode())
        return webhook

    def list(self) -> Iterator[Webhook]:
        """All of them, by id."""
        for name in self._store.list(FOLDER):
            try:
                yield self.get(name.removesuffix(".json"))
            except NotFound:  # removed meanwhile
                continue

    def get(self, identifier: str) -> Webhook:
        """One of them.

        Raises:
            NotFound: There is no such webhook.
        """
        try:
            if re.fullmatch("[0-9a-f]{12}", identifier):
                return Webhook.model_validate_json(self._store.read_bytes(_path(identifier)))
        except (NotFound, ValidationError):
            pass
        raise NotFound(f"There is no webhook {identifier[:80]!r}.", field="webhook")

    def remove(self, identifier: str) -> None:
        """Forget a subscription.

        Raises:
            NotFound: There is no such webhook.
        """
        self._store.delete(_path(self.get(identifier).id))


def _path(identifier: str) -> str:
    return f"{FOLDER}/{identifier}.json"


def _literal(host: str) -> Address | None:
    """The address that a host's name is, if it is one; names are looked up when they are called."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _check_gate(text: str) -> None:
    try:
        rules = read_rules(text)
        check_rules(rules)
    except Invalid as error:
        error.field = "gate"
        raise
    if any(rule.against is not None for rule in rules):
        raise Invalid(
            "A webhook's rules cannot be against a baseline: it tells of one audit.",
            field="gate",
            remedy='Leave out `against = "baseline"`, or use `cuecheck gate` with a baseline.',
        )
