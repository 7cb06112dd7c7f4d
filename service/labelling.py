"""What annotators get and send. The field descriptions are the reference: OpenAPI shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from jobs.annotation import (
    DAY_SECONDS,
    Answer,
    Invitation,
    Panel,
    PanelClass,
    Reason,
    Row,
    Stage,
    ValidationAnswer,
)
from jobs.annotation_assignment import before, left
from jobs.annotation_index import AnnotationIndex
from jobs.annotation_validation import GROUPS
from models.agreement import Place

PICTURES = "/v1/label/pictures"
ROWS = ("picture", "heat map", "attack")

QUESTIONS: dict[Stage, dict[str, str]] = {
    "labels": {
        "kind": "Where is what the heat maps show in most of the pictures: on the main object of the class, in the "
        "background, or on a separate object?",
        "main_object": "It is on the object that the class is named after, or a part of it.",
        "background": "It is in the surroundings: ground, sky, water, a texture.",
        "separate_object": "It is on another thing that merely comes along: a person, a tool, a plant.",
        "confidence": "How sure are you? 1 not at all, 2 slightly, 3 somewhat, 4 fairly, 5 completely.",
        "reason": "What is it, and what makes you think so? A few words.",
        "attack": "The last row shows the pictures changed so that the feature grows stronger: where a heat map covers "
        "two things, what grows there is the one that is meant.",
    },
    "validation": {
        "same": "Do the heat maps of all three groups of pictures show the same thing?",
        "different": "Tick the pictures on which something else is shown.",
    },
}
"""As the annotators of Salient ImageNet were asked (Singla & Feizi, ICLR 2022, 3.3 and 3.4)."""


class LabelSession(BaseModel):
    """What somebody is invited to, and how far they are."""

    title: str
    annotator: str
    stage: Stage
    state: Literal["open", "closed", "published"]
    panels: int = Field(description="In this round.")
    done: int = Field(description="Panels that this annotator has answered in this round.")
    left: int = Field(description="Panels that still want an answer of theirs.")
    expires: datetime = Field(description="When the invitation does.")
    questions: dict[str, str] = Field(description="What is asked in this round, and what the answers mean.")


class LabelClass(BaseModel):
    """The class that a panel is about."""

    name: str
    description: str
    index: int
    strip_href: str | None = Field(None, description="Examples of the class side by side.")


class Mine(BaseModel):
    """What this annotator has answered already."""

    kind: Place | None = None
    confidence: int | None = None
    reason: str | None = None
    same: bool | None = None
    different: tuple[int, ...] | None = None
    seconds: float | None = Field(None, description="Time spent on the panel until then.")


class LabelPanel(BaseModel):
    """One panel to be looked at. Its picture is made of square tiles: a column per example, rows as named."""

    panel: str = Field(examples=["3-57"])
    stage: Stage
    class_: LabelClass = Field(alias="class")
    feature_index: int
    panel_href: str = Field(examples=[f"{PICTURES}/panels/3-57.jpg"])
    tile: int = Field(description="Side of a tile, pixels.")
    columns: int
    rows: tuple[str, ...] = Field(ROWS, description="What the rows of the picture show, from top to bottom.")
    prototype: bool = Field(description="Whether the last column shows a prototype instead of a picture.")
    also: tuple[str, ...] = Field((), description="Other classes among whose most important features it is.")
    mine: Mine | None = None
    place: int = Field(description="Of this panel among all, from 1.")
    of: int
    previous: str | None = Field(None, description="The panel answered before this one, to go back to.")
    groups: dict[str, str] | None = Field(
        None,
        description="In the second round: the pictures on which the feature is strongest, in the middle and weakest "
        "within the class's top fifth; each a picture of tiles with their heat maps below.",
    )
    pictures: int | None = Field(None, description="In each of those groups.")

    model_config = ConfigDict(populate_by_name=True)


class LabelAnswer(BaseModel):
    """What an annotator says of a panel."""

    model_config = ConfigDict(extra="forbid")

    kind: Place
    confidence: int = Field(ge=1, le=5, description="1 (not at all) to 5 (completely).")
    reason: Reason = Field(description="Why, in a few words; it must not be empty.")
    seconds: float | None = Field(
        None, ge=0, le=DAY_SECONDS, allow_inf_nan=False, description="Time spent on the panel."
    )


class LabelValidation(BaseModel):
    """What an annotator says of a row in the second round."""

    model_config = ConfigDict(extra="forbid")

    same: bool
    different: list[int] = Field([], max_length=100, description="Pictures that differ, from 0 through the groups.")
    seconds: float | None = Field(None, ge=0, le=DAY_SECONDS, allow_inf_nan=False)


class Progress(BaseModel):
    """How far an annotator is in this round."""

    done: int
    left: int


def session(index: AnnotationIndex, invitation: Invitation) -> LabelSession:
    """What an annotator sees first."""
    record = index.record
    progress = progress_of(index, invitation)
    return LabelSession(
        title=record.title,
        annotator=invitation.annotator,
        stage=record.stage,
        state=record.state,
        panels=len(index.panels if record.stage == "labels" else index.rows or ()),
        done=progress.done,
        left=progress.left,
        expires=invitation.expires,
        questions=QUESTIONS[record.stage],
    )


def progress_of(index: AnnotationIndex, invitation: Invitation) -> Progress:
    """How far an annotator is."""
    person = invitation.annotator_id
    mine = (index.mine if index.record.stage == "labels" else index.validated).get(person, {})
    return Progress(done=len(mine), left=left(index, person))


def described(index: AnnotationIndex, invitation: Invitation, panel: Panel, row: Row | None) -> LabelPanel:
    """A panel as its annotator sees it.

    Args:
        index: of the annotation.
        invitation: of the annotator.
        panel: to be shown.
        row: its pictures in the second round.
    """
    about: PanelClass = index.classes[panel.class_index]
    person = invitation.annotator_id
    labels, validations = index.mine.get(person, {}), index.validated.get(person, {})
    second = index.record.stage == "validation"
    return LabelPanel(
        panel=panel.id,
        stage=index.record.stage,
        class_=LabelClass(
            name=about.name,
            description=about.description,
            index=about.index,
            strip_href=f"{PICTURES}/{about.strip}" if about.strip else None,
        ),
        feature_index=panel.feature_index,
        panel_href=f"{PICTURES}/{panel.file}",
        tile=panel.tile,
        columns=panel.columns,
        prototype=panel.prototype,
        also=panel.also,
        mine=_mine(validations.get(panel.id)) if second else _mine(labels.get(panel.id)),
        place=index.place[panel.id] + 1,
        of=len(index.panels),
        previous=before(validations, panel.id) if second else before(labels, panel.id),
        groups={group: f"{PICTURES}/validation/{panel.id}-{group}.jpg" for group in GROUPS} if row else None,
        pictures=row.pictures if row else None,
    )


def _mine(given: Answer | ValidationAnswer | None) -> Mine | None:
    match given:
        case Answer():
            return Mine(kind=given.kind, confidence=given.confidence, reason=given.reason, seconds=given.seconds)
        case ValidationAnswer():
            return Mine(same=given.same, different=given.different, seconds=given.seconds)
        case _:
            return None
