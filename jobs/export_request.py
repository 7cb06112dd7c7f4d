"""What an export of masks is asked for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

TOP = "top:"

LabelName = Literal["core", "spurious"]
FeatureIndex = Annotated[int, Field(ge=0)]
Format = Literal["png", "webdataset", "rle"]

FORMATS: dict[Format, str] = {
    "png": "8-bit grey PNG in a zip per shard: <class>/feature_<j>/<picture>.png",
    "webdataset": "tar per shard: of each picture a JSON member, a PNG per mask, and the picture where asked for",
    "rle": "COCO run lengths of the masks cut at the threshold, a line of JSON per mask",
}
VALIDITIES = {
    "valid": "where the activation lies in the range that the bank states for the row",
    "top:<share>": "on this share of the class's pictures in the data set, those where the feature is strongest",
    "all": "on every picture",
}


class ExportRequest(BaseModel):
    """Everything that decides the bytes of an export."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str = Field(description="Id of the data set whose pictures get masks.")
    bank: str = Field("planted", description="Feature bank, by name or digest.")
    classes: list[str] | None = Field(
        None, min_length=1, description="Bank classes whose pictures get masks; all where left out."
    )
    class_map: dict[str, str] | None = Field(
        None, description="Class name in the data set -> class of the bank, where names differ."
    )
    features: Literal["all", "core", "spurious"] | list[FeatureIndex] = Field(
        "all", description="Which labelled features: all, those of a label, or a list of indices."
    )
    class_of: Literal["label", "predicted"] = Field(
        "label", description="Which class's features a picture gets: that of its label, or that the bank predicts."
    )
    validity: str = Field("valid", description="Which masks are written: valid, all, or top:<share>, 0 < share <= 1.")
    unions: list[LabelName] = Field(
        [], description="Also the pixelwise maximum of the masks that are written of a picture and a label."
    )
    size: Literal["input", "original"] = Field(
        "input", description="Pixels of the masks: of the backbone's input, or of the picture."
    )
    format: Format = Field("png", description="How masks are written.")
    threshold: float = Field(0.5, gt=0, le=1, description="Where masks are cut for rle; others are soft.")
    pictures: bool = Field(False, description="Put the pictures beside their masks; only webdataset does.")
    ranked: int = Field(100, ge=1, le=10_000, description="Most pictures in each list of a class's rankings.")
    seed: int = Field(0, ge=0, lt=2**63, description="Of the choice of pictures.")
    batch_size: int = Field(32, ge=1, le=256, description="Pictures per forward.")
    pictures_per_shard: int = Field(
        1000, ge=1, le=100_000, description="Most pictures of one shard and so of one file; the setting plays no part."
    )
    max_pictures: int | None = Field(
        None, ge=1, description="At most this many pictures, spread over the data set; all where left out."
    )

    @field_validator("validity")
    @classmethod
    def _known_validity(cls, text: str) -> str:
        if text not in ("valid", "all") and share_of(text) is None:
            raise ValueError(f"{text[:100]!r} is none of {', '.join(VALIDITIES)} with a share above 0 and at most 1")
        return text

    @property
    def share(self) -> float | None:
        """Of `top:<share>`; None for the other rules."""
        return share_of(self.validity)


def share_of(validity: str) -> float | None:
    """The share of `top:<share>`, in (0, 1]; None where it is none."""
    try:
        share = float(validity.removeprefix(TOP)) if validity.startswith(TOP) else 0.0
    except ValueError:
        return None
    return share if 0 < share <= 1 else None
