"""The feature bank: a backbone, its class names, and one labelled row per (class, feature).

On disk a bank is a directory: `manifest.json` (everything but tensors and pictures), `backbone.safetensors`, the
exemplar pictures if their licence allows passing them on, and `votes.json` where people labelled it. The manifest lists
the SHA-256 of every file and is itself hashed, so that one digest names the whole bank and the labels cannot be read
with other weights.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError, safe_open

from models.errors import BankError, UnknownClassError
from models.families import family_of
from models.preprocessing import Preprocessing

if TYPE_CHECKING:
    from models.backbone import Backbone

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
WEIGHTS = "backbone.safetensors"
COMPONENTS = "components.safetensors"
VERSIONS = ".versions"
"""Folder beside the banks that has their later versions."""


Label = Literal["core", "spurious"]
Kind = Literal["main_object", "background", "separate_object", "ambiguous"]


class Statistics(BaseModel):
    """Activation of one feature over the pictures of its class: units of phi; alpha in logit units of a component."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int = Field(ge=1, description="Pictures the statistics come from.")
    mean: float
    std: float = Field(ge=0, description="Population standard deviation.")
    valid_from: float = Field(description="Class quantile from which on a mask shows the labelled concept.")
    valid_to: float = Field(description="Largest activation seen.")
    quantile: float = Field(0.8, gt=0, lt=1, description="The quantile that `valid_from` is.")


class Votes(BaseModel):
    """How many annotators gave each answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    main_object: int = Field(0, ge=0)
    background: int = Field(0, ge=0)
    separate_object: int = Field(0, ge=0)


class Feature(BaseModel):
    """One labelled neural feature of one class."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    class_index: int = Field(ge=0)
    feature_index: int = Field(
        ge=0, description="Channel of the penultimate layer; D + k for row k of the bank's components."
    )
    component: int | None = Field(
        None, ge=0, description="Of a neural principal component: its place by eigenvalue, from 0. None for a channel."
    )
    rank: int = Field(ge=1, description="Rank by importance within the class, from 1.")
    importance: float = Field(description="IV(c, j) = mean of phi_j * W_cj over the class's group, in logit units.")
    label: Label
    kind: Kind
    votes: Votes
    statistics: Statistics

    @model_validator(mode="after")
    def _kind_fits_label(self) -> Feature:
        if (self.label == "core") != (self.kind == "main_object"):
            raise ValueError(f"kind {self.kind!r} does not go with label {self.label!r}")
        if self.component is None and min(self.statistics.mean, self.statistics.valid_from) < 0:
            raise ValueError("a channel is never negative, its statistics say so; only components are")
        return self


class Exemplar(BaseModel):
    """A picture on which a feature is strong; `picture` is a file of the bank, None where it may not be shipped."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    class_index: int = Field(ge=0)
    feature_index: int = Field(ge=0)
    sample: str = Field(description="Name of the picture in the data set it comes from.")
    activation: float
    picture: str | None = None


class BackboneEntry(BaseModel):
    """The network that the labels belong to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: str
    arguments: dict[str, Any] = {}
    preprocessing: Preprocessing
    maps: tuple[int, int, int] = Field(description="D, h, w of the penultimate maps.")


class Manifest(BaseModel):
    """The whole of `manifest.json` but its digest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    title: str
    licence: str
    labeller: str = Field(description="Who or what gave the labels.")
    grouping: Literal["predicted", "label", "both"] = Field(
        "predicted", description="Which pictures formed a class's group G(c) when importance was computed."
    )
    classes: tuple[str, ...] = Field(min_length=2)
    backbone: BackboneEntry
    components: int = Field(0, ge=0, description="Rows of `components.safetensors`.")
    features: tuple[Feature, ...] = Field(min_length=1)
    exemplars: tuple[Exemplar, ...] = ()
    card: dict[str, Any] = {}
    version: int | None = Field(
        None,
        ge=1,
        description="Of this name, from 1. Left out in banks that were never published; then it counts as 1.",
    )
    parent: str | None = Field(
        None, pattern=r"^sha256:[0-9a-f]{64}$", description="Digest of the version before, where there is one."
    )
    files: dict[str, str] = Field({}, description="SHA-256 of every other file of the bank, by relative path.")

    @model_validator(mode="after")
    def _rows_fit(self) -> Manifest:
        channels = self.backbone.maps[0]
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("class names are not distinct")
        rows = [(f.class_index, f.feature_index) for f in self.features]
        if len(set(rows)) != len(rows):
            raise ValueError("a (class, feature) pair is labelled twice")
        for class_index, feature_index in rows + [(e.class_index, e.feature_index) for e in self.exemplars]:
            if class_index >= len(self.classes) or feature_index >= channels + self.components:
                raise ValueError(
                    f"class {class_index}, feature {feature_index} lies outside "
                    f"{len(self.classes)} classes and {channels} features, {self.components} components"
                )
        for feature in self.features:
            if (feature.component is not None) != (feature.feature_index >= channels):
                raise ValueError(
                    f"feature {feature.feature_index} of class {feature.class_index}: channels lie below {channels} "
                    "and name no component, components lie from there on and do"
                )
        for path in self.files:
            if not re.fullmatch(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*", path) or ".." in path:
                raise ValueError(f"file name {path!r} is not a plain relative path")
        return self

    def digest(self) -> str:
        """`sha256:` and the hash of the canonical manifest, which covers every file through `files`."""
        # Fields of a later release, which this bank's file does not have, leave its digest as it was.
        canonical = json.dumps(self.model_dump(mode="json", exclude_unset=True), sort_keys=True, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


class Bank:
    """A bank opened from its directory and found whole.

    Attributes:
        path: its directory.
        manifest: everything it states.
        digest: `sha256:...`, names exactly this bank.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self.digest = manifest.digest()
        self._features: dict[int, tuple[Feature, ...]] = {}
        for feature in sorted(manifest.features, key=lambda f: (f.class_index, f.rank)):
            self._features[feature.class_index] = (*self._features.get(feature.class_index, ()), feature)
        self._class_indices = {name: index for index, name in enumerate(manifest.classes)}

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Bank:
        """Open a bank and check it: schema, digests of all files, and that the labels fit the weights.

        Raises:
            BankError: the bank is damaged, of another schema, or does not fit its weights; the message says which.
        """
        path = Path(path)
        manifest = read_manifest(path)
        for name, expected in manifest.files.items():
            file = path / name
            if not file.is_file():
                raise BankError(f"bank {_called(path)!r} is damaged: file {name!r} is missing", field="bank")
            if file_digest(file) != expected:
                raise BankError(
                    f"bank {_called(path)!r} is damaged: {name!r} does not have the digest its manifest states",
                    field="bank",
                    remedy="copy the bank again from where it was published",
                )
        _check_weights(path, manifest)
        return cls(path, manifest)

    @property
    def name(self) -> str:
        """The name it is addressed by."""
        return self.manifest.name

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; the position is the class index."""
        return self.manifest.classes

    @property
    def features_per_picture(self) -> int:
        """Channels and components together."""
        return self.manifest.backbone.maps[0] + self.manifest.components

    @property
    def card(self) -> dict[str, Any]:
        """What was measured of the bank and how it was made."""
        return self.manifest.card

    @cached_property
    def labelled_classes(self) -> tuple[int, ...]:
        """Indices of the classes that have labelled features, ascending."""
        return tuple(sorted(self._features))

    def class_index(self, name_or_index: str | int) -> int:
        """The index of a class given by name, or by index (also written as digits).

        Raises:
            UnknownClassError: the bank has no such class.
        """
        if isinstance(name_or_index, str) and name_or_index in self._class_indices:
            return self._class_indices[name_or_index]
        if str(name_or_index).isdecimal() and int(name_or_index) < len(self.classes):
            return int(name_or_index)
        raise UnknownClassError(
            f"bank {self.name!r} has no class {str(name_or_index)[:100]!r}",
            field="classes",
            remedy=f"use a name or an index from 0 to {len(self.classes) - 1}; the bank's class list has them all",
        )

    def features(self, class_index: int) -> tuple[Feature, ...]:
        """The labelled features of a class by rank; empty where it has none."""
        return self._features.get(class_index, ())

    def core(self, class_index: int) -> tuple[Feature, ...]:
        """The core features of a class by rank."""
        return tuple(f for f in self.features(class_index) if f.label == "core")

    def spurious(self, class_index: int) -> tuple[Feature, ...]:
        """The spurious features of a class by rank."""
        return tuple(f for f in self.features(class_index) if f.label == "spurious")

    def exemplars(self, class_index: int, feature_index: int) -> tuple[Exemplar, ...]:
        """Pictures on which the feature is strongest, strongest first."""
        found = [e for e in self.manifest.exemplars if (e.class_index, e.feature_index) == (class_index, feature_index)]
        return tuple(sorted(found, key=lambda e: -e.activation))

    def backbone(self, *, components: bool = True, **options: Any) -> Backbone:
        """Load the bank's network; `options` as in `Backbone.load` (device, precision, runtime, threads, ...).

        Its labelled components follow the channels as further features, unless `components` is False.
        """
        from models.backbone import Backbone  # here: whoever only reads labels need not wait for torch

        entry = self.manifest.backbone
        return Backbone.load(
            self.path / WEIGHTS,
            components=self.path / COMPONENTS if components and self.manifest.components else None,
            architecture=entry.architecture,
            arguments=entry.arguments,
            num_classes=len(self.classes),
            preprocessing=entry.preprocessing,
            **options,
        )


def read_manifest(path: Path) -> Manifest:
    """The manifest of the bank in this folder, checked for itself; the files it lists are not looked at.

    Raises:
        BankError: as `Bank.load`.
    """
    called = _called(path)
    try:
        content = json.loads((path / MANIFEST).read_text())
    except OSError as error:
        raise BankError(f"no bank at {called!r}: {MANIFEST} cannot be read", field="bank") from error
    except ValueError as error:
        raise BankError(f"bank {called!r} is damaged: {MANIFEST} is not JSON", field="bank") from error
    if not isinstance(content, dict) or "schema_version" not in content:
        raise BankError(f"{called!r} is not a feature bank: {MANIFEST} states no schema_version", field="bank")
    if content["schema_version"] != SCHEMA_VERSION:
        raise BankError(
            f"bank {called!r} has schema version {content['schema_version']!r}, this release reads {SCHEMA_VERSION}",
            field="bank",
            remedy="export it again with the release that reads it",
        )
    stated = content.pop("digest", None)
    try:
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        raise invalid_manifest(called, error) from error
    if stated != manifest.digest():
        raise BankError(
            f"bank {called!r} is damaged: its manifest does not have the digest it states",
            field="bank",
            remedy="labels are never edited in place; publish a new bank instead",
        )
    for name in (WEIGHTS, *([COMPONENTS] if manifest.components else [])):
        if name not in manifest.files:
            raise BankError(f"bank {called!r} lists no {name}", field="bank")
    return manifest


def invalid_manifest(called: str, error: ValidationError) -> BankError:
    """What is wrong with the manifest of the bank so called, in a sentence."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return BankError(f"bank {called!r} is damaged: {where or 'manifest'}: {first['msg']}", field="bank")


def _called(path: Path) -> str:
    """The bank in this folder, as a message names it: `<name>/` or `.versions/<name>/<version>/`."""
    return f"{path.parent.name}@{path.name}" if path.parent.parent.name == VERSIONS else path.name


def _check_weights(path: Path, manifest: Manifest) -> None:
    """The head must have a row per class and a column per feature, the components a row each."""
    channels = manifest.backbone.maps[0]
    expected = {(WEIGHTS, f"{_head(manifest)}.weight"): [len(manifest.classes), channels]}
    if manifest.components:
        expected[COMPONENTS, "directions"] = [manifest.components, channels]
    for (name, tensor), shape in expected.items():
        try:
            with safe_open(path / name, framework="np") as tensors:
                found = tensors.get_slice(tensor).get_shape()
        except (SafetensorError, OSError) as error:
            raise BankError(f"bank {manifest.name!r}: {name} does not hold {tensor}: {error}") from error
        if found != shape:
            raise BankError(
                f"bank {manifest.name!r} does not fit its weights: {tensor} is {found}, the labels need {shape}"
            )


def _head(manifest: Manifest) -> str:
    try:
        return family_of(manifest.backbone.architecture).head
    except KeyError as error:
        raise BankError(
            f"bank {manifest.name!r}: unknown architecture {manifest.backbone.architecture[:100]!r}", field="bank"
        ) from error


def file_digest(file: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
