"""A small typed client of the service's HTTP interface; the command line is written with it.

with Client("http://127.0.0.1:8765", key="cck_...") as client:
    dataset = client.upload_dataset(Path("pictures.zip"))
    classifier = client.upload_classifier(Path("model.onnx"), spec)
    job = client.submit_audit(AuditRequest(classifier=classifier.id, dataset=dataset.id))
    for job in client.follow(job.id):
        print(job.done, "of", job.total)
    report = client.report(job.id)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import httpx

from jobs.annotation_invitations import TOKEN_PREFIX
from service.annotation_client import AnnotationClient, LabelClient
from service.bank_client import BankClient
from service.job_client import JobClient
from service.schemas import MasksAnswer
from service.upload_client import UploadClient
from service.wire import Wire

if TYPE_CHECKING:  # it comes with what sends them, and who has none need not wait for that
    from service.webhooks import WebhookClient


class Client(BankClient, UploadClient, JobClient):
    """One service, reached with one key; a context manager. Its calls stand in its parts, one noun each."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8765",
        key: str | None = None,
        timeout: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Prepare a client; nothing is sent yet.

        Args:
            url: Root of the service.
            key: API key, where the service asks for one; or an invitation's token, for `label`.
            timeout: Longest wait for the next byte of an answer, seconds.
            transport: How requests travel, for tests and proxies.
        """
        headers = {"X-API-Key": key} if key else {}
        if key is not None and key.startswith(TOKEN_PREFIX):
            headers = {"Authorization": f"Bearer {key}"}
        self.url = url.rstrip("/")
        self._wire = Wire(url, headers, timeout, transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._wire.close()

    def masks(
        self, pictures: Sequence[tuple[str, bytes]], fields: Mapping[str, str | Sequence[str]] | None = None
    ) -> MasksAnswer:
        """Masks of some pictures, the maps as base64 in the answer.

        Args:
            pictures: Name and bytes of each.
            fields: The further form fields of `POST /v1/masks`, such as `bank`, `classes`, `maps`, `size`.
        """
        files = [("pictures", picture) for picture in pictures]
        answer = self._wire.send("POST", "/v1/masks", files=files, data=dict(fields or {}))
        return MasksAnswer.model_validate_json(answer.content)

    def capabilities(self) -> dict[str, Any]:
        """Everything this service offers: audits, corruptions, formats, limits."""
        capabilities: dict[str, Any] = self._wire.send("GET", "/v1/capabilities").json()
        return capabilities

    @property
    def annotations(self) -> AnnotationClient:
        """What owners of annotations do."""
        return AnnotationClient(self._wire)

    @property
    def label(self) -> LabelClient:
        """What annotators do, where the key is an invitation's token."""
        return LabelClient(self._wire)

    @property
    def webhooks(self) -> WebhookClient:
        """Who is told when jobs end."""
        from service.webhooks import WebhookClient

        return WebhookClient(self._wire)
