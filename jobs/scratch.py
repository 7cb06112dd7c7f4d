"""Large things written to scratch files on their way: a full disk is `StoreFull`, whoever writes."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from jobs.errors import StoreFull

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def room_for(what: str) -> Iterator[None]:
    """Turn what a full disk raises into the error of this room.

    Raises:
        StoreFull: there is no room for `what`.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise _no_room(what, str(error.strerror)) from error


def save_weights(state: Mapping[str, Tensor], path: Path) -> None:
    """Write weights as safetensors; they may lie on any device.

    Raises:
        StoreFull: there is no room for them.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    try:
        save_file(tensors, path)
    except SafetensorError as error:  # an error of the disk, which it only puts into words
        raise _no_room("the weights", str(error)) from error


def _no_room(what: str, reason: str) -> StoreFull:
    return StoreFull(f"No room on the scratch disk for {what}: {reason}.", remedy="Free some space, then try again.")
