"""Webhooks: tell other systems that jobs have ended. Needs a key with scope `admin`; see docs/webhooks.md."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from jobs.announcer import Announcer
from jobs.webhook import Subscription, Webhook
from jobs.webhook_deliveries import Delivery
from service.auth import require
from service.problems import problem_responses
from service.webhooks import DeliveryList, ShownWebhook, WebhookList

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], dependencies=[Depends(require("admin"))])

WebhookId = Annotated[str, Path(description="Id of the webhook.")]
FOUND = problem_responses("unauthorised", "forbidden", "not-found", "unavailable")


@router.post(
    "",
    operation_id="create_webhook",
    status_code=201,
    responses=problem_responses("malformed", "unauthorised", "forbidden", "invalid", "limit-exceeded", "unavailable"),
)
def create_webhook(request: Request, wanted: Subscription, response: Response) -> Webhook:
    """Subscribe an address to the ends of jobs. The answer holds the secret that signs its messages, shown this once.

    There is no `Idempotency-Key` here: remembering the answer would mean keeping the secret in a second place.
    """
    webhook = _announcer(request).webhooks.add(wanted)
    response.headers["Location"] = f"/v1/webhooks/{webhook.id}"
    response.headers["Cache-Control"] = "no-store"
    return webhook


@router.get("", operation_id="list_webhooks", responses=problem_responses("unauthorised", "forbidden", "unavailable"))
def list_webhooks(request: Request) -> WebhookList:
    """All webhooks, without their secrets."""
    return WebhookList(webhooks=[ShownWebhook.of(webhook) for webhook in _announcer(request).webhooks.list()])


@router.get("/{webhook}", operation_id="get_webhook", responses=FOUND)
def get_webhook(request: Request, webhook: WebhookId) -> ShownWebhook:
    """One webhook, without its secret."""
    return ShownWebhook.of(_announcer(request).webhooks.get(webhook))


@router.delete("/{webhook}", operation_id="delete_webhook", status_code=204, responses=FOUND)
def delete_webhook(request: Request, webhook: WebhookId) -> None:
    """Send nothing more there, not even what was due."""
    _announcer(request).remove(webhook)


@router.post("/{webhook}/test", operation_id="test_webhook", responses=FOUND)
def test_webhook(request: Request, webhook: WebhookId) -> Delivery:
    """Send it an event of the type `org.cuecheck.ping`, once, and say what came of it."""
    return _announcer(request).ping(webhook)


@router.get("/{webhook}/deliveries", operation_id="list_deliveries", responses=FOUND)
def list_deliveries(
    request: Request,
    webhook: WebhookId,
    limit: Annotated[int, Query(ge=1, le=500, description="At most this many.")] = 50,
) -> DeliveryList:
    """What was sent to it and what came of it, the newest first; the last 500, for 30 days."""
    announcer = _announcer(request)
    return DeliveryList(deliveries=announcer.deliveries.of(announcer.webhooks.get(webhook).id, limit))


def _announcer(request: Request) -> Announcer:
    announcer: Announcer = request.app.state.announcer
    return announcer
