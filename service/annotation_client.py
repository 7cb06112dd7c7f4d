"""The client's calls for annotations: what their owners do, and what annotators do with their invitations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import httpx

from jobs.annotation_results import Filter, PanelResult, Results
from models.agreement import Place
from service.annotating import AnnotationAnswer, AnnotationChange, AnnotationRequest, InvitationAnswer, NewInvitation
from service.labelling import LabelPanel, LabelSession, Progress
from service.wire import Wire

if TYPE_CHECKING:  # they come with torch, and whoever labels need not wait for that
    from jobs.annotation_publication import PublishRequest
    from jobs.annotation_votes import Imported
    from service.routes.annotation_votes import PublishedBank

MEDIA_TYPES = {"csv": "text/csv", "json": "application/json"}


class AnnotationClient:
    """What owners do; made by `Client.annotations`. Needs a key with the scope `annotate`."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def start(self, request: AnnotationRequest, idempotency_key: str | None = None) -> AnnotationAnswer:
        """Start an annotation on a draft."""
        answer = self._post("", request.model_dump(exclude_none=True), idempotency_key)
        return AnnotationAnswer.model_validate_json(answer.content)

    def list(self) -> Iterator[AnnotationAnswer]:
        """All annotations, the newest first."""
        return self._wire.items(AnnotationAnswer, "/v1/annotations")

    def get(self, annotation: str) -> AnnotationAnswer:
        """One annotation as of now."""
        return self._wire.get(AnnotationAnswer, f"/v1/annotations/{annotation}")

    def change(self, annotation: str, change: AnnotationChange) -> AnnotationAnswer:
        """Change its title, threshold or answers per panel, close it or open it again."""
        body = change.model_dump(exclude_none=True)
        answer = self._wire.send("PATCH", f"/v1/annotations/{annotation}", json=body)
        return AnnotationAnswer.model_validate_json(answer.content)

    def invite(
        self, annotation: str, annotator: str, hours: float = 168, idempotency_key: str | None = None
    ) -> NewInvitation:
        """Invite somebody; the answer has the token, which is not kept."""
        body = {"annotator": annotator, "hours": hours}
        answer = self._post(f"/{annotation}/invitations", body, idempotency_key)
        return NewInvitation.model_validate_json(answer.content)

    def invitations(self, annotation: str) -> Iterator[InvitationAnswer]:
        """All its invitations."""
        return self._wire.items(InvitationAnswer, f"/v1/annotations/{annotation}/invitations")

    def revoke(self, annotation: str, invitation: str) -> None:
        """Make a link worthless; what was answered by it stays."""
        self._wire.send("DELETE", f"/v1/annotations/{annotation}/invitations/{invitation}")

    def results(self, annotation: str, threshold: int | None = None) -> Results:
        """What the answers come to, under another threshold if one is given."""
        parameters = {} if threshold is None else {"threshold": threshold}
        return self._wire.get(Results, f"/v1/annotations/{annotation}/results", params=parameters)

    def panels(self, annotation: str, which: Filter = "all", threshold: int | None = None) -> Iterator[PanelResult]:
        """Its panels with what was said of each."""
        parameters = {"filter": which} | ({} if threshold is None else {"threshold": threshold})
        return self._wire.items(PanelResult, f"/v1/annotations/{annotation}/panels", parameters)

    def more(self, annotation: str, panels: Sequence[str], answers: int = 1) -> AnnotationAnswer:
        """Ask for more answers on some panels."""
        answer = self._post(f"/{annotation}/more", {"panels": list(panels), "answers": answers})
        return AnnotationAnswer.model_validate_json(answer.content)

    def export_votes(self, annotation: str, kind: Literal["csv", "json"] = "json") -> bytes:
        """All answers as a file."""
        headers = {"Accept": MEDIA_TYPES[kind]}
        return self._wire.send("GET", f"/v1/annotations/{annotation}/answers", headers=headers).content

    def import_votes(self, annotation: str, content: bytes, kind: Literal["csv", "json"] = "json") -> Imported:
        """Take in the answers of a file: all of them, or none."""
        from jobs.annotation_votes import Imported

        headers = {"Content-Type": MEDIA_TYPES[kind]}
        answer = self._wire.send("POST", f"/v1/annotations/{annotation}/answers", content=content, headers=headers)
        return Imported.model_validate_json(answer.content)

    def open_validation(self, annotation: str, annotators: int | None = None) -> AnnotationAnswer:
        """Open the second round; its `validation_job` draws the pictures."""
        answer = self._post(f"/{annotation}/validation", {"annotators": annotators})
        return AnnotationAnswer.model_validate_json(answer.content)

    def publish(self, annotation: str, request: PublishRequest, idempotency_key: str | None = None) -> PublishedBank:
        """Make a feature bank of it."""
        from service.routes.annotation_votes import PublishedBank

        answer = self._post(f"/{annotation}/publish", request.model_dump(exclude_none=True), idempotency_key)
        return PublishedBank.model_validate_json(answer.content)

    def _post(self, rest: str, body: dict[str, Any], idempotency_key: str | None = None) -> httpx.Response:
        return self._wire.post(f"/v1/annotations{rest}", body, idempotency_key)


class LabelClient:
    """What annotators do; made by `Client.label` of a client whose key is an invitation's token."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def session(self) -> LabelSession:
        """What one is invited to, and how far one is."""
        return self._wire.get(LabelSession, "/v1/label")

    def next(self, after: str | None = None, panel: str | None = None) -> LabelPanel | None:
        """The next panel that wants an answer, or the one named; None where nothing is left."""
        parameters = {name: value for name, value in (("after", after), ("panel", panel)) if value is not None}
        answer = self._wire.send("GET", "/v1/label/next", params=parameters)
        return None if answer.status_code == 204 else LabelPanel.model_validate_json(answer.content)

    def picture(self, href: str) -> bytes:
        """A picture, JPEG, by the address that a panel gives."""
        return self._wire.send("GET", href).content

    def answer(self, panel: str, kind: Place, confidence: int, reason: str, seconds: float | None = None) -> Progress:
        """Answer a panel; sent again it counts once."""
        body = {"kind": kind, "confidence": confidence, "reason": reason, "seconds": seconds}
        return self._put(f"answers/{panel}", body)

    def validate(self, panel: str, same: bool, different: Sequence[int] = (), seconds: float | None = None) -> Progress:
        """Answer a row of the second round."""
        return self._put(f"validations/{panel}", {"same": same, "different": list(different), "seconds": seconds})

    def undo(self, panel: str) -> Progress:
        """Take the answer on a panel back."""
        return Progress.model_validate_json(self._wire.send("DELETE", f"/v1/label/answers/{panel}").content)

    def _put(self, rest: str, body: dict[str, Any]) -> Progress:
        return Progress.model_validate_json(self._wire.send("PUT", f"/v1/label/{rest}", json=body).content)
