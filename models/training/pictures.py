"""Labelled pictures as training uses them, in memory or mapped from a file."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image

SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class LabelledPictures:
    """Square pictures of one size with their classes.

    images: uint8 [N, 3, S, S], RGB; labels: int64 [N], indices into ``classes``; names: the N names in the source,
    or none where nobody asks for them.
    """

    images: torch.Tensor
    labels: torch.Tensor
    classes: tuple[str, ...]
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, rows: Sequence[int] | torch.Tensor) -> LabelledPictures:
        """The pictures at these rows, in this order."""
        index = torch.as_tensor(rows, dtype=torch.int64)
        names = tuple(self.names[row] for row in index.tolist()) if self.names else ()
        return LabelledPictures(self.images[index], self.labels[index], self.classes, names)

    def spread(self, count: int) -> LabelledPictures:
        """At most ``count`` pictures, evenly spread over the source, so that every class is met alike."""
        if count >= len(self):
            return self
        return self.subset(torch.linspace(0, len(self) - 1, count).round().to(torch.int64))


def read_archive(path: Path) -> LabelledPictures:
    """Read a zip in ImageFolder layout (``class/picture.jpg``), classes in alphabetical order, names sorted.

    All pictures must have one square size; raises ValueError naming the first that has not, or if there are none.
    """
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.lower().endswith(SUFFIXES))
        if not names:
            raise ValueError(f"{path} holds no picture in folders named by class")
        classes = tuple(sorted({PurePosixPath(name).parent.name for name in names}))
        index = {name: position for position, name in enumerate(classes)}
        images: np.ndarray | None = None
        for row, name in enumerate(names):
            with Image.open(io.BytesIO(archive.read(name))) as picture:
                pixels = np.asarray(picture.convert("RGB"))
            if images is None:
                images = np.empty((len(names), 3, pixels.shape[0], pixels.shape[0]), dtype=np.uint8)
            if pixels.shape[:2] != images.shape[2:]:
                raise ValueError(f"{path}: {name} is {pixels.shape[1]} x {pixels.shape[0]}, not {images.shape[2:]}")
            images[row] = pixels.transpose(2, 0, 1)
    labels = torch.tensor([index[PurePosixPath(name).parent.name] for name in names])
    return LabelledPictures(torch.from_numpy(images), labels, classes, tuple(names))
