"""What a discovery is asked for."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class DiscoveryRequest(BaseModel):
    """Everything that decides a draft bank."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str = Field(description="Id of the labelled data set whose pictures are looked at.")
    encoder: str = Field(description="Id of the encoder, or `bank:<name>` for the backbone of a feature bank.")
    grouping: Literal["predicted", "label", "both"] = Field(
        "predicted",
        description="Which pictures form a class's group: those predicted as it (Salient ImageNet), those labelled so "
        "(Barlow), or those where both agree (Spuriosity Rankings).",
    )
    classes: list[str] | None = Field(
        None,
        min_length=1,
        description="Classes to look at; all where left out. Pictures of other classes are left out, except in groups "
        "of predictions: a picture of any class may belong to them.",
    )
    class_map: dict[str, str] | None = Field(
        None, description="Class name in the data set -> class of the encoder, where names differ."
    )
    descriptions: dict[str, str] | None = Field(
        None, description="Class of the encoder -> what it is, in a sentence, for those who label."
    )
    again: bool = Field(
        False,
        description="Draw the panels of the labelled rows of the bank that `encoder` names, so that people can label "
        "them again, in place of looking for candidates.",
    )
    channels: int = Field(5, ge=0, le=50, description="Neural features per class, by importance.")
    components: int = Field(0, ge=0, le=50, description="Neural principal components per class.")
    component_candidates: int = Field(
        128, ge=1, le=2048, description="Components, by eigenvalue, among whose prototypes the best are chosen."
    )
    classifier: str | None = Field(
        None, description="Id of a classifier: the features that tell its failures join the candidates (Barlow)."
    )
    failure_depth: int = Field(
        1,
        ge=1,
        le=3,
        description="Depth of the tree that tells its failures; features on failing paths join.",
    )
    exemplars: int = Field(5, ge=1, le=20, description="Pictures per panel.")
    attack_steps: int = Field(100, ge=1, le=1000, description="Steps of the feature attack.")
    prototype_steps: int = Field(200, ge=1, le=1000, description="Steps of a component's prototype.")
    tile: int = Field(160, ge=32, le=448, description="Side of a picture in a panel, pixels.")
    seed: int = Field(0, ge=0, lt=2**63, description="Of prototypes, permutations and the choice of pictures.")
    batch_size: int = Field(32, ge=1, le=256, description="Pictures per forward.")
    max_pictures: int | None = Field(
        None, ge=1, description="Look at at most this many pictures, spread over the data set; all where left out."
    )
