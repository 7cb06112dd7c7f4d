"""The HTTP application: one LitServe server, one queue to the model worker, and every router of the service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.managers import SyncManager
from pathlib import Path

import redis
from fastapi import APIRouter, FastAPI
from litserve import LitServer
from litserve.loops.base import _SENTINEL_VALUE
from starlette.middleware import Middleware

from jobs.annotations import Annotations
from jobs.announcer import Announcer, announcing
from jobs.catalogue import read_catalogue
from jobs.errors import Invalid, JobsError
from jobs.queue import JobQueue
from jobs.settings import Settings
from jobs.store import Store
from jobs.sweeper import sweeping
from jobs.version import code_version
from service import openapi
from service.auth import Guard, keys_needed
from service.banks import Banks
from service.idempotency import Idempotency
from service.inference import API_PATH, MaskAPI
from service.keys import KeyStore
from service.limits import BodyLimit, Connection, spool_large_parts
from service.metrics import Observer, share_metrics
from service.problems import LastResort, Problem, install
from service.routes import (
    annotation_results,
    annotation_votes,
    audits,
    bank_edits,
    bank_files,
    banks,
    capabilities,
    classifiers,
    comparisons,
    datasets,
    discoveries,
    encoders,
    exports,
    gates,
    health,
    jobs,
    keys,
    label,
    masks,
    mitigations,
    pages,
    trainings,
    v2,
    webhooks,
)
from service.routes import (
    annotations as annotation_sessions,
)
from service.submission import ClientGone, Submission, end_unanswered
from service.tickets import Tickets

ROUTERS: tuple[APIRouter, ...] = (
    masks.router,
    v2.router,
    banks.router,
    bank_files.router,
    bank_edits.router,
    datasets.router,
    classifiers.router,
    encoders.router,
    audits.router,
    comparisons.router,
    gates.router,
    discoveries.router,
    trainings.router,
    exports.router,
    mitigations.router,
    annotation_sessions.router,
    annotation_results.router,
    annotation_votes.router,
    label.router,
    jobs.router,
    webhooks.router,
    capabilities.router,
    keys.router,
    health.router,
    pages.router,
)

FASTAPI_PAGES = ("/docs", "/docs/oauth2-redirect", "/redoc")
"""They have their scripts from another host; ours is in `routes/pages.py`."""

REDIS_SECONDS = 2.0
"""Longest a health check or a scrape waits for Redis."""
DESCRIPTION = """\
Which parts of a picture does a classifier rely on that it should not?

* **Now, for a picture**: `POST /v1/masks` gives the core and spurious features of a class as soft masks, and the exact
  share of the score that each contributes.
* **Later, for a data set**: upload a classifier and a data set, submit an audit, follow its job, read its report.
* **With two audits of the same pictures**: submit a comparison, and see what differs, picture by picture.
* **With no bank yet**: submit a discovery, and look at the draft it leaves: candidate features of every class. Let
  people label it in an annotation, and publish the bank.
* **With no encoder to discover with**: submit a training, which makes one of your own classes.
* **For other systems**: webhooks tell when jobs end; `/v2` speaks the Open Inference Protocol.
* **With a bank**: submit an export, and get the masks of a whole data set as files.
* **With a classifier that relies on spurious features**: submit a mitigation, and get one that relies on them less.

Where keys are on, every path but the health checks needs one: `Authorization: Bearer cck_...` or `X-API-Key`.
Errors are RFC 9457 problem details; their `type` is stable, see docs/api.md.
"""


class Server(LitServer):
    """LitServe as a queue and a process manager, without the routes and middlewares it brings along.

    Its routes (0.2.19) would stand beside ours unguarded, its health check asks the wrong process, and its gzip spends
    milliseconds on base64 that hardly shrinks.
    """

    stop_asked = False

    def stop(self) -> None:
        """Let `run` finish what is in flight and return; before it has begun, as soon as it has."""
        self.stop_asked = True
        if self._shutdown_event is not None:
            self._shutdown_event.set()

    def verify_worker_status(self) -> None:
        """Wait for the worker; raises `JobsError` if it ended instead."""
        try:
            super().verify_worker_status()
        except RuntimeError as error:
            raise JobsError("The model worker could not start; the lines above say why.") from error

    def _init_manager(self, num_api_servers: int) -> SyncManager:
        manager: SyncManager = super()._init_manager(num_api_servers)
        if self.stop_asked:
            self._shutdown_event.set()
        return manager

    def register_endpoints(self) -> None:
        """No routes of LitServe's own."""

    def _register_middleware(self) -> None:
        """No middlewares of LitServe's own."""

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Ends after the last request; then the workers, which ignore signals, are told to go through their queue."""
        async with super().lifespan(app):
            with sweeping(app.state.queue), announcing(app.state.announcer):
                yield
        for _ in self._inference_workers_config_for_api(API_PATH):
            self._get_request_queue(API_PATH).put(_SENTINEL_VALUE)


def build_server(settings: Settings, folder: Path) -> Server:
    """Put the service together; nothing is started yet.

    Args:
        settings: of the service.
        folder: an empty folder for what the processes of this server share: the tickets of queued pictures, the
            workers' statuses, the metrics. Worthless when the server has ended.

    Raises:
        Invalid: there is no such default bank, or the further catalogue is faulty. ModelsError: the bank is damaged.
    """
    (folder / "metrics").mkdir()
    share_metrics(folder / "metrics")
    spool_large_parts()
    Tickets.create(folder / "tickets", settings.max_queue)

    api = MaskAPI(settings, folder)
    # The engine chooses the device itself, by the settings; LitServe only has to start one worker.
    server = Server(api, accelerator="cpu", timeout=False, restart_workers=True)
    server.uvicorn_graceful_timeout = round(settings.deadline_seconds) + 5
    app = server.app
    app.router.routes[:] = [route for route in app.routes if getattr(route, "path", "") not in FASTAPI_PAGES]
    app.title, app.version, app.description = "Cuecheck", code_version(), DESCRIPTION

    store = Store.from_settings(settings)
    state = app.state
    state.settings = settings
    state.folder = folder
    state.store = store
    state.keys = KeyStore(store)
    state.banks = Banks(settings.banks_dir, settings.default_bank)
    try:
        state.banks.get(settings.default_bank)
    except Problem as problem:
        raise Invalid(problem.detail, field="default_bank", remedy=problem.remedy) from problem
    state.catalogue = read_catalogue(settings)
    state.queue = JobQueue(settings)
    state.announcer = Announcer(state.queue)
    state.annotations = Annotations(store, state.queue.ledger)
    state.idempotency = Idempotency(state.queue.ledger)
    state.redis = redis.Redis.from_url(
        settings.redis_url, socket_connect_timeout=REDIS_SECONDS, socket_timeout=REDIS_SECONDS, decode_responses=True
    )
    state.submission = Submission(api, server, Tickets(folder / "tickets"), settings.deadline_seconds)
    Connection.idle_seconds = settings.idle_seconds
    state.closing = Connection.closing

    app.user_middleware = [
        Middleware(Observer),
        Middleware(LastResort),
        Middleware(Guard, keys=state.keys, invitations=state.annotations.invitations, needed=keys_needed(settings)),
        Middleware(BodyLimit, settings=settings),
    ]
    install(app)
    app.add_exception_handler(ClientGone, end_unanswered)
    for router in ROUTERS:
        app.include_router(router)
    openapi.complete(app)
    return server
