"""`Idempotency-Key`: a POST that is sent again under its key is answered as the first time, and acts no second time.

Everything that may be created with a key has an id made from its contents or from the key, and what is added to carries
the ids of what was added. So a request whose first sending is not
answered yet, or was cut short, is simply carried out again: there is no half-done state to guard against.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Header, Request, Response
from pydantic import BaseModel

from jobs.ledger import Ledger
from jobs.redis_client import answering
from service.auth import Principal
from service.problems import Problem

PREFIX = "cuecheck:idempotency:"
REMEMBER_SECONDS = 24 * 3600
"""How long a key and its answer are remembered."""
SPARE_SECONDS = 3600
"""For which the seed of an answer is remembered longer than the answer."""

KEY = re.compile(r"[\x21-\x7e]{1,255}")

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Makes it safe to send the request again: within a day the same key with the same body gets the "
        "same answer (with `Idempotency-Replayed: true`), with another body 422.",
        examples=["nightly-2026-11-23"],
    ),
]


@dataclass(frozen=True)
class Done:
    """How a request that was carried out is answered.

    Attributes:
        body: JSON.
        location: path of what it made or changed.
        status: of the answer.
    """

    body: str
    location: str
    status: int = 201


class _Held(BaseModel):
    """What is remembered of a key: whom it belongs to, and the answer as soon as there is one."""

    fingerprint: str
    status: int | None = None
    location: str = ""
    body: str = ""


class Idempotency:
    """The keys of one service, in Redis: what each was used for, and what the answer was."""

    def __init__(self, ledger: Ledger) -> None:
        self._redis = ledger.client

    def once(self, key: str | None, principal: str, action: str, fingerprint: str, act: Callable[[], Done]) -> Response:
        """Answer a request: from memory, or by acting. A refusal is not remembered: its cause may be mended.

        Args:
            key: The header's value; without one nothing is remembered.
            principal: Who asks: keys of different callers never meet.
            action: Method and path.
            fingerprint: Digest of everything in the body.
            act: Carries the request out.

        Raises:
            Problem: `invalid` for a key that is not 1 to 255 visible ASCII characters, `key-reused` if it came with
                another body before.
            Unavailable: Redis does not answer.
        """
        if key is None:
            return _answer(act())
        _require_sound(key)
        name = PREFIX + fingerprint_of(principal, action, key)
        held = self._claim(name, fingerprint)
        if held.fingerprint != fingerprint:
            raise Problem(
                "key-reused",
                "This key came with another body before.",
                field="Idempotency-Key",
                remedy="Use a fresh key for a different request.",
            )
        if held.status is not None:
            answer = _answer(Done(held.body, held.location, held.status))
            answer.headers["Idempotency-Replayed"] = "true"
            return answer
        try:
            done = act()
        except BaseException:
            self._forget(name)
            raise
        self._remember(name, fingerprint, done)
        return _answer(done)

    def seed(self, key: str | None, principal: str, action: str) -> bytes:
        """32 random bytes of one request, the same whenever it is sent again: for what is answered and never kept.

        They are made of the key, which is not kept, and of random bytes, which are for as long as the answer is.
        """
        if key is None:
            return secrets.token_bytes(32)
        _require_sound(key)
        half = self._half(f"{PREFIX}seed:{fingerprint_of(principal, action, key)}")
        return hmac.digest(half.encode(), key.encode(), "sha256")

    @answering
    def _half(self, name: str) -> str:
        made = secrets.token_hex(32)
        if self._redis.set(name, made, nx=True, ex=REMEMBER_SECONDS + SPARE_SECONDS):
            return made
        return str(self._redis.get(name))

    @answering
    def _claim(self, name: str, fingerprint: str) -> _Held:
        """What is remembered of the key, which is now this request's if it was nobody's."""
        claim = _Held(fingerprint=fingerprint)
        if self._redis.set(name, claim.model_dump_json(), nx=True, ex=REMEMBER_SECONDS):
            return claim
        held = self._redis.get(name)
        return _Held.model_validate_json(held) if held else claim

    @answering
    def _forget(self, name: str) -> None:
        self._redis.delete(name)

    @answering
    def _remember(self, name: str, fingerprint: str, done: Done) -> None:
        held = _Held(fingerprint=fingerprint, status=done.status, location=done.location, body=done.body)
        self._redis.set(name, held.model_dump_json(), ex=REMEMBER_SECONDS)


def answer_once(
    request: Request, principal: Principal, key: str | None, fingerprint: str, act: Callable[[], Done]
) -> Response:
    """Answer a POST, which its key and its path name. Arguments and errors as for `Idempotency.once`."""
    idempotency: Idempotency = request.app.state.idempotency
    return idempotency.once(key, principal.id, f"POST {request.url.path}", fingerprint, act)


def _answer(done: Done) -> Response:
    return Response(done.body, done.status, {"Location": done.location}, media_type="application/json")


def _require_sound(key: str) -> None:
    if KEY.fullmatch(key) is None:
        raise Problem("invalid", "The key is not 1 to 255 visible ASCII characters.", field="Idempotency-Key")


def fingerprint_of(*parts: str) -> str:
    """One digest of several parts, such as the fields of a form and the sha256 of its file."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
