"""The catalogue of encoders that others publish: where each is, under which terms, and what it needs to be used."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jobs.encoder_declaration import DeclaredBackbone, EncoderDeclaration
from jobs.errors import Invalid, NotFound
from jobs.settings import Settings
from models.preprocessing import Preprocessing

BUILT_IN = Path(__file__).with_name("catalogue.toml")


class CatalogueEntry(BaseModel):
    """One encoder of the catalogue: a table of the TOML file, its name the table's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    title: str
    urls: tuple[str, ...] = Field(min_length=1, description="Addresses of the same file, the best first.")
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$", description="Of the file, where its host states it.")
    licence: str = Field(description="Terms of the weights, to be accepted.")
    about: str | None = Field(None, description="Page that publishes it.")
    architecture: str | None = Field(None, description="Told by the weights where left out.")
    arguments: dict[str, Any] = {}
    preprocessing: Preprocessing
    classes: Literal["imagenet-1k"] | tuple[str, ...] = Field(description="Names of the outputs, or where they are.")
    notes: str = ""

    def class_names(self) -> tuple[str, ...]:
        """The names of the head's outputs, by index."""
        return imagenet_classes() if isinstance(self.classes, str) else self.classes

    def declaration(self) -> EncoderDeclaration:
        """What the encoder is imported with."""
        return EncoderDeclaration(
            name=self.name,
            title=self.title,
            licence=self.licence,
            classes=self.class_names(),
            backbone=DeclaredBackbone(
                architecture=self.architecture, arguments=self.arguments, preprocessing=self.preprocessing
            ),
            card={"published": self.about, "notes": self.notes},
        )


def read_catalogue(settings: Settings) -> dict[str, CatalogueEntry]:
    """All entries by name: the built-in ones and those of `CUECHECK_CATALOGUE`, which win over ones of the same name.

    Raises:
        Invalid: a file cannot be read, or an entry is faulty.
    """
    further = () if settings.catalogue is None else (settings.catalogue,)
    return {name: entry for file in (BUILT_IN, *further) for name, entry in _read(file).items()}


def find_entry(settings: Settings, name: str) -> CatalogueEntry:
    """The entry of this name.

    Raises:
        NotFound: there is none. Invalid: as `read_catalogue`.
    """
    catalogue = read_catalogue(settings)
    if name not in catalogue:
        raise NotFound(
            f"The catalogue has no encoder {name[:80]!r}.",
            field="name",
            remedy=f"It has {', '.join(sorted(catalogue))}; CUECHECK_CATALOGUE may name a file with more.",
        )
    return catalogue[name]


@cache
def imagenet_classes() -> tuple[str, ...]:
    """The thousand class names of ImageNet-1k in the order of its heads, as torchvision has them: all different."""
    import models.torchvision_ops  # noqa: F401  isort: skip  (before torchvision, see there)
    from torchvision.models import ResNet50_Weights

    return tuple(ResNet50_Weights.IMAGENET1K_V2.meta["categories"])


def _read(file: Path) -> dict[str, CatalogueEntry]:
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Invalid(f"The catalogue {file} cannot be read: {error}", field="catalogue") from error
    entries: dict[str, CatalogueEntry] = {}
    for name, table in tables.items():
        try:
            entries[name] = CatalogueEntry.model_validate({**table, "name": name})
        except (ValidationError, TypeError) as error:
            raise Invalid(f"The catalogue {file} has a faulty entry {name!r}: {error}", field="catalogue") from error
    return entries
