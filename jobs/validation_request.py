"""What a job for a second round is asked for."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from jobs.annotation import ID


class ValidationRequest(BaseModel):
    """Everything that decides the pictures of a second round."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    annotation: str = Field(pattern=ID.pattern, description="Id of the annotation, whose panels and draft are fixed.")
    pictures: int = Field(5, ge=1, le=20, description="In each of the three groups of a row.")
    tile: int = Field(160, ge=32, le=448, description="Side of a picture, pixels.")
