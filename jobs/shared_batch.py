"""Memory in which a batch of pictures goes to another process and its scores come back."""

from __future__ import annotations

import fcntl
import mmap
import os
from io import FileIO

import numpy as np

MOST_PICTURES = 256
"""Room for pictures; their pages take memory only once they are written."""


def create(side: int, classes: int) -> FileIO:
    """Anonymous memory for one batch, as a file.

    Its size is sealed: the process at the other end cannot shrink it, which would kill this one at the next access.
    """
    descriptor = os.memfd_create("cuecheck-batch", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, MOST_PICTURES * (3 * side * side + classes) * np.dtype(np.float32).itemsize)
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
