"""What is known of an encoder in the store: `encoders/<id>/encoder.json`."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from models.encoder import EncoderSpec


class Origin(BaseModel):
    """The file that an encoder was read from."""

    model_config = ConfigDict(frozen=True)

    sha256: str = Field(description="sha256 of the file.")
    bytes: int = Field(description="Its size.")
    format: Literal["safetensors", "torch"] = Field(description="`torch`: written by torch.save, read as data.")
    layout: Literal["plain", "data-parallel", "robustness"] = Field(description="How it kept the state dict.")
    url: str | None = Field(None, description="Where it was downloaded from.")
    catalogue: str | None = Field(None, description="Name in the catalogue.")


class EncoderRecord(BaseModel):
    """What is known of an encoder without opening it."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="sha256 of the specification and the weights' sha256, 64 hexadecimal digits.")
    spec: EncoderSpec = Field(description="The specification, complete.")
    weights_digest: str = Field(description="sha256 of the weights as safetensors.")
    bytes: int = Field(description="Size of the weights.")
    origin: Origin | None = Field(None, description="The file it was read from.")
    created: datetime = Field(description="When it was brought in, UTC.")
