"""A bank of Spurious ImageNet's components, from the user's own copy of the released list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jobs.errors import Invalid
from jobs.label_import import LabelImport, Progress, Wanted, some
from jobs.settings import Settings
from jobs.store import Store, file_sha256
from models.bank import Bank, Manifest
from models.published.rows import ComponentRows, component_rows, joined
from models.published.spurious_components import read_components

FEW_PICTURES = 700
"""The released components were found on 732 to 1,300 pictures a class; on fewer, their order may be another."""

UNTESTED = "nothing tells whether these components were judged for this encoder: whoever imports them answers for that"


@dataclass(frozen=True)
class ComponentImport:
    """The bank, and what a user of it should know."""

    bank: Bank
    warnings: tuple[str, ...]


def import_components(
    store: Store, settings: Settings, npy: Path, wanted: Wanted, progress: Progress
) -> ComponentImport:
    """Read the list, and find the components anew on the data set's pictures, by label as their authors did.

    Args:
        npy: the user's copy of `spurious_components.npy`.

    Raises:
        LabelsError: the file is damaged, hostile or not of its layout.
        BankError: the encoder is known to be another network than the labelled one.
        NotFound, Invalid: there is no such encoder or data set, or their classes do not meet.
        Conflict: there is a bank of this name.
    """
    task = LabelImport(store, settings, wanted)
    labelled = read_components(npy, len(task.spec.classes), task.channels)
    task.refuse_known_others(allowed=None)
    of_label = task.of_label({})
    rows = task.rows(of_label, list(labelled))
    classes = of_label[task.labels[rows]]
    done = 0
    parts: dict[int, ComponentRows] = {}
    few: list[str] = []
    for index, places in labelled.items():
        own = rows[classes == index]

        def shown(number: int, before: int = done) -> None:
            progress(before + number, len(rows))

        phi = _features(task, own, of_label, shown)
        done += len(own)
        if len(phi) < FEW_PICTURES:
            few.append(f"{task.spec.classes[index]} ({len(phi):,})")
        if len(phi):
            parts[index] = _rows(task, index, places, phi, sum(len(part.features) for part in parts.values()))
    if not any(part.features for part in parts.values()):
        raise Invalid(
            "The data set has too few pictures of every labelled class to find its components.",
            field="dataset",
            remedy="Give the training pictures of the labelled classes, or name the encoder's class of each folder.",
        )
    features, components = joined(list(parts.values()))
    warnings = [UNTESTED, *_warnings(task, parts, few)]
    manifest = Manifest(
        name=wanted.name,
        title=f"Spurious ImageNet's components, {task.spec.title or task.spec.name}",
        licence=f"labels: Spurious ImageNet (Neuhaus et al., 2023), MIT; weights: {task.spec.licence}",
        labeller="authors of Spurious ImageNet (Neuhaus, Augustin, Boreiko & Hein, 2023); votes are not released",
        grouping="label",
        classes=task.spec.classes,
        backbone=task.spec.backbone,
        components=len(features),
        features=features,
        card={
            "source": {
                "file": "spurious_components.npy",
                "sha256": file_sha256(npy),
                "classes": len(labelled),
                "components": sum(map(len, labelled.values())),
            },
            "statistics": {"dataset": task.dataset.id, "pictures": len(rows), "per_class": wanted.per_class},
            "warnings": warnings,
        },
    )
    return ComponentImport(task.publish(manifest, components=components), tuple(warnings))


def _features(
    task: LabelImport, rows: NDArray[np.intp], of_label: NDArray[np.int32], progress: Callable[[int], None]
) -> Tensor:
    """float32 [N, D] of some pictures; those that cannot be read are left out."""
    parts = [sample.phi[:, : task.channels] for sample in task.look(rows, of_label, "label", progress)]
    return torch.from_numpy(np.concatenate([np.empty((0, task.channels), np.float32), *parts]))


def _rows(task: LabelImport, index: int, places: Sequence[int], phi: Tensor, before: int) -> ComponentRows:
    weight, bias = task.backbone.weight[index], float(task.backbone.bias[index])
    return component_rows(index, places, phi, weight, bias, first=task.channels + before)


def _warnings(task: LabelImport, parts: dict[int, ComponentRows], few: Sequence[str]) -> list[str]:
    found = []
    if few:
        found.append(
            f"{len(few):,} classes have fewer than {FEW_PICTURES} pictures, so that the order of their components may "
            f"be another than the release's: {some(few)}"
        )
    missing = [f"{place} of {task.spec.classes[index]}" for index, part in parts.items() for place in part.missing]
    if missing:
        found.append(f"{len(missing):,} components do not exist on so few pictures: {some(missing)}")
    return found
