"""Invitations: a link for one person to one annotation, which expires, can be revoked, and opens nothing else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Literal

from pydantic import ValidationError

from jobs.annotation import ID, Invitation, folder
from jobs.errors import Invalid, NotFound
from jobs.store import Store

TOKEN_PREFIX = "cci_"
TOKEN = re.compile(r"cci_([0-9a-f]{12})_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
REMEMBER_SECONDS = 2.0
"""How long an answer of the store is believed, and so the longest a revoked link goes on working."""

REMEMBERED = 4096
MOST_HOURS = 24 * 365

Refusal = Literal["unknown", "expired", "revoked"]


class Invitations:
    """The invitations of one store, at `annotations/<annotation>/invitations/<id>.json`.

    A token is `cci_<annotation>_<id>_<secret>`: the ids find its record without a search, the secret is 256 random
    bits.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._remembered: OrderedDict[tuple[str, str], tuple[float, Invitation | None]] = OrderedDict()
        self._lock = Lock()

    def create(
        self, annotation: str, annotator: str, hours: float, seed: bytes | None = None
    ) -> tuple[Invitation, str]:
        """Invite somebody to an annotation that is there.

        Args:
            annotation: its id.
            annotator: who; a further link for the same name goes on where the former left off.
            hours: for which the link works.
            seed: 32 random bytes that nobody else knows, of which id and secret are made: the same ones again make
                the same invitation, which is left as it is. Fresh ones where left out.

        Returns:
            The record and the token, which is not kept and cannot be shown again.

        Raises:
            Invalid: the name is empty or too long, or the time out of range.
        """
        if not 0 < hours <= MOST_HOURS:
            raise Invalid(f"{hours} hours are not between 0 and {MOST_HOURS}.", field="hours")
        seed = seed or secrets.token_bytes(32)
        token = token_of(annotation, seed)
        identifier = token.split("_")[2]
        if (known := self._read(annotation, identifier)) is not None:
            return known, token
        now = datetime.now(UTC)
        try:
            invitation = Invitation(
                id=identifier,
                annotation=annotation,
                annotator=annotator,
                created=now,
                expires=now + timedelta(hours=hours),
                sha256=_sha256(token),
            )
        except ValidationError as error:
            raise Invalid("An annotator needs a name of 1 to 100 characters.", field="annotator") from error
        self._write(invitation)
        return invitation, token

    def list(self, annotation: str) -> Iterator[Invitation]:
        """All invitations of an annotation, those revoked and expired too, by id."""
        for name in self._store.list(f"{folder(annotation)}/invitations"):
            invitation = self._read(annotation, name.removesuffix(".json"))
            if invitation is not None:
                yield invitation

    def revoke(self, annotation: str, identifier: str) -> Invitation:
        """Make a link worthless, here at once and in other processes within `REMEMBER_SECONDS`; again is no error.

        Raises:
            NotFound: there is no such invitation.
        """
        invitation = self._read(annotation, identifier)
        if invitation is None:
            raise NotFound(f"There is no invitation {identifier[:80]!r}.", field="invitation")
        if invitation.revoked is None:
            invitation = invitation.model_copy(update={"revoked": datetime.now(UTC)})
            self._write(invitation)
        with self._lock:
            self._remembered.pop((annotation, identifier), None)
        return invitation

    def must_read(self, token: str) -> bool:
        """Whether `verify` has to ask the store about this token, which takes its time, or remembers what it said."""
        match = _parts(token)
        return match is not None and not self._is_remembered((match[1], match[2]))

    def verify(self, token: str) -> tuple[Invitation | None, Refusal | None]:
        """What a token opens.

        Returns:
            The invitation, and why it opens nothing, if so; no invitation where the token is not one of ours.
        """
        match = _parts(token)
        invitation = self._recall(match[1], match[2]) if match else None
        if invitation is None or not hmac.compare_digest(invitation.sha256, _sha256(token)):
            return None, "unknown"
        if invitation.revoked is not None:
            return invitation, "revoked"
        return invitation, "expired" if invitation.expires <= datetime.now(UTC) else None

    def _recall(self, annotation: str, identifier: str) -> Invitation | None:
        """`_read`, remembered for a moment: also a miss, or a flood of invented links would be a flood on the store."""
        key, now = (annotation, identifier), time.monotonic()
        with self._lock:
            if self._is_remembered(key):
                return self._remembered[key][1]
        invitation = self._read(annotation, identifier)
        with self._lock:
            self._remembered[key] = (now, invitation)
            self._remembered.move_to_end(key)
            while len(self._remembered) > REMEMBERED:
                self._remembered.popitem(last=False)
        return invitation

    def _is_remembered(self, key: tuple[str, str]) -> bool:
        found = self._remembered.get(key)
        return found is not None and time.monotonic() - found[0] < REMEMBER_SECONDS

    def _read(self, annotation: str, identifier: str) -> Invitation | None:
        if ID.fullmatch(annotation) is None or ID.fullmatch(identifier) is None:
            return None
        try:
            return Invitation.model_validate_json(self._store.read_bytes(_path(annotation, identifier)))
        except (NotFound, ValidationError):
            return None

    def _write(self, invitation: Invitation) -> None:
        self._store.write_bytes(
            _path(invitation.annotation, invitation.id), invitation.model_dump_json(indent=1).encode()
        )


def _parts(token: str) -> re.Match[str] | None:
    """The ids within what looks like a token."""
    return TOKEN.fullmatch(token) if len(token) < 100 else None


def _path(annotation: str, identifier: str) -> str:
    return f"{folder(annotation)}/invitations/{identifier}.json"


def token_of(annotation: str, seed: bytes) -> str:
    """The token to an annotation that is made of a seed, as `Invitations.create` takes it."""
    identifier, secret = (hmac.digest(seed, part, "sha256") for part in (b"id", b"secret"))
    return f"{TOKEN_PREFIX}{annotation}_{identifier.hex()[:12]}_{base64.urlsafe_b64encode(secret).decode().rstrip('=')}"


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
