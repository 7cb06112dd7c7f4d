"""What owners of annotations get and send. The field descriptions are the reference: OpenAPI shows them."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, model_validator

from jobs.annotation import MOST_ANSWERS, Invitation, Name, Publication, Stage, State, Title
from jobs.annotation_index import AnnotationIndex
from jobs.annotation_invitations import MOST_HOURS


class AnnotationRequest(BaseModel):
    """An annotation to be started."""

    model_config = ConfigDict(extra="forbid")

    draft: str | None = Field(
        None,
        max_length=64,
        description="Id of the discovery whose draft is labelled. With `bank` the one that has its panels; that which "
        "the bank's card names where left out.",
    )
    bank: str | None = Field(
        None,
        max_length=100,
        description="Bank whose rows are labelled again, beginning with its answers: name, `name@version` or digest.",
    )
    title: Title | None = Field(None, description="What to call it; after the encoder or the bank where left out.")
    answers_per_panel: int | None = Field(
        None, ge=1, le=MOST_ANSWERS, description="People asked about each panel: 5, or as many as for the bank."
    )
    threshold: int | None = Field(
        None,
        ge=1,
        description="Of so many answers, those against the main object that make a feature spurious: 3, or as for the "
        "bank.",
    )
    classes: list[str] | None = Field(None, min_length=1, description="Classes to label; all where left out.")

    @model_validator(mode="after")
    def _names_something(self) -> AnnotationRequest:
        if self.draft is None and self.bank is None:
            raise ValueError("name a draft to label, or a bank to label again")
        return self


class AnnotationChange(BaseModel):
    """What an owner may change. What is left out stays."""

    model_config = ConfigDict(extra="forbid")

    title: Title | None = None
    answers_per_panel: int | None = Field(None, ge=1, le=MOST_ANSWERS)
    threshold: int | None = Field(None, ge=1)
    state: State | None = Field(None, description="`open` or `closed`.")


class AnnotationAnswer(BaseModel):
    """An annotation and how far it is."""

    id: str
    title: str
    draft: str
    bank: str | None = Field(None, description="Digest of the bank whose rows are labelled again, where they are.")
    state: State
    stage: Stage
    answers_per_panel: int
    threshold: int
    panels: int
    answers: int
    complete: int = Field(description="Panels that have all the answers that are wanted.")
    annotators: int = Field(description="People who were invited or whose answers were imported.")
    validation_job: str | None = Field(None, description="Job that draws the pictures of the second round.")
    created: datetime
    published: Publication | None = None


class InvitationRequest(BaseModel):
    """Somebody to be invited."""

    model_config = ConfigDict(extra="forbid")

    annotator: Name = Field(description="Who. A further link for the same name goes on where the former left off.")
    hours: float = Field(168, gt=0, le=MOST_HOURS, description="For which the link works.")


class InvitationAnswer(BaseModel):
    """An invitation as its owner sees it."""

    id: str
    annotator: str
    created: datetime
    expires: datetime
    revoked: datetime | None = None
    answers: int = Field(description="That its annotator has given in the first round, whatever the link.")


class NewInvitation(InvitationAnswer):
    """An invitation just made, with its token, which is not kept and cannot be shown again."""

    token: str
    href: str = Field(description="The link to send, below the root of the service.", examples=["/label#cci_..."])


def annotation_answer(index: AnnotationIndex) -> AnnotationAnswer:
    """An annotation as it is shown."""
    record = index.record
    return AnnotationAnswer(
        **record.model_dump(
            include={
                "id",
                "title",
                "draft",
                "bank",
                "state",
                "stage",
                "answers_per_panel",
                "threshold",
                "validation_job",
                "created",
                "published",
            }
        ),
        panels=len(index.panels),
        answers=index.answered(),
        complete=len(index.panels) - len(index.lacking()),
        annotators=len(index.annotators),
    )


def invitation_answer(invitation: Invitation, index: AnnotationIndex) -> InvitationAnswer:
    """An invitation as it is shown."""
    return InvitationAnswer(
        **invitation.model_dump(include={"id", "annotator", "created", "expires", "revoked"}),
        answers=len(index.mine.get(invitation.annotator_id, ())),
    )
