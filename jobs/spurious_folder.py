"""The folder layout of Spurious ImageNet: a folder's name carries a class index and a component, not a class's name.

Source: Neuhaus, Augustin, Boreiko & Hein, Spurious Features Everywhere (ICCV 2023). The parts of a name are joined by
underscores; the third is the class's index among the 1,000 of ImageNet, the last the place, by eigenvalue from 0, of
the spurious component that its pictures show without the class's object. `timestamp.txt` beside the folders holds the
version of the set.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

CLASSES = 1000
VERSION_FILE = "timestamp.txt"
VERSION_BYTES = 64
"""Most bytes of a version; the released one has ten digits and a line break."""


class SpuriousFolder(BaseModel):
    """What the name of one folder says."""

    model_config = ConfigDict(frozen=True)

    class_index: int = Field(ge=0, lt=CLASSES, description="Index among the 1,000 classes of ImageNet.")
    component: int = Field(ge=0, description="Spurious component of the class, by eigenvalue from 0.")


def parse_folder(name: str) -> SpuriousFolder | None:
    """What a folder's name says; None where it does not follow the layout."""
    parts = name.split("_")
    if len(parts) < 4 or not all(re.fullmatch(r"[0-9]{1,4}", part) for part in (parts[2], parts[-1])):
        return None
    class_index = int(parts[2])
    return SpuriousFolder(class_index=class_index, component=int(parts[-1])) if class_index < CLASSES else None


def parse_version(content: bytes) -> str | None:
    """What `timestamp.txt` says; None where it is no short line of plain characters."""
    first = content.decode("ascii", "replace").strip()
    return first if re.fullmatch(r"[0-9A-Za-z.:+-]{1,40}", first) else None


def by_index(folders: Sequence[SpuriousFolder], names: Sequence[str], known: Sequence[str]) -> list[str]:
    """The folders' classes as a network calls them whose outputs are ImageNet's 1,000; their own `names` for others."""
    if len(known) != CLASSES:
        return list(names)
    return [known[folder.class_index] for folder in folders]
