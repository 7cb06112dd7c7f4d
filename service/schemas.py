"""What goes over the wire for masks, banks and keys. The field descriptions are the reference: OpenAPI shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, Field

from models.bank import Kind, Label, Votes
from models.bank_card import Provenance
from service.keys import Scope
from service.problems import ProblemDetails

Encoding = Literal["png", "npz", "rle"]
MapKind = Literal["masks", "contributions"]
Size = Literal["input", "original"]


Item = TypeVar("Item")


class Artefact(BaseModel):
    """A file that a job left."""

    name: str = Field(examples=["report.json"])
    bytes: int
    media_type: str = Field(examples=["application/json"])
    href: str = Field(description="Where it is downloaded.", examples=["/v1/audits/3f2a.../artefacts/report.json"])


class Page(BaseModel, Generic[Item]):
    """Part of a list."""

    items: list[Item]
    next: str | None = Field(None, description="Send it as `cursor` to get the next page; absent on the last.")


class ClassName(BaseModel):
    """A class of a bank."""

    index: int = Field(examples=[3])
    name: str = Field(examples=["beetle"])


class Map(BaseModel):
    """One soft mask (values in [0, 1]) or one contribution map (signed, in logit units) over the pixels asked for.

    `png` and `npz` come in `data` (base64) in a JSON answer and under the name `file` in a zip. The values of a PNG are
    (level - zero) * scale.
    """

    encoding: Encoding
    height: int
    width: int
    data: str | None = Field(None, description="Base64 of the PNG, in a JSON answer.")
    file: str | None = Field(None, description="Name of the PNG in a zip answer.")
    array: str | None = Field(None, description="npz: name of the array in the npz of this class.")
    counts: str | None = Field(
        None, description="rle: COCO run lengths (compressed, column-major) of value >= threshold."
    )
    threshold: float | None = Field(None, description="rle: where the mask was cut.")
    scale: float | None = Field(None, description="png: value of one grey level.", examples=[1 / 255])
    zero: int | None = Field(None, description="png: the grey level that stands for 0.", examples=[0])


class Archive(BaseModel):
    """The npz file of one class: float16 masks, float32 contribution maps, by name."""

    data: str | None = Field(None, description="Base64 of the npz file, in a JSON answer.")
    file: str | None = Field(None, description="Name of the npz file in a zip answer.")


class FeatureAnswer(BaseModel):
    """One labelled feature of a class, on this picture."""

    feature: int = Field(description="Index of the neural feature.", examples=[17])
    rank: int = Field(description="Rank by importance within the class, from 1.")
    label: Label
    kind: Kind
    votes: Votes
    importance: float = Field(description="Mean share of the class's logit over its pictures, logit units.")
    activation: float = Field(description="phi_j of this picture, >= 0.")
    contribution: float = Field(description="Share of this picture's logit: W_cj * phi_j, logit units.")
    valid: bool = Field(
        description="Whether the activation reaches the range in which people found the mask to show the concept."
    )
    valid_from: float = Field(description="Start of that range.")
    mask: Map | None = Field(None, description="The feature's own mask, if `features` asked for it.")


class Parts(BaseModel):
    """An exact split of a logit; with the bias the parts sum to it."""

    core: float
    spurious: float
    unlabelled: float


class Masks(BaseModel):
    """Pixelwise maximum over the class's core (spurious) features; absent where the class has none."""

    core: Map | None = None
    spurious: Map | None = None


class ContributionMaps(BaseModel):
    """The parts of the logit over the pixels: each map sums to its part."""

    core: Map
    spurious: Map
    unlabelled: Map


class ClassAnswer(BaseModel):
    """What one class's logit rests on, on this picture."""

    index: int = Field(description="Class index in the bank.", examples=[3])
    name: str = Field(examples=["beetle"])
    logit: float
    probability: float = Field(ge=0, le=1)
    bias: float
    contributions: Parts
    labelled: bool = Field(description="Whether the class has labelled features; without them there are no masks.")
    features: list[FeatureAnswer] = Field(description="The labelled features, by rank.")
    masks: Masks | None = None
    contribution_maps: ContributionMaps | None = None
    npz: Archive | None = None


class Rectangle(BaseModel):
    """Part of a picture, in its own pixels; edges, not centres."""

    top: float
    left: float
    bottom: float
    right: float


class Prediction(ClassName):
    """The class with the largest logit."""

    probability: float = Field(ge=0, le=1)


class PictureAnswer(BaseModel):
    """One picture of the request: either what was found, or the `problem` it failed with, alone."""

    picture: int = Field(description="Position in the request, from 0.")
    name: str | None = Field(None, description="File name it came under.", examples=["beetle.jpg"])
    width: int | None = Field(None, description="Width of the upright picture, pixels.")
    height: int | None = Field(None, description="Height of the upright picture, pixels.")
    notes: list[str] | None = Field(
        None, description="What was decided in decoding, e.g. that only a first frame is used."
    )
    seen: Rectangle | None = Field(None, description="The part the model saw (its centre crop); masks are 0 outside.")
    prediction: Prediction | None = None
    classes: list[ClassAnswer] | None = Field(None, description="The classes asked for, in that order.")
    problem: ProblemDetails | None = None


class BankReference(BaseModel):
    """Which labels and weights gave an answer."""

    name: str = Field(examples=["planted"])
    digest: str = Field(description="Names exactly this bank.", examples=["sha256:1f0a..."])


class MasksAnswer(BaseModel):
    """The answer of `POST /v1/masks`; in a zip it is `manifest.json`."""

    bank: BankReference
    size: Size
    pictures: list[PictureAnswer] = Field(description="In the order of the request.")


class BankSummary(BaseModel):
    """A feature bank in a list."""

    name: str = Field(examples=["planted"])
    version: int | None = Field(None, description="Of this name, from 1; the latest one answers to the name alone.")
    digest: str | None = Field(None, description="Absent where the bank is damaged.")
    title: str | None = None
    licence: str | None = None
    classes: int | None = Field(None, description="Number of classes.")
    labelled_classes: int | None = Field(None, description="Classes that have labelled features.")
    features: int | None = Field(None, description="Labelled (class, feature) pairs.")
    grouping: Literal["predicted", "label", "both"] | None = Field(
        None, description="Which pictures formed a class's group when it was labelled."
    )
    problem: str | None = Field(None, description="Why the bank cannot be used, if it cannot.")


class BankList(BaseModel):
    """All banks of the service."""

    default: str = Field(description="The bank used when a request names none.")
    banks: list[BankSummary]


class BankDetails(BankSummary):
    """One feature bank."""

    labeller: str = Field(description="Who or what gave the labels.")
    parent: str | None = Field(None, description="Digest of the version before, where there is one.")
    provenance: Provenance = Field(description="Where the labels come from, as far as the card says it.")
    architecture: str
    input_size: int = Field(description="Side of the square network input, pixels.")
    maps: tuple[int, int, int] = Field(description="Features, height and width of the penultimate maps.")
    card: dict[str, Any] = Field(description="How it was made and what was measured of it.")


class BankVersion(BaseModel):
    """One version of a bank."""

    version: int
    digest: str | None = Field(None, description="Absent where this version is damaged.")
    parent: str | None = Field(None, description="Digest of the version before, where there is one.")
    title: str | None = None
    published: str | None = Field(None, description="When, UTC; unknown of banks that were never published.")
    problem: str | None = Field(None, description="Why it cannot be used, if it cannot.")


class BankVersions(BaseModel):
    """All versions of a bank, the latest first."""

    name: str
    versions: list[BankVersion]


class BankClass(ClassName):
    """A class and how many labelled features it has."""

    core: int
    spurious: int


class ExemplarReference(BaseModel):
    """A picture on which a feature is strong."""

    sample: str = Field(description="Its name in the data set it comes from.")
    activation: float
    picture: str | None = Field(None, description="Path of the picture on this service, where it may be passed on.")


class BankFeature(BaseModel):
    """One labelled feature of a class."""

    feature: int
    rank: int
    label: Label
    kind: Kind
    votes: Votes
    importance: float
    images: int = Field(description="Pictures the statistics come from.")
    mean: float = Field(description="Mean activation over the class.")
    std: float
    valid_from: float
    valid_to: float
    exemplars: list[ExemplarReference]


class BankFeatures(BaseModel):
    """The labelled features of a class, by rank."""

    bank: BankReference
    index: int = Field(description="Class index.")
    name: str = Field(description="Class name.")
    features: list[BankFeature]


class KeyRequest(BaseModel):
    """A key to be made."""

    name: str = Field(min_length=1, max_length=100, description="Who or what will use it.", examples=["nightly audit"])
    scopes: list[Scope] = Field(min_length=1, examples=[["infer", "audit"]])


class Key(BaseModel):
    """A key as it may be shown."""

    id: str
    name: str
    scopes: list[Scope]
    created: datetime


class NewKey(Key):
    """A key just made, with its token, which is not kept and cannot be shown again."""

    token: str


class KeyList(BaseModel):
    """All keys that have not been revoked."""

    keys: list[Key]
