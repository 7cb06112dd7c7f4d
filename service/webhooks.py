"""Webhooks as they are shown, and the client's calls for them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel

from jobs.webhook import Subscription, Webhook
from jobs.webhook_deliveries import Delivery
from service.wire import Wire


class ShownWebhook(Subscription):
    """A webhook without its secret."""

    id: str
    created: datetime

    @classmethod
    def of(cls, webhook: Webhook) -> Self:
        """What of a webhook may be shown."""
        return cls(**webhook.model_dump(exclude={"secret"}))


class WebhookList(BaseModel):
    """All webhooks."""

    webhooks: list[ShownWebhook]


class DeliveryList(BaseModel):
    """What was sent to a webhook, the newest first."""

    deliveries: list[Delivery]


class WebhookClient:
    """Made by `Client.webhooks`; needs a key with the scope `admin`."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def add(self, wanted: Subscription) -> Webhook:
        """Subscribe; the answer has the secret, which is shown this once."""
        body: dict[str, Any] = wanted.model_dump(mode="json", exclude_none=True)
        return Webhook.model_validate_json(self._wire.post("/v1/webhooks", body).content)

    def list(self) -> Sequence[ShownWebhook]:
        """All of them."""
        return self._wire.get(WebhookList, "/v1/webhooks").webhooks

    def remove(self, webhook: str) -> None:
        """Send nothing more there."""
        self._wire.send("DELETE", f"/v1/webhooks/{webhook}")

    def test(self, webhook: str) -> Delivery:
        """Send a test event now; what came of it."""
        return Delivery.model_validate_json(self._wire.send("POST", f"/v1/webhooks/{webhook}/test").content)

    def deliveries(self, webhook: str, limit: int = 50) -> Sequence[Delivery]:
        """What was sent there, the newest first."""
        return self._wire.get(DeliveryList, f"/v1/webhooks/{webhook}/deliveries", params={"limit": limit}).deliveries
