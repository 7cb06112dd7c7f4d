"""Planted pictures as a zip archive in ImageFolder layout, to upload and audit like any data set."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from PIL import Image

from models.planted.rendering import render
from models.planted.scenes import CLASSES, Rates, draw_scene

JPEG_QUALITY = 95
EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The oldest time that zip knows; members bear it so that the archive's bytes depend on its pictures alone."""


def write_archive(
    path: Path,
    per_class: int,
    seed: int,
    rates: Rates | None = None,
    encoding: Literal["png", "jpeg"] = "png",
    progress: Callable[[], None] | None = None,
) -> None:
    """Write ``class/seed-index.png`` (or .jpg) for ``per_class`` pictures of every class.

    rates: how often cues are shown, ``Rates()`` where left out; progress: called after each picture. The file appears
    when it is complete. PNG keeps the exact pixels and gives the same bytes for the same arguments and Pillow.
    """
    if per_class < 1:
        raise ValueError(f"per_class must be at least 1, not {per_class}")
    suffix, options = ("png", {"compress_level": 6}) if encoding == "png" else ("jpg", {"quality": JPEG_QUALITY})
    partial = path.with_name(path.name + ".partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for position in range(per_class):
            for place, label in enumerate(CLASSES):
                index = position * len(CLASSES) + place
                picture = render(draw_scene(label, seed, index, rates or Rates()))
                stream = io.BytesIO()
                Image.fromarray(picture.image).save(stream, encoding.upper(), **options)
                archive.writestr(zipfile.ZipInfo(f"{label}/{seed}-{index:06d}.{suffix}", EARLIEST), stream.getvalue())
                if progress:
                    progress()
    partial.replace(path)
