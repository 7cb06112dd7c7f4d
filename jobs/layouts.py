"""What the class folders of an archive mean: one table of layouts, one of which is told or recognised on import.

Every layout has one folder of pictures per class (`jobs/image_folder.py`); they differ in how a folder's name is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from jobs.errors import Invalid
from jobs.spurious_folder import SpuriousFolder, parse_folder

Layout = Literal["image_folder", "spurious_imagenet"]

LAYOUTS: dict[Layout, Callable[[str], SpuriousFolder | None] | None] = {
    "image_folder": None,
    "spurious_imagenet": parse_folder,
}
"""How each layout reads a folder's name; None where the name is the class's own."""


def lay_out(
    folders: Sequence[str], wanted: Layout | None, version: str | None
) -> tuple[Layout, list[SpuriousFolder] | None]:
    """The layout of class folders, and what their names say.

    Args:
        wanted: told by the user; None to recognise it: as Spurious ImageNet where every folder's name follows it and
            the set has a version.
        version: of the set, where it holds one.

    Raises:
        Invalid: a folder's name does not follow the layout that was told.
    """
    for layout, parse in LAYOUTS.items():
        if parse is None or (wanted is None and version is None) or wanted not in (None, layout):
            continue
        found = [parse(name) for name in folders]
        if None not in found:
            return layout, [folder for folder in found if folder is not None]
        if wanted == layout:
            raise Invalid(
                f"The name of folder {folders[found.index(None)][:100]!r} does not follow the layout {layout!r}.",
                field="layout",
                remedy="Leave the layout out to have each folder stand for a class of its name.",
            )
    return "image_folder", None
