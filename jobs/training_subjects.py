"""Brings together what a training request names: pictures, held-out pictures, their classes, and an encoder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from jobs.class_map import match_name
from jobs.datasets import DatasetRecord, get_dataset
from jobs.encoders import OF_BANK, WEIGHTS, encoder_spec
from jobs.errors import Invalid, NotFound
from jobs.settings import Settings
from jobs.store import Store
from jobs.subjects import find_bank
from jobs.training_pictures import draw_held_out
from jobs.training_request import TrainingRequest
from models.encoder import EncoderSpec
from models.errors import ArchitectureError, CheckpointError
from models.network import Network, maps_shape
from models.preprocessing import Preprocessing


@dataclass(frozen=True)
class Part:
    """Some rows of a data set, and the class each of its labels stands for."""

    dataset: str
    rows: NDArray[np.int64]
    of_label: NDArray[np.int64]


@dataclass(frozen=True)
class Subjects:
    """What a training works with.

    Attributes:
        request: with architecture, arguments and size of the encoder where it names one.
        classes: of the data set, which the head will have.
        training, held_out: the pictures.
        encoder: specification of the encoder, where one is named.
    """

    request: TrainingRequest
    classes: tuple[str, ...]
    training: Part
    held_out: Part
    encoder: EncoderSpec | None

    def preprocessing(self, mean: tuple[float, float, float], std: tuple[float, float, float]) -> Preprocessing:
        """Of the network to be made: the encoder's, else a plain resize with this normaliser."""
        if self.encoder is not None:
            return self.encoder.backbone.preprocessing
        return Preprocessing(size=self.request.size, mean=mean, std=std)


def gather(store: Store, settings: Settings, request: TrainingRequest) -> Subjects:
    """Find out what a request stands for, and whether it can be met.

    Raises:
        NotFound: There is no such data set or encoder.
        Invalid: Fewer than two classes, held-out classes that are not trained on, an encoder that cannot be used, no
            such network, or one without maps for pictures of this size.
    """
    dataset = get_dataset(store, request.dataset)
    classes = tuple(dataset.classes)
    if len(classes) < 2:
        raise Invalid(
            f"The data set has one class, {classes[0]!r}: there is nothing to tell apart.",
            field="dataset",
            remedy="Train on a data set of two classes or more.",
        )
    own = np.arange(len(classes))
    if isinstance(request.held_out, float):
        if dataset.pictures < 2:
            raise Invalid("The data set has a single picture: none can be held out.", field="dataset")
        rows, others = draw_held_out(dataset.pictures, request.held_out, request.seed)
        training, held_out = Part(dataset.id, rows, own), Part(dataset.id, others, own)
    else:
        measured = _held_out(store, request.held_out)
        of_label = np.array([match_name(classes, name) for name in measured.classes])
        if (of_label < 0).any():
            foreign = measured.classes[int(np.argmax(of_label < 0))]
            raise Invalid(
                f"The held-out data set has a class that is not trained on: {foreign[:100]!r}.", field="held_out"
            )
        training = Part(dataset.id, np.arange(dataset.pictures), own)
        held_out = Part(measured.id, np.arange(measured.pictures), of_label)
    if request.route == "adversarial" and len(training.rows) < request.batch_size:
        raise Invalid(
            f"There are {len(training.rows)} pictures to train on, fewer than one batch of {request.batch_size}.",
            field="batch_size",
            remedy="Choose smaller batches.",
        )
    spec = None
    if request.encoder is not None:
        spec = encoder_spec(store, request.encoder, settings)
        entry = spec.backbone
        if request.route == "adversarial" and (entry.preprocessing.scale, entry.preprocessing.colour) != (
            "unit",
            "RGB",
        ):
            raise Invalid(
                "Training begins with encoders of RGB pictures in [0, 1] only.",
                field="encoder",
                remedy="Fit a linear head on this one, or begin with another.",
            )
        update = {"architecture": entry.architecture, "arguments": entry.arguments, "size": entry.preprocessing.size}
        request = request.model_copy(update=update)
    found = Subjects(request, classes, training, held_out, spec)
    _try_network(found)
    return found


def _held_out(store: Store, dataset: str) -> DatasetRecord:
    try:
        return get_dataset(store, dataset)
    except NotFound as error:
        raise NotFound(error.message, field="held_out") from error


def _try_network(subjects: Subjects) -> None:
    """Whether there is such a network, and its maps are of use."""
    request = subjects.request
    network = Network(request.architecture, request.arguments)
    try:
        maps_shape(network, len(subjects.classes), subjects.preprocessing((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
    except ArchitectureError as error:
        raise Invalid(f"The network cannot be built: {error}.", field="architecture", remedy=error.remedy) from error
    except CheckpointError as error:
        raise Invalid(
            f"The network is of no use here: {error}.",
            field="size",
            remedy="Choose another size of pictures, or a network with other strides.",
        ) from error


def pinned(settings: Settings, encoder: str) -> str:
    """The encoder by id, or by its bank's digest."""
    if encoder.startswith(OF_BANK):
        return OF_BANK + find_bank(settings, encoder.removeprefix(OF_BANK)).digest
    return encoder


def encoder_state(store: Store, settings: Settings, encoder: str) -> dict[str, torch.Tensor]:
    """The weights of an encoder of the store or of a bank."""
    if encoder.startswith(OF_BANK):
        return load_file(find_bank(settings, encoder.removeprefix(OF_BANK)).path / WEIGHTS)
    with store.local_copy(f"encoders/{encoder}/{WEIGHTS}") as path:
        return load_file(path)
