"""Memory in which a batch of pictures goes to another process and its scores come back."""

from __future__ import annotations

import fcntl
import mmap
import os
from io import FileIO

import numpy as np

from models.classifiers.linear_head import MOST_FEATURES

MOST_PICTURES = 256
"""Room for pictures; their pages take memory only once they are written."""


def create(side: int, classes: int) -> FileIO:
    """Anonymous memory for one batch, as a file.

    Its size is sealed: the process at the other end cannot shrink it, which would kill this one at the next access.
    """
    return sealed("cuecheck-batch", MOST_PICTURES * (3 * side * side + classes) * np.dtype(np.float32).itemsize)


def create_features(classes: int) -> FileIO:
    """The same for features, as wide as they may be: the width is known only once the classifier is open.

    Pages that nobody touches take no memory.
    """
    values = (MOST_PICTURES + classes) * MOST_FEATURES + classes
    return sealed("cuecheck-features", values * np.dtype(np.float32).itemsize)


def sealed(name: str, size: int) -> FileIO:
    """Anonymous memory of `size` bytes that nobody can shrink or grow."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return FileIO(descriptor, "r+")


class SharedBatch:
    """One side's view of the memory.

    Attributes:
        pictures: float32 [256, 3, s, s].
        scores: float32 [256, C].
    """

    def __init__(self, descriptor: int, side: int, classes: int) -> None:
        """Map the file that `create` made with the same side and classes; it may be closed afterwards."""
        memory = mmap.mmap(descriptor, 0)
        pixels = MOST_PICTURES * 3 * side * side
        self.pictures = np.frombuffer(memory, np.float32, pixels).reshape(MOST_PICTURES, 3, side, side)
        self.scores = np.frombuffer(memory, np.float32, MOST_PICTURES * classes, self.pictures.nbytes).reshape(
            MOST_PICTURES, classes
        )


class SharedFeatures:
    """One side's view of a second piece of memory, for classifiers that are to show their features.

    Attributes:
        features: float32 [256, D].
        weight: float32 [C, D], of the classifier's last linear layer.
        bias: float32 [C], of that.
    """

    def __init__(self, descriptor: int, width: int, classes: int) -> None:
        """Map the beginning of the file that `create_features` made for as many classes; `width` is D."""
        sizes = MOST_PICTURES * width, classes * width, classes
        memory = mmap.mmap(descriptor, sum(sizes) * np.dtype(np.float32).itemsize)
        values = np.frombuffer(memory, np.float32)
        features, weight, self.bias = np.split(values, np.cumsum(sizes)[:2])
        self.features = features.reshape(MOST_PICTURES, width)
        self.weight = weight.reshape(classes, width)
