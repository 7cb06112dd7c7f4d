"""What the owner of a classifier declares about it."""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    field_validator,
    model_validator,
)

from models.classifiers import formats
from models.preprocessing import Preprocessing

MOST_CLASSES = 100_000

ClassName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Label = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]


class ClassifierSpec(BaseModel):
    """A classifier as declared on upload: its format, its input and what its outputs mean."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str = Field(description="File format, one of those listed by /v1/capabilities.")
    classes: tuple[ClassName, ...] = Field(
        min_length=2,
        max_length=MOST_CLASSES,
        description="Class names; the position is the index of the output.",
    )
    preprocessing: Preprocessing
    architecture: str | None = Field(None, description="torchvision's name of the network (safetensors only).")
    arguments: dict[str, JsonValue] | None = Field(
        None, description="Keyword arguments the architecture is built with (safetensors only)."
    )
    input_name: str | None = Field(None, description="Input that takes the pictures (ONNX only).")
    output_name: str | None = Field(
        None, description="Output with the scores (ONNX only); needed where there are several."
    )
    name: Label = Field("", description="Name for people.")
    version: Label = Field("", description="Version for people.")

    @field_validator("format")
    @classmethod
    def _format_is_known(cls, value: str) -> str:
        if value not in formats:
            raise ValueError(f"unknown format {value!r}; known are: {', '.join(sorted(formats))}")
        return value

    @field_validator("classes")
    @classmethod
    def _classes_are_distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        seen: set[str] = set()
        for name in value:
            if name in seen:
                raise ValueError(f"class {name!r} is named twice; every output needs a name of its own")
            seen.add(name)
        return value

    @model_validator(mode="after")
    def _fields_fit_the_format(self) -> ClassifierSpec:
        chosen = formats[self.format]
        special = frozenset().union(*(known.requires | known.accepts for known in formats.values()))
        declared = {field for field in special if getattr(self, field) is not None}
        if missing := sorted(chosen.requires - declared):
            raise ValueError(f"format {self.format!r} needs {', '.join(missing)}")
        if foreign := sorted(declared - chosen.requires - chosen.accepts):
            raise ValueError(f"format {self.format!r} has no use for {', '.join(foreign)}")
        return self

    def exported(self) -> ClassifierSpec:
        """The declaration of the same classifier as an ONNX file of one input and one output."""
        kept = self.model_dump(exclude={"format", "architecture", "arguments", "input_name", "output_name"})
        return ClassifierSpec.model_validate({**kept, "format": "onnx"})
