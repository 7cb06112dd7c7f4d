"""What a training is asked for."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

Triple = tuple[float, float, float]

ROUTES = {
    "adversarial": "trains a network whose features people can recognise (Madry et al. 2018): hours, best on a GPU",
    "linear_head": "freezes an encoder and fits a linear head of new classes on its features: minutes",
}
"""The ways to an encoder of one's own classes."""


class TrainingRequest(BaseModel):
    """Everything that decides an encoder's weights."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dataset: str = Field(description="Id of the labelled data set to train on.")
    held_out: float | str = Field(
        0.1,
        description="What accuracies are measured on: id of a data set, or a share of the pictures, up to 0.5, drawn.",
    )
    route: Literal["adversarial", "linear_head"] = Field(
        "adversarial",
        description="`adversarial` trains a network; `linear_head` freezes an encoder and fits a head on its features.",
    )
    encoder: str | None = Field(
        None,
        validate_default=True,
        description="Id of an encoder, or `bank:<name>`: what a head is fitted on, or training begins with.",
    )
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="Short name of the encoder to be made.")
    title: str = Field("", description="What it is, in a line.")
    licence: str = Field("unknown", description="Terms of the weights.")
    architecture: str = Field("resnet18", description="Network; the encoder's own where training begins with one.")
    arguments: dict[str, Any] = Field({}, description="Keyword arguments of the network.")
    size: int = Field(224, ge=8, le=1024, description="Side of the network's input, pixels; the encoder's with one.")
    mean: Triple | None = Field(None, description="Of pictures in [0, 1]; measured where left out.")
    std: Triple | None = Field(None, validate_default=True, description="The same.")
    norm: Literal["l2", "linf"] = Field("l2", description="What the attack's ball is measured in.")
    epsilon: float | None = Field(
        None, gt=0, description="Radius of the ball, pictures in [0, 1]; 3 x size / 224 for l2, 4/255 for linf."
    )
    steps: int = Field(3, ge=1, le=100, description="Steps of the attack.")
    step_size: float | None = Field(None, gt=0, description="Of one step; 2.5 epsilon / steps, at most epsilon.")
    epochs: int = Field(30, ge=1, le=10_000, description="Times every picture is trained on.")
    batch_size: int = Field(128, ge=2, le=65_536, description="Pictures per step, all processes together.")
    learning_rate: float = Field(0.1, gt=0, description="The peak, between a warm-up and a cosine.")
    weight_decay: float = Field(5e-4, ge=0, description="Of weights, not of biases and batch norm.")
    label_smoothing: float = Field(0.05, ge=0, lt=1, description="Share of each label given to all classes.")
    averaging: float = Field(0.998, ge=0, lt=1, description="Decay per step of the running average that is kept.")
    flip: bool = Field(True, description="Mirror half of the pictures.")
    padding: int = Field(0, ge=0, le=64, description="Shift pictures by up to this many pixels.")
    precision: Literal["bf16", "fp32"] = Field("bf16", description="Arithmetic of the network; weights stay fp32.")
    processes: int = Field(1, ge=1, le=64, description="Processes that share every batch: one for each GPU.")
    evaluation_pictures: int = Field(
        500, ge=1, le=100_000, description="Most held-out pictures that are measured after each epoch."
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Of weights, order, attack and held-out share.")

    @field_validator("held_out")
    @classmethod
    def _share_or_identifier(cls, given: float | str) -> float | str:
        if isinstance(given, float) and not 0 < given <= 0.5:
            raise ValueError(f"a share of the pictures is above 0 and at most 0.5, and {given:g} is not")
        if isinstance(given, str) and not re.fullmatch(r"[0-9a-f]{64}", given):
            raise ValueError("neither the id of a data set, 64 hexadecimal digits, nor a share of the pictures")
        return given

    @field_validator("encoder")
    @classmethod
    def _heads_have_one(cls, encoder: str | None, found: ValidationInfo) -> str | None:
        if encoder is None and found.data.get("route") == "linear_head":
            raise ValueError("a linear head is fitted on an encoder: name it")
        return encoder

    @field_validator("std")
    @classmethod
    def _beside_a_mean(cls, std: Triple | None, found: ValidationInfo) -> Triple | None:
        if "mean" in found.data and (found.data["mean"] is None) != (std is None):
            raise ValueError("mean and std are given together or not at all")
        if std is not None and min(std) <= 0:
            raise ValueError(f"must be positive in every channel, not {std}")
        return std

    @field_validator("padding")
    @classmethod
    def _smaller_than_pictures(cls, padding: int, found: ValidationInfo) -> int:
        if padding >= found.data.get("size", padding + 1):
            raise ValueError(f"must be less than size, {found.data['size']}")
        return padding

    @field_validator("processes")
    @classmethod
    def _share_batches(cls, processes: int, found: ValidationInfo) -> int:
        batch = found.data.get("batch_size", processes)
        if batch % processes:
            raise ValueError(f"batches of {batch} cannot be shared evenly by {processes} processes")
        return processes

    @property
    def radius(self) -> float:
        """Radius of the ball."""
        if self.epsilon is not None:
            return self.epsilon
        return 4 / 255 if self.norm == "linf" else 3 * self.size / 224

    @property
    def step_length(self) -> float:
        """Length of one step."""
        return self.step_size if self.step_size is not None else min(self.radius, 2.5 * self.radius / self.steps)
