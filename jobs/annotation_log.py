"""What changed in an annotation, in order, in Redis: how every process of the service knows at once what any of them
wrote. The store has the truth; this is filled from there where it is missing.

    cuecheck:annotation:<id>         list: a token of its own, then one line per change
    cuecheck:annotation:<id>:lock:*  who writes
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import redis
from redis.exceptions import LockError

from jobs.errors import Conflict, Unavailable
from jobs.ledger import PREFIX, Ledger
from jobs.redis_client import answering

KEEP_SECONDS = 30 * 86_400
"""A list that nobody wrote to for so long is forgotten, and made anew when it is asked for."""

LOCK_SECONDS, WAIT_SECONDS = 20.0, 10.0
REFILL_SECONDS = 60.0
"""After which another process may try; whoever began last fills the list."""

LEFT_SECONDS = 3600
BLOCK = 1000

# KEYS: list. ARGV: token and number of changes that the caller knows. Returns the token now, and the other changes.
_SINCE = """
local token = redis.call('LINDEX', KEYS[1], 0)
return {token, redis.call('LRANGE', KEYS[1], 1 + (token == ARGV[1] and ARGV[2] or 0), -1)}
"""

# KEYS: list. ARGV: token and number of changes that the caller knows, seconds, lines. Returns all changes after those,
# the new ones last; nothing where it is not the list any more that the caller knows.
_PUSH = """
if redis.call('LINDEX', KEYS[1], 0) ~= ARGV[1] then return false end
for i = 4, #ARGV do redis.call('RPUSH', KEYS[1], ARGV[i]) end
redis.call('EXPIRE', KEYS[1], ARGV[3])
return redis.call('LRANGE', KEYS[1], 1 + ARGV[2], -1)
"""

# KEYS: list made, list, who makes it. ARGV: who I am. Nothing happens where somebody began later, or the list is there.
_PLACE = """
if redis.call('GET', KEYS[3]) ~= ARGV[1] or redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('RENAME', KEYS[1], KEYS[2])
return 1
"""

What = Literal["record", "invitation", "answer", "validation", "import"]


@dataclass(frozen=True)
class Change:
    """One line.

    Attributes:
        what: the kind of thing that changed.
        key: its name, such as `<annotator>/<panel>`.
        content: what it is now, as JSON has it; None where it was taken back.
    """

    what: What
    key: str
    content: Any = None

    def line(self) -> str:
        """As it stands in the list."""
        return json.dumps([self.what, self.key, self.content], separators=(",", ":"))

    @classmethod
    def of(cls, line: str) -> Change:
        """Read a line."""
        return cls(*json.loads(line))


class AnnotationLog:
    """The changes of one annotation. Every method raises `Unavailable` while Redis cannot be reached."""

    def __init__(self, ledger: Ledger, annotation: str) -> None:
        self._redis = ledger.client
        self._key = f"{PREFIX}annotation:{annotation}"
        self._maker = f"{self._key}:maker"
        self._since = ledger.client.register_script(_SINCE)
        self._push = ledger.client.register_script(_PUSH)
        self._place = ledger.client.register_script(_PLACE)

    @answering
    def since(self, token: str | None, position: int) -> tuple[str | None, list[Change]]:
        """The list's token now, and the changes from `position` on: all of them where the token is another one.

        Returns:
            None as token where there is no list.
        """
        present, lines = self._since(keys=[self._key], args=[token or "", position])
        return present, [Change.of(line) for line in lines]

    @answering
    def push(self, token: str, position: int, changes: Iterable[Change]) -> list[Change] | None:
        """Add changes.

        Returns:
            All changes from `position` on, these the last of them; None where the list has another token by now, and
            nothing was added.
        """
        args = [token, position, KEEP_SECONDS, *(change.line() for change in changes)]
        lines = self._push(keys=[self._key], args=args)
        return None if lines is None else [Change.of(line) for line in lines]

    @answering
    def drop(self) -> None:
        """Forget the list: from now on `push` fails until it is filled again."""
        self._redis.delete(self._key, self._maker)

    def fill(self, read: Callable[[], Iterable[Change]]) -> None:
        """Make the list, unless somebody else has meanwhile.

        Args:
            read: everything that the store has, as changes.
        """
        with self.alone("refill", seconds=REFILL_SECONDS, wait=REFILL_SECONDS):
            self._fill(read)

    @answering
    def _fill(self, read: Callable[[], Iterable[Change]]) -> None:
        if self._redis.exists(self._key):
            return
        token = secrets.token_hex(8)
        making = f"{self._key}:making:{token}"
        self._redis.set(self._maker, token, ex=KEEP_SECONDS)
        lines = [token, *(change.line() for change in read())]
        for start in range(0, len(lines), BLOCK):
            self._redis.rpush(making, *lines[start : start + BLOCK])
            self._redis.expire(making, KEEP_SECONDS if start + BLOCK >= len(lines) else LEFT_SECONDS)
        if not self._place(keys=[making, self._key, self._maker], args=[token]):
            self._redis.delete(making)

    @contextmanager
    def alone(self, what: str, seconds: float = LOCK_SECONDS, wait: float = WAIT_SECONDS) -> Iterator[None]:
        """Let nobody else do `what` meanwhile.

        Args:
            what: names the lock.
            seconds: after which the lock of a process that died is gone.
            wait: longest wait for somebody else, seconds; 0 for none.

        Raises:
            Conflict: somebody else does, and there was to be no wait.
            Unavailable: somebody else goes on doing so.
        """
        lock = self._redis.lock(f"{self._key}:lock:{what}", timeout=seconds, sleep=0.01)
        if not self._acquire(lock, wait):
            if wait:
                raise Unavailable("Somebody else is at the same thing for long.", retry_after=1.0)
            raise Conflict("Somebody else is at the same thing at this moment.", remedy="Try again in a moment.")
        try:
            yield
        finally:
            try:
                lock.release()
            except LockError:
                pass  # it took longer than the lock lasts
            except redis.RedisError as error:
                raise Unavailable(f"Redis does not answer: {error}") from error

    @staticmethod
    @answering
    def _acquire(lock: Any, wait: float) -> bool:
        return bool(lock.acquire(blocking=wait > 0, blocking_timeout=wait or None))
