"""The pictures of a data set, decoded once into one file on scratch disk and mapped from there.

A network is trained on them for many epochs; a million of them are not held in memory, nor decoded again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from jobs.datasets import get_pictures
from jobs.errors import Invalid
from jobs.pictures import PictureError, decode
from jobs.scratch import room_for
from jobs.store import Store
from models.geometry import prepare
from models.preprocessing import Preprocessing
from models.training.pictures import LabelledPictures

TOLD_EVERY = 64
"""Pictures between two looks whether the job is still wanted."""


@dataclass(frozen=True)
class PictureFile:
    """Prepared pictures in a file.

    Attributes:
        path: uint8 [N, 3, size, size], nothing else.
        labels: int64 [N].
        size: side of the pictures.
        skipped: samples that are no pictures.
        mean, std: per channel, of values in [0, 1].
    """

    path: Path
    labels: NDArray[np.int64]
    size: int
    skipped: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def draw_held_out(rows: int, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to train on and rows held out, each ascending; at least one of either."""
    held_out = max(1, min(rows - 1, round(rows * share)))
    order = np.random.default_rng(seed).permutation(rows)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def write_pictures(
    store: Store,
    dataset: str,
    rows: Sequence[int],
    of_label: NDArray[np.int64],
    preprocessing: Preprocessing,
    path: Path,
    max_pixels: int,
    still_wanted: Callable[[], None],
) -> PictureFile:
    """Decode and prepare the pictures of some rows, which must ascend.

    Args:
        of_label: class to train on per label of the data set.
        path: where to write them.
        max_pixels: of one picture.
        still_wanted: called now and then; what it raises ends the work.

    Raises:
        Invalid: None of the samples is a picture.
        StoreFull: No room.
    """
    labels: list[int] = []
    sums, squares = np.zeros(3), np.zeros(3)
    skipped = 0
    with room_for("the decoded pictures"), path.open("wb") as file:
        for number, sample in enumerate(get_pictures(store, dataset).read(rows)):
            if number % TOLD_EVERY == 0:
                still_wanted()
            try:
                picture = decode(sample.content, max_pixels) if isinstance(sample.content, bytes) else None
            except PictureError:
                picture = None
            if picture is None:
                skipped += 1
                continue
            pixels = prepare(picture, preprocessing).numpy()
            file.write(pixels.tobytes())
            values = pixels.reshape(3, -1) / 255
            sums += values.mean(axis=1)
            squares += (values**2).mean(axis=1)
            labels.append(int(of_label[sample.label]))
    if not labels:
        raise Invalid("None of the samples is a picture.", field="dataset")
    mean = sums / len(labels)
    std = np.sqrt(np.maximum(squares / len(labels) - mean**2, 1e-8))
    return PictureFile(path, np.array(labels, np.int64), preprocessing.size, skipped, _triple(mean), _triple(std))


def map_pictures(path: Path, labels: NDArray[np.int64], size: int, classes: tuple[str, ...]) -> LabelledPictures:
    """The pictures of such a file, read from disk as they are used."""
    # Copy-on-write: torch warns of arrays that cannot be written. Nothing writes.
    mapped = np.memmap(path, np.uint8, mode="c", shape=(len(labels), 3, size, size))
    return LabelledPictures(torch.from_numpy(mapped), torch.from_numpy(labels), classes)


def _triple(values: NDArray[np.float64]) -> tuple[float, float, float]:
    red, green, blue = (round(float(value), 4) for value in values)
    return red, green, blue
