"""API keys: random tokens of which only a hash is kept, each with a name and scopes."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from threading import Lock
from typing import Literal

from pydantic import BaseModel, Field, ValidationError

from jobs.errors import Invalid, NotFound
from jobs.store import Store

Scope = Literal["infer", "audit", "annotate", "admin"]
SCOPES: tuple[Scope, ...] = ("infer", "audit", "annotate", "admin")

FOLDER = "keys"
REMEMBER_SECONDS = 2.0
"""How long an answer of the store is believed, and so the longest a revoked key goes on working."""
REMEMBERED_KEYS = 4096
TOKEN = re.compile(r"cck_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


class KeyRecord(BaseModel):
    """What is kept of a key: never the token itself."""

    id: str = Field(pattern=r"^[0-9a-f]{12}$", description="Public part of the token, names the key.")
    name: str = Field(min_length=1, max_length=100, description="Who or what uses it.")
    scopes: list[Scope] = Field(min_length=1, description="What it allows; `admin` allows everything.")
    created: datetime
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the whole token, hexadecimal.")

    def allows(self, scope: Scope) -> bool:
        """Whether this key may do what `scope` stands for."""
        return scope in self.scopes or "admin" in self.scopes


class KeyStore:
    """The keys of one store, at `keys/<id>.json`.

    A token is `cck_<id>_<secret>`: the id finds its record without a search, the secret is 256 random bits, and so a
    plain SHA-256 is enough at rest (there is nothing to guess that a slow hash would slow down).
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._remembered: OrderedDict[str, tuple[float, KeyRecord | None]] = OrderedDict()
        self._lock = Lock()

    def create(self, name: str, scopes: Iterable[Scope]) -> tuple[KeyRecord, str]:
        """Make a key.

        Returns:
            Its record and the token, which is not kept and cannot be shown again.

        Raises:
            Invalid: The name is empty or too long, or a scope is unknown.
        """
        identifier = secrets.token_hex(6)
        token = f"cck_{identifier}_{secrets.token_urlsafe(32)}"
        try:
            record = KeyRecord(
                id=identifier,
                name=name,
                scopes=sorted(set(scopes), key=SCOPES.index),
                created=datetime.now(UTC),
                sha256=_sha256(token),
            )
        except ValueError as error:
            raise Invalid(
                f"A key needs a name of 1 to 100 characters and scopes among {', '.join(SCOPES)}.", field="scopes"
            ) from error
        self._store.write_bytes(_path(identifier), record.model_dump_json().encode())
        return record, token

    def list(self) -> Iterator[KeyRecord]:
        """All keys that have not been revoked."""
        for name in self._store.list(FOLDER):
            record = self._read(name.removesuffix(".json"))
            if record is not None:
                yield record

    def revoke(self, identifier: str) -> None:
        """Make a key worthless, here at once and in other processes within `REMEMBER_SECONDS`.

        Raises:
            NotFound: There is no such key.
        """
        if self._read(identifier) is None:
            raise NotFound(f"There is no key {identifier!r}.", field="key")
        self._store.delete(_path(identifier))
        with self._lock:
            self._remembered.pop(identifier, None)

    def verify(self, token: str) -> KeyRecord | None:
        """The record of a token, or None if it is not (or no longer) worth anything."""
        match = TOKEN.fullmatch(token)
        if match is None:
            return None
        record = self._recall(match[1])
        if record is None or not hmac.compare_digest(record.sha256, _sha256(token)):
            return None
        return record

    def _recall(self, identifier: str) -> KeyRecord | None:
        """`_read`, remembered for a moment: also a miss, or a flood of invented keys would be a flood on the store."""
        now = time.monotonic()
        with self._lock:
            read_at, record = self._remembered.get(identifier, (-REMEMBER_SECONDS, None))
        if now - read_at < REMEMBER_SECONDS:
            return record
        record = self._read(identifier)
        with self._lock:
            self._remembered[identifier] = (now, record)
            self._remembered.move_to_end(identifier)
            while len(self._remembered) > REMEMBERED_KEYS:
                self._remembered.popitem(last=False)
        return record

    def _read(self, identifier: str) -> KeyRecord | None:
        if re.fullmatch(r"[0-9a-f]{12}", identifier) is None:
            return None
        try:
            return KeyRecord.model_validate_json(self._store.read_bytes(_path(identifier)))
        except (NotFound, ValidationError):
            return None


def _path(identifier: str) -> str:
    return f"{FOLDER}/{identifier}.json"


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
