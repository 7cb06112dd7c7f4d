"""What Prometheus reads: counts and times of requests and batches, added up over all processes of the service.

Every process writes to files of its own in one folder, and whichever answers `/metrics` adds them up. What is true of
the jobs is not counted here at all but read from Redis at each scrape, see `service.job_metrics`.
"""

from __future__ import annotations

import os
import secrets
import time
from functools import lru_cache
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.openmetrics.exposition import generate_latest as as_openmetrics
from prometheus_client.registry import Collector
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger(__name__)

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
END = b"# EOF\n"
"""Last line of OpenMetrics."""
UNMATCHED = "(no route)"
UNLOGGED = frozenset({"/livez", "/readyz", "/metrics"})
"""What machines ask every few seconds."""


class Metrics:
    """The metrics that processes count themselves."""

    def __init__(self) -> None:
        labels = ["method", "route"]
        self.requests = Counter("cuecheck_requests", "HTTP requests answered.", [*labels, "status"], registry=None)
        self.request_seconds = Histogram(
            "cuecheck_request_seconds", "Time to the end of the answer.", labels, buckets=SECONDS, registry=None
        )
        self.requests_in_flight = Gauge(
            "cuecheck_requests_in_flight", "HTTP requests not yet answered.", registry=None, multiprocess_mode="livesum"
        )
        self.pictures = Counter(
            "cuecheck_pictures", "Pictures sent for masks, by what became of them.", ["outcome"], registry=None
        )
        self.pictures_waiting = Gauge(
            "cuecheck_pictures_waiting",
            "Pictures admitted and not yet answered.",
            registry=None,
            multiprocess_mode="livesum",
        )
        self.batch_pictures = Histogram(
            "cuecheck_batch_pictures", "Pictures per batch.", buckets=(1, 2, 4, 8, 16, 32, 64), registry=None
        )
        self.queue_seconds = Histogram(
            "cuecheck_queue_seconds", "Wait of a picture for the model worker.", buckets=SECONDS, registry=None
        )
        self.predict_seconds = Histogram(
            "cuecheck_predict_seconds",
            "Time of a batch in the model worker, by stage: decode, forward, maps, encode.",
            ["stage"],
            buckets=SECONDS,
            registry=None,
        )


def share_metrics(folder: Path) -> None:
    """Make this process and those it starts count into `folder`; call it before anything is counted."""
    os.environ[FOLDER_VARIABLE] = str(folder)
    # prometheus_client 0.26 chooses how values are kept when it is first imported, by this variable. Chosen here
    # again, so that it does not matter what was imported when.
    values.ValueClass = values.MultiProcessValue()


@lru_cache(maxsize=1)
def metrics() -> Metrics:
    """The metrics of this process."""
    return Metrics()


def exposition(*collectors: Collector, openmetrics: bool = False) -> bytes:
    """The sums over all processes at this moment, and what `collectors` find, in Prometheus' format or OpenMetrics."""
    counted, found = CollectorRegistry(), CollectorRegistry()
    MultiProcessCollector(counted, path=os.environ[FOLDER_VARIABLE])
    for collector in collectors:  # in a registry of their own: the other one takes no custom collectors
        found.register(collector)
    if openmetrics:
        return as_openmetrics(counted).removesuffix(END) + as_openmetrics(found)
    return generate_latest(counted) + generate_latest(found)


class Observer:
    """ASGI middleware, outermost: gives every request an id (`X-Request-Id`), counts it, times it and logs it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        identifier = secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = identifier
        status = 499  # nginx's code for a client that went away; stands if no answer was begun

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = identifier
            await send(message)

        counted = metrics()
        start = time.perf_counter()
        counted.requests_in_flight.inc()
        try:
            await self.app(scope, receive, observed)
        except Exception:
            status = 500  # in the middle of an answer: the connection ends with it
            raise
        finally:
            counted.requests_in_flight.dec()
            method, route, seconds = scope["method"], _template(scope), time.perf_counter() - start
            counted.requests.labels(method, route, str(status)).inc()
            counted.request_seconds.labels(method, route).observe(seconds)
            if scope["path"] not in UNLOGGED:
                path = scope["path"]
                log.info("request", id=identifier, method=method, path=path, status=status, seconds=round(seconds, 4))


def _template(scope: Scope) -> str:
    """`/v1/banks/{bank}`, not the path itself, which callers choose freely."""
    return getattr(scope.get("route"), "path", UNMATCHED)
