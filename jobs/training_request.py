"""What a training is asked for."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Triple = tuple[float, float, float]


class TrainingRequest(BaseModel):
    """Everything that decides an encoder's weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str = Field(description="Id of the labelled data set to train on.")
    held_out: Annotated[float, Field(gt=0, le=0.5)] | Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] = Field(
        0.1, description="What accuracies are measured on: id of a data set, or a share of the pictures, drawn."
    )
    route: Literal["adversarial", "linear_head"] = Field(
        "adversarial",
        description="`adversarial` trains a network; `linear_head` freezes an encoder and fits a head on its features.",
    )
    encoder: str | None = Field(
        None, description="Id of an encoder, or `bank:<name>`: what a head is fitted on, or training begins with."
    )
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="Short name of the encoder to be made.")
    title: str = Field("", description="What it is, in a line.")
    licence: str = Field("unknown", description="Terms of the weights.")
    architecture: str = Field("resnet18", description="Network; the encoder's own where training begins with one.")
    arguments: dict[str, Any] = Field({}, description="Keyword arguments of the network.")
    size: int = Field(224, ge=8, le=1024, description="Side of the network's input, pixels; the encoder's with one.")
    mean: Triple | None = Field(None, description="Of pictures in [0, 1]; measured where left out.")
    std: Triple | None = Field(None, description="The same.")
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

    @model_validator(mode="after")
    def _goes_together(self) -> TrainingRequest:
        if self.route == "linear_head" and self.encoder is None:
            raise ValueError("a linear head is fitted on an encoder: name it in encoder")
        if self.batch_size % self.processes:
            raise ValueError(f"batches of {self.batch_size} cannot be shared evenly by {self.processes} processes")
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std are given together or not at all")
        if self.padding >= self.size:
            raise ValueError(f"padding ({self.padding}) must be less than size ({self.size})")
        return self

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
