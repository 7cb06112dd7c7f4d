"""What an audit is asked for: everything that decides its figures."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from jobs.errors import in_words
from jobs.measurement import Measurement
from jobs.measurements import measurements
from models.corruptions import CORRUPTIONS, GAUSSIAN_NOISE


def _usual() -> dict[str, dict[str, Any]]:
    return {name: own.parameters().model_dump(mode="json") for name, own in measurements().items() if own.default}


class AuditRequest(BaseModel):
    """Everything that decides the figures of an audit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    classifier: str = Field(description="Id of the classifier to audit.")
    dataset: str = Field(description="Id of the data set whose pictures are used.")
    bank: str = Field("planted", description="Feature bank, by name or digest.")
    classes: list[str] | None = Field(None, min_length=1, description="Bank classes to audit; all where left out.")
    class_map: dict[str, str] | None = Field(
        None, description="Class name in the data set or the classifier -> class of the bank, where names differ."
    )
    measurements: dict[str, dict[str, Any]] = Field(
        default_factory=_usual,
        min_length=1,
        description="What is measured, each with its parameters; `GET /v1/capabilities` lists them.",
    )
    corruption: str = Field(GAUSSIAN_NOISE.name, description="What is done to the masked part of a picture.")
    sigma: float = Field(0.25, gt=0, le=2, description="Strength of the corruption, on pixels in [0, 1].")
    seed: int = Field(0, ge=0, lt=2**63, description="Of the noise and of the intervals' bootstrap.")
    batch_size: int = Field(32, ge=1, le=256, description="Pictures per forward.")
    max_pictures: int | None = Field(
        None, ge=1, description="Audit at most this many pictures, spread evenly over the data set; all where left out."
    )

    @field_validator("corruption")
    @classmethod
    def _known_corruption(cls, name: str) -> str:
        if name not in CORRUPTIONS:
            raise ValueError(f"unknown corruption {name!r}; known are {', '.join(sorted(CORRUPTIONS))}")
        return name

    @field_validator("measurements")
    @classmethod
    def _known_measurements(cls, chosen: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """In alphabetical order with all their parameters, so that requests for the same are the same."""
        problems: list[InitErrorDetails] = []
        complete: dict[str, dict[str, Any]] = {}
        for name in sorted(chosen):
            if name not in measurements():
                text = f"unknown measurement; known are {', '.join(measurements())}"
                problems.append({"type": PydanticCustomError("unknown", text), "loc": (name,), "input": name})
                continue
            try:
                found = measurements()[name].parameters.model_validate(chosen[name])
            except ValidationError as error:
                problems += [
                    {
                        "type": PydanticCustomError(own["type"], in_words(own["msg"])),
                        "loc": (name, *own["loc"]),
                        "input": own["input"],
                    }
                    for own in error.errors()
                ]
            else:
                complete[name] = found.model_dump(mode="json")
        if problems:
            raise ValidationError.from_exception_data(cls.__name__, problems)
        return complete

    def chosen(self) -> list[tuple[Measurement, Any]]:
        """What is measured, with its parameters."""
        known = measurements()
        return [(known[name], known[name].parameters.model_validate(own)) for name, own in self.measurements.items()]

    def further(self) -> dict[str, str]:
        """The ids of second data sets, by the measurement that asks for one."""
        return {own.name: identifier for own, asked in self.chosen() if (identifier := own.further(asked)) is not None}

    def measures(self, measurement: Measurement) -> bool:
        """Whether this is among what is measured."""
        return measurement.name in self.measurements
