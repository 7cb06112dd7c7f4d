"""What is kept of an annotation: the session itself, its panels, its invitations and what people answered.

annotations/<id>/annotation.json                    the session; rewritten whole by its owner
annotations/<id>/panels.json                        its panels, fixed when it is created
annotations/<id>/invitations/<invitation>.json      one file each
annotations/<id>/answers/<annotator>/<panel>.json   one file per annotator and panel, however often sent
annotations/<id>/validations/<annotator>/<panel>.json
annotations/<id>/imports/<digest>.json              answers that came as one file
annotations/<id>/validation/                        the second round's pictures, made by its job
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from models.agreement import Place
from models.bank_votes import pseudonym

ROOT = "annotations"
ID = re.compile(r"[0-9a-f]{12}")
PANEL = re.compile(r"[0-9]{1,9}-[0-9]{1,9}")
MOST_ANSWERS = 100
"""Of one panel: more than that tell nothing new."""

LONGEST_REASON, LONGEST_TITLE, LONGEST_NAME = 2000, 200, 100
DAY_SECONDS = 86_400.0

State = Literal["open", "closed", "published"]
Stage = Literal["labels", "validation"]


def _text(value: str) -> str:
    """Without spaces around it; it must say something, and hold no character that no text has."""
    stripped = value.strip()
    if not stripped:
        raise ValueError("it is empty")
    if any(ord(character) < 32 and character not in "\t\n\r" for character in stripped):
        raise ValueError("it holds control characters")
    return stripped


Text = Annotated[str, AfterValidator(_text)]
"""Foreign text, kept as it was typed; whoever shows it must not take it for anything else."""

Name = Annotated[Text, Field(max_length=LONGEST_NAME)]
Title = Annotated[Text, Field(max_length=LONGEST_TITLE)]
Reason = Annotated[Text, Field(max_length=LONGEST_REASON)]


class Publication(BaseModel):
    """The bank that became of an annotation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: int = Field(ge=1)
    digest: str


class AnnotationRecord(BaseModel):
    """One session. All times are UTC."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=ID.pattern, description="12 hexadecimal digits.")
    title: Title
    draft: str = Field(description="Id of the discovery whose candidates are labelled.")
    bank: str | None = Field(None, description="Digest of the bank whose rows are labelled again, where they are.")
    state: State = "open"
    stage: Stage = "labels"
    answers_per_panel: int = Field(ge=1, le=MOST_ANSWERS, description="People who are asked about each panel.")
    threshold: int = Field(
        ge=1, description="Of so many answers, those for background or separate object that make a feature spurious."
    )
    more: dict[str, int] = Field({}, description="Answers wanted beyond that, by panel.")
    validation_job: str | None = Field(None, description="Job that draws the pictures of the second round.")
    validators: int = Field(0, ge=0, le=MOST_ANSWERS, description="People asked about each row in the second round.")
    created: datetime
    published: Publication | None = None

    @model_validator(mode="after")
    def _threshold_fits(self) -> AnnotationRecord:
        if self.threshold > self.answers_per_panel:
            raise ValueError(f"threshold {self.threshold} is more than the {self.answers_per_panel} answers per panel")
        return self

    def wanted(self, panel: str) -> int:
        """Answers wanted on a panel."""
        return self.answers_per_panel + self.more.get(panel, 0)


class PanelClass(BaseModel):
    """A class whose features are looked at, as its draft describes it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: int = Field(ge=0)
    name: str
    description: str = ""
    strip: str | None = Field(None, description="File of its examples, below the draft's folder.")


class Panel(BaseModel):
    """One thing to be looked at: a candidate feature of a class."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=PANEL.pattern, description="`<class index>-<feature index>`.")
    class_index: int = Field(ge=0)
    feature_index: int = Field(ge=0)
    rank: int = Field(ge=1)
    file: str = Field(description="Its picture, below the draft's folder.")
    tile: int = Field(ge=1, description="Side of a tile, pixels.")
    columns: int = Field(ge=1, description="Tiles side by side.")
    prototype: bool = Field(description="Whether the last column shows a component's prototype.")
    also: tuple[str, ...] = Field((), description="Names of other classes among whose most important features it is.")


class Panels(BaseModel):
    """The whole of `panels.json`: by class and rank, the order in which they are worked through."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: tuple[PanelClass, ...]
    panels: tuple[Panel, ...] = Field(min_length=1)


class Invitation(BaseModel):
    """A link that lets one person answer; its token is not kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=ID.pattern)
    annotation: str = Field(pattern=ID.pattern)
    annotator: Name = Field(description="Who is invited. A further link for the same name goes on where it left off.")
    created: datetime
    expires: datetime
    revoked: datetime | None = None
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the whole token, hexadecimal.")

    @property
    def annotator_id(self) -> str:
        """The annotator's folder."""
        return annotator_id(self.annotator)


class Answer(BaseModel):
    """What one annotator said of one panel."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    annotator: Name
    kind: Place
    confidence: int | None = Field(None, ge=1, le=5, description="1 (not at all) to 5 (completely); None: not known.")
    reason: str = Field("", max_length=LONGEST_REASON, description="In their words; empty only in imports.")
    seconds: float | None = Field(None, ge=0, le=DAY_SECONDS, allow_inf_nan=False, description="Time spent on it.")
    at: datetime | None = Field(None, description="When the service took it; None in imports that do not say.")


class ValidationAnswer(BaseModel):
    """What one annotator said of one row in the second round."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    annotator: Name
    same: bool = Field(description="Whether the three groups show the same thing.")
    different: tuple[int, ...] = Field((), description="Pictures that do not, counted through the three groups from 0.")
    seconds: float | None = Field(None, ge=0, le=DAY_SECONDS, allow_inf_nan=False)
    at: datetime | None = None


class ImportedAnswer(BaseModel):
    """An answer with the panel it is about."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    panel: str = Field(pattern=PANEL.pattern)
    answer: Answer


class Import(BaseModel):
    """Answers that came as one file, kept as one file: all of them are there or none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    answers: tuple[ImportedAnswer, ...]


class Row(BaseModel):
    """A row of the second round: its three groups of pictures, from the class's top fifth for that feature."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    panel: str = Field(pattern=PANEL.pattern)
    pictures: int = Field(ge=1, description="In each group.")
    group: int = Field(ge=1, description="Pictures of the class's group.")
    top: int = Field(ge=1, description="Of them, the fifth that the groups were taken from.")
    lowest: float = Field(description="Activation of the last picture of that fifth.")


class Rows(BaseModel):
    """The whole of `validation/rows.json`, whose presence means that all pictures are there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tile: int = Field(ge=1)
    rows: tuple[Row, ...]


def annotator_id(name: str) -> str:
    """An annotator's id, 10 hexadecimal digits: the same name is the same person, and so is its pseudonym."""
    return pseudonym(name).rpartition("-")[2]


def folder(annotation: str) -> str:
    """Where an annotation lies in the store."""
    return f"{ROOT}/{annotation}"


def draft_folder(draft: str) -> str:
    """Where the draft of a discovery lies in the store."""
    return f"discoveries/{draft}"
