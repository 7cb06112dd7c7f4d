"""An encoder: a network with its own preprocessing and classes, whose features nobody has labelled yet."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.bank import BackboneEntry


class Described(BaseModel):
    """What its owner says of an encoder, whatever is known of its network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="Short name, for people.")
    title: str = Field("", description="What it is, in a line.")
    licence: str = Field("unknown", description="Terms of the weights.")
    classes: tuple[str, ...] = Field(min_length=2, description="Names of the head's outputs, by index.")
    card: dict[str, Any] = Field({}, description="What was measured of it and how it was made.")

    @model_validator(mode="after")
    def _classes_differ(self) -> Self:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("class names are not distinct")
        return self


class EncoderSpec(Described):
    """All that there is to know of an encoder but its weights, safetensors with torchvision's state-dict keys."""

    backbone: BackboneEntry
