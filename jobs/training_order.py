"""One training run as every process that takes part in it is told, and carrying it out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_file

from jobs.scratch import save_weights
from jobs.store import Store
from jobs.training_pictures import map_pictures
from models.runtime import resolve_device
from models.training.following import Follower
from models.training.loop import Trained, train
from models.training.pictures import LabelledPictures
from models.training.plan import Plan
from models.training.ranks import Ranks


class MappedPictures(BaseModel):
    """Prepared pictures on scratch disk: `pictures` as `write_pictures` leaves them, `labels` as NumPy saves them."""

    model_config = ConfigDict(frozen=True)

    pictures: Path
    labels: Path
    size: int


class Order(BaseModel):
    """Everything a process needs, by value or by path on this machine."""

    model_config = ConfigDict(frozen=True)

    plan: Plan
    classes: tuple[str, ...]
    training: MappedPictures
    held_out: MappedPictures
    evaluation_pictures: int
    checkpoint: str
    initial: Path | None
    weights: Path
    device: str


class StoredCheckpoint:
    """A checkpoint as a file of the store; one that cannot be written leaves the one before."""

    def __init__(self, store: Store, name: str) -> None:
        self.store = store
        self.name = name

    def read(self) -> bytes | None:
        """What was written last; None where nothing was."""
        return self.store.read_bytes(self.name) if self.store.exists(self.name) else None

    def write(self, content: bytes) -> None:
        """Replace it. Raises `StoreFull` where there is no room."""
        self.store.write_bytes(self.name, content)


def carry_out(order: Order, store: Store, follower: Follower) -> Trained:
    """Train, alone or as one of the processes that torch's launcher started; the first writes the weights."""
    device = resolve_device(order.device)
    held_out = _mapped(order.held_out, order.classes).spread(order.evaluation_pictures)
    trained = train(
        order.plan,
        _mapped(order.training, order.classes),
        StoredCheckpoint(store, order.checkpoint),
        device,
        held_out=held_out,
        follower=follower,
        initial=load_file(order.initial) if order.initial else None,
    )
    if Ranks.current().rank == 0:
        save_weights(trained.network.state_dict(), order.weights)
    return trained


def _mapped(pictures: MappedPictures, classes: tuple[str, ...]) -> LabelledPictures:
    return map_pictures(pictures.pictures, np.load(pictures.labels), pictures.size, classes)
