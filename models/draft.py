"""A draft bank: what discovery found of an encoder's features, class by class, before anybody has labelled it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.bank import Statistics
from models.encoder import EncoderSpec

Source = Literal["importance", "component", "failure", "bank"]
"""How a candidate was found: by its share of the class's logit, by neural PCA, as where a classifier fails; or it is a
row of a bank, to be labelled again."""


class DraftExemplar(BaseModel):
    """One picture of a candidate's panel: those of the class's group on which the feature is strongest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sample: str = Field(description="Name of the picture in the data set.")
    row: int = Field(ge=0, description="Its row in the index of the data set.")
    activation: float = Field(description="Of the feature on it, units of phi; of a component its alpha, logit units.")
    attacked: float = Field(description="The same after the feature attack.")


class Prototype(BaseModel):
    """NPFV: the picture made from grey on which a component is strongest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    activation: float = Field(description="alpha without its constant, logit units.")
    probability: float = Field(ge=0, le=1, description="Of the class, on the prototype.")


class FailureFigures(BaseModel):
    """How a feature tells an inspected classifier's failures on the class (Barlow, CVPR 2021)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float = Field(description="Of the feature, units of phi, between the two leaves.")
    below: bool = Field(description="Whether the failing leaf is the one below it.")
    pictures: int = Field(ge=0, description="In the failing leaf.")
    base_error_rate: float | None = Field(description="BER: share of failures among all pictures of the class.")
    error_rate: float = Field(ge=0, le=1, description="ER of the failing leaf.")
    error_coverage: float = Field(ge=0, le=1, description="EC: share of all failures that lie in it.")
    held_out_aler: float | None = Field(description="ALER on pictures that the tree was not fitted on.")
    p_value: float | None = Field(description="Of so large a gain under permuted failures.")


class Candidate(BaseModel):
    """One feature of one class, to be labelled.

    Its panel is one picture of square tiles: a column per exemplar; in the rows the pictures, their heat maps and the
    feature attacks; for a component one column more, its prototype and the heat map of it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    class_index: int = Field(ge=0)
    feature_index: int = Field(ge=0, description="Channel of phi; D + k for the k-th component of the draft.")
    component: int | None = Field(None, ge=0, description="Of a component: its place by eigenvalue, from 0.")
    rank: int = Field(ge=1, description="Order in which the class's candidates are shown.")
    sources: tuple[Source, ...] = Field(min_length=1)
    importance: float = Field(description="IV of a channel, logit units; of a component its mean |alpha|.")
    failure: FailureFigures | None = Field(None, description="Of a failure mode.")
    tops: tuple[int, ...] = Field((), description="Other classes among whose most important channels it is.")
    statistics: Statistics
    exemplars: tuple[DraftExemplar, ...]
    prototype: Prototype | None = None
    panel: str = Field(description="File of the panel, below the draft's folder.")
    tile: int = Field(ge=1, description="Side of a tile, pixels.")


class DraftClass(BaseModel):
    """What was found for one class."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: int = Field(ge=0)
    name: str
    description: str = Field("", description="What the class is, in a sentence, where the data set says so.")
    pictures: int = Field(ge=0, description="Pictures looked at that have this label.")
    group: int = Field(ge=0, description="Pictures of its group G(c), by the grouping convention.")
    note: str = Field("", description="Why there are fewer candidates than asked for, if so.")
    examples: tuple[str, ...] = Field((), description="Samples of the class, as shown in its strip of pictures.")
    strip: str | None = Field(None, description="File of that strip: square tiles side by side.")
    candidates: tuple[Candidate, ...] = ()


class DraftSummary(BaseModel):
    """A class in the list of a draft."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: int
    name: str
    group: int
    candidates: int
    note: str = ""


class Draft(BaseModel):
    """The whole of `draft.json`; each class's candidates lie in a file of their own, `classes/<index>.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    id: str
    code_version: str
    encoder: EncoderSpec
    encoder_id: str
    weights_digest: str
    dataset: str
    request: dict[str, Any]
    grouping: Literal["predicted", "label", "both"]
    pictures: int = Field(description="Pictures that the statistics come from.")
    accuracy: float | None = Field(None, description="Share of them whose label the encoder predicts.")
    skipped: dict[str, int] = Field({}, description="Samples left out, by reason.")
    ran_on: list[dict[str, str]] = Field([], description="Devices, providers and precisions that really ran.")
    classes: tuple[DraftSummary, ...]
