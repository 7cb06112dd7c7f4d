"""How this room reaches Redis, and what it makes of a Redis that cannot be reached."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from jobs.errors import Unavailable

CONNECT_SECONDS, ANSWER_SECONDS, TRIES = 5.0, 30.0, 2

P = ParamSpec("P")
R = TypeVar("R")


def answering(call: Callable[P, R]) -> Callable[P, R]:
    """Turn a Redis that cannot be reached, or that takes no writes, into `Unavailable`."""

    @functools.wraps(call)
    def translated(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(*args, **kwargs)
        except (redis.ConnectionError, redis.TimeoutError, redis.exceptions.ReadOnlyError) as error:
            raise Unavailable(f"Redis does not answer: {error}") from error

    return translated


def connect(url: str, *, text: bool) -> redis.Redis:
    """A client of the Redis at `url`, which connects when it is first used.

    Args:
        url: As in the setting `redis_url`.
        text: Whether answers are `str`; RQ needs `bytes`.
    """
    client: redis.Redis = redis.Redis.from_url(
        url,
        decode_responses=text,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), TRIES),
    )
    return client
