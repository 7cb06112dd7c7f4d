"""What a network expects of its input. Free of torch: the process that runs an uploaded ONNX file does without it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Triple = tuple[float, float, float]


class Preprocessing(BaseModel):
    """How a picture becomes a network's input: resize, centre crop, scale, subtract `mean`, divide by `std`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    size: int = Field(ge=8, le=2048, description="Side of the square network input in pixels.")
    resize: int | None = Field(
        None, ge=8, le=4096, description="Side resized to before the centre crop; `size` where left out."
    )
    resize_rule: Literal["shorter", "stretch"] = Field(
        "shorter", description="`shorter` keeps the aspect ratio, `stretch` makes both sides `resize`."
    )
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    antialias: bool = True
    mean: Triple = Field((0.0, 0.0, 0.0), description="Subtracted per channel, on the scale of `scale`.")
    std: Triple = Field((1.0, 1.0, 1.0), description="Divided by per channel, on the scale of `scale`.")
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    colour: Literal["RGB", "BGR"] = Field("RGB", description="Channel order; `mean` and `std` follow it.")
    scale: Literal["unit", "byte"] = Field("unit", description="Pixel range before `mean`: [0, 1] or [0, 255].")

    @model_validator(mode="after")
    def _crop_fits(self) -> Preprocessing:
        if self.resize is not None and self.resize < self.size:
            raise ValueError(f"resize ({self.resize}) must be at least size ({self.size}), or the crop has no pixels")
        if min(self.std) <= 0:
            raise ValueError(f"std must be positive in every channel, not {self.std}")
        return self
