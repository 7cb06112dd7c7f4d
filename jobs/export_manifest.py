"""`manifest.json` of an export: what was written, from what, and what was left out."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from jobs.export_request import Format, LabelName
from models.preprocessing import Preprocessing

MANIFEST = "manifest.json"
RANKINGS = "rankings.json"
SPURIOSITY = "spuriosity.parquet"


class ExportedClass(BaseModel):
    """A class of the bank with features that get masks."""

    model_config = ConfigDict(frozen=True)

    index: int
    name: str
    features: list[int] = Field(description="Those that get masks, by rank.")
    bounds: list[float] | None = Field(
        None, description="Smallest activation that each is shown at, where the rule is a top share."
    )
    pictures: int = Field(description="Pictures of the class that were looked at.")
    masks: int = Field(description="Masks written, unions among them.")


class ExportedShard(BaseModel):
    """The files of one shard."""

    model_config = ConfigDict(frozen=True)

    samples: str = Field(description="Parquet: a row per sample, with its activations or why it was left out.")
    rows: str = Field(description="Parquet: a row per mask.")
    masks: str | None = Field(description="The file that holds the masks; none where there are none.")
    count: int = Field(description="Masks in it.")


class ExportManifest(BaseModel):
    """The whole of `manifest.json`. Paths are relative to its folder."""

    model_config = ConfigDict(frozen=True)

    schema_version: Literal[1] = 1
    id: str = Field(description="Of the job.")
    code_version: str
    bank: str = Field(description="Digest of the bank, `sha256:...`.")
    bank_name: str
    dataset: str = Field(description="Digest of the data set: SHA-256 of the archive as it was uploaded.")
    parameters: dict[str, Any] = Field(description="The request.")
    format: Format
    size: Literal["input", "original"]
    threshold: float | None = Field(description="Where masks are cut; none where they are soft.")
    preprocessing: Preprocessing = Field(description="How a picture becomes the backbone's input.")
    ran_on: list[dict[str, str]] = Field(description="Devices and providers that really ran.")
    pictures: int = Field(description="Samples that were looked at.")
    masked: int = Field(description="Of them, those with at least one mask.")
    masks: int = Field(description="Masks written.")
    labels: dict[LabelName, int] = Field(description="Masks written by label.")
    skipped: dict[str, int] = Field(description="Samples that may get no masks, by reason.")
    classes: list[ExportedClass]
    shards: list[ExportedShard]
