"""Brings together what a discovery request names: encoder, data set, inspected classifier and their classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from jobs.class_map import match_name
from jobs.classifiers import get_classifier
from jobs.datasets import get_dataset
from jobs.discovery_request import DiscoveryRequest
from jobs.encoders import OF_BANK, encoder_spec, load_encoder
from jobs.errors import Invalid
from jobs.isolation import IsolatedClassifier
from jobs.look import Inspected
from jobs.settings import Settings
from jobs.store import Store
from jobs.subjects import find_bank
from models.backbone import Backbone
from models.bank import Bank
from models.encoder import EncoderSpec


@dataclass(frozen=True)
class Subjects:
    """What a discovery works with.

    Attributes:
        spec: the encoder's declaration.
        encoder_id: its id, or `bank:` and the bank's digest.
        backbone: its network, loaded.
        of_label: int32 [labels], class of the encoder per label of the data set; -1 where there is none.
        classes: classes of the encoder that are looked at, ascending: those asked for, else those of the labels.
        class_sizes: pictures that have the label of each class of the encoder, about, of those in the shards.
        dataset: its id.
        again: the bank whose rows are to be labelled again; None where candidates are looked for.
    """

    spec: EncoderSpec
    encoder_id: str
    backbone: Backbone
    of_label: NDArray[np.int32]
    classes: Sequence[int]
    class_sizes: Sequence[int]
    store: Store
    settings: Settings
    dataset: str
    again: Bank | None = None

    def channels_again(self) -> dict[int, list[int]] | None:
        """By class, the channels among the rows that are to be labelled again, by rank; None as for `again`."""
        if self.again is None:
            return None
        bank = self.again
        return {
            index: [row.feature_index for row in bank.features(index) if row.component is None]
            for index in self.classes
        }

    def ran_on(self) -> dict[str, str]:
        """Where the features were computed."""
        return {
            "device": str(self.backbone.device),
            "encoder": self.backbone.provider,
            "precision": self.backbone.precision,
        }


def check_subjects(store: Store, settings: Settings, request: DiscoveryRequest) -> str:
    """Find out whether the request can be met, before it is queued.

    Returns:
        The encoder it names, by id or by a bank's digest.

    Raises:
        NotFound: there is no such encoder, data set or classifier.
        Invalid: their classes do not meet, or a classifier is to be inspected in groups of predictions.
    """
    spec = encoder_spec(store, request.encoder, settings)
    labels = get_dataset(store, request.dataset).class_names(spec.classes)
    of_label = _of_label(spec.classes, labels, request)
    if request.again:
        _check_again(_again(settings, request), of_label, request)
    if request.classifier is not None:
        if request.grouping != "label":
            raise Invalid(
                f"A classifier's failures are told from the labels, and the groups here are {request.grouping!r}.",
                field="grouping",
                remedy="Ask for grouping 'label', or leave the classifier out.",
            )
        outputs = get_classifier(store, request.classifier).spec.classes
        if all(index < 0 for index in _match_all(spec.classes, outputs, request.class_map or {})):
            raise Invalid(
                "No output of the classifier is named as a class of the encoder.",
                field="class_map",
                remedy="Name the encoder's class for each of the classifier's in class_map.",
            )
    if request.encoder.startswith(OF_BANK):
        return OF_BANK + find_bank(settings, request.encoder.removeprefix(OF_BANK)).digest
    return request.encoder


def open_subjects(store: Store, settings: Settings, request: DiscoveryRequest) -> Subjects:
    """Load the encoder and map the classes."""
    spec = encoder_spec(store, request.encoder, settings)
    dataset = get_dataset(store, request.dataset)
    of_label = _of_label(spec.classes, dataset.class_names(spec.classes), request)
    share = min(1.0, (request.max_pictures or dataset.pictures) / dataset.pictures)
    sizes = [0] * len(spec.classes)
    for index, pictures in zip(of_label.tolist(), dataset.class_pictures, strict=True):
        if index >= 0:
            sizes[index] += round(share * pictures)
    again = _again(settings, request) if request.again else None
    return Subjects(
        spec=spec,
        encoder_id=request.encoder,
        backbone=load_encoder(store, request.encoder, settings),
        of_label=of_label,
        classes=_looked_at(spec.classes, of_label, again, request),
        class_sizes=sizes,
        store=store,
        settings=settings,
        dataset=dataset.id,
        again=again,
    )


@contextmanager
def inspecting(subjects: Subjects, request: DiscoveryRequest) -> Iterator[Inspected | None]:
    """The classifier whose failures are looked for, in a process of its own that ends with the block."""
    if request.classifier is None:
        yield None
        return
    store, settings = subjects.store, subjects.settings
    classifier = get_classifier(store, request.classifier)
    of_output = np.array(
        _match_all(subjects.spec.classes, classifier.spec.classes, request.class_map or {}), dtype=np.int32
    )
    with (
        store.local_copy(f"blobs/{classifier.blob}") as path,
        IsolatedClassifier(path, classifier.spec, settings, batch_size=request.batch_size) as isolated,
    ):

        def predict(pictures: Tensor) -> NDArray[np.int32]:
            predicted: NDArray[np.int32] = of_output[isolated.predict(pictures.float().numpy() / 255).argmax(axis=1)]
            return predicted

        yield Inspected(classifier.spec.preprocessing, predict)


def _again(settings: Settings, request: DiscoveryRequest) -> Bank:
    """The bank whose rows are asked for again. Raises `Invalid` where the encoder is no bank's."""
    if not request.encoder.startswith(OF_BANK):
        raise Invalid(
            "Only the rows of a bank can be labelled again.",
            field="encoder",
            remedy="Name the bank as bank:<name>, or leave `again` out.",
        )
    return find_bank(settings, request.encoder.removeprefix(OF_BANK))


def _check_again(bank: Bank, of_label: NDArray[np.int32], request: DiscoveryRequest) -> None:
    """Raises `Invalid` where the panels would not be those of the bank's rows."""
    if request.grouping != bank.manifest.grouping:
        raise Invalid(
            f"The bank was labelled in groups {bank.manifest.grouping!r}, not {request.grouping!r}.",
            field="grouping",
            remedy=f"Ask for grouping {bank.manifest.grouping!r}.",
        )
    for field, given in (("classifier", request.classifier is not None), ("components", request.components > 0)):
        if given:
            raise Invalid(f"{field} finds new candidates; here the bank's rows are asked for again.", field=field)
    if not _looked_at(bank.classes, of_label, bank, request):
        raise Invalid("The data set has no picture of the classes that the bank has rows of.", field="dataset")


def _looked_at(
    classes: Sequence[str], of_label: NDArray[np.int32], again: Bank | None, request: DiscoveryRequest
) -> list[int]:
    """The classes asked for, else those of the labels, ascending; of a bank to be labelled again those with rows."""
    labelled = {index for index in of_label.tolist() if index >= 0}
    wanted = labelled if request.classes is None else _chosen(classes, request.classes)
    return sorted(wanted if again is None else wanted & set(again.labelled_classes))


def _of_label(classes: Sequence[str], labels: Sequence[str], request: DiscoveryRequest) -> NDArray[np.int32]:
    """Class of the encoder per label of the data set; raises as `check_subjects`, also where none is asked for."""
    for target in (request.class_map or {}).values():
        if match_name(classes, target) < 0:
            raise _no_class(classes, target, "class_map")
    found = np.array(_match_all(classes, labels, request.class_map or {}), dtype=np.int32)
    if (found < 0).all():
        raise Invalid(
            f"None of the data set's {len(labels)} classes is one of the encoder's {len(classes)}; "
            f"the first is {labels[0][:100]!r}.",
            field="class_map",
            remedy="Name the encoder's class for each class of the data set in class_map, or train a head on these "
            "classes (a training of the route 'linear_head').",
        )
    if request.classes is not None and _chosen(classes, request.classes).isdisjoint(found.tolist()):
        raise Invalid("The data set has no picture of the classes asked for.", field="classes")
    return found


def _chosen(classes: Sequence[str], names: Sequence[str]) -> set[int]:
    """The classes of the encoder that are asked for."""
    found = _match_all(classes, names, {})
    if -1 in found:
        raise _no_class(classes, names[found.index(-1)], "classes")
    return set(found)


def _match_all(classes: Sequence[str], names: Sequence[str], named: Mapping[str, str]) -> list[int]:
    return [match_name(classes, named.get(name, name)) for name in names]


def _no_class(classes: Sequence[str], name: str, field: str) -> Invalid:
    return Invalid(
        f"The encoder has no class {name[:100]!r}.",
        field=field,
        remedy=f"It has {len(classes)} classes, from {classes[0]!r} to {classes[-1]!r}.",
    )
