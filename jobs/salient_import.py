"""A bank of Salient ImageNet's labels, from the user's own copy of the released answers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
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
from models.bank_votes import BankVotes, KeptAnswer, pseudonym
from models.importance import Grouping
from models.label_fit import LabelFit, label_fit, require_fit
from models.published.rows import channel_rows
from models.published.salient_counts import Counts, count
from models.published.salient_imagenet import read_release
from models.vote_rows import Pair

CHECKPOINT = "robust-resnet50-l2-3"
"""In the catalogue of encoders: the network whose features were labelled."""


@dataclass(frozen=True)
class SalientImport:
    """The bank, and what was found of the labels on the way."""

    bank: Bank
    counts: Counts
    fit: LabelFit
    warnings: tuple[str, ...]


def import_salient(
    store: Store,
    settings: Settings,
    csv: Path,
    wanted: Wanted,
    progress: Progress,
    *,
    threshold: int = 3,
    grouping: Grouping = "predicted",
) -> SalientImport:
    """Read the labels, test them against the encoder's head, and add what the features do on the pictures.

    Args:
        csv: the user's copy of `discover_spurious_features.csv`.
        threshold: of five votes, how many make a feature spurious; 3 is the published rule.
        grouping: which pictures form a class's group; `predicted` is the published one.

    Raises:
        LabelsError: the file is damaged or not of its layout.
        BankError: the labels were given for another checkpoint.
        NotFound, Invalid: there is no such encoder or data set, or their classes do not meet.
        Conflict: there is a bank of this name.
    """
    task = LabelImport(store, settings, wanted)
    release = read_release(csv, len(task.spec.classes), task.channels)
    task.refuse_known_others(allowed=CHECKPOINT)
    weight = task.backbone.weight.cpu()
    fit = label_fit(weight.numpy(), [(pair.class_index, pair.feature_index) for pair in release.pairs])
    require_fit(fit)
    activations = _activations(task, release.pairs, grouping, progress)
    counts = count(release.pairs, threshold)
    names = task.spec.classes
    warnings = [*release.warnings]
    if absent := sorted({pair.class_index for pair in release.pairs} - activations.keys()):
        listed = some([names[index] for index in absent])
        warnings.append(f"{len(absent):,} labelled classes have no pictures here and no rows: {listed}")
    if fit.doubtful:
        listed = some([names[index] for index in fit.doubtful])
        warnings.append(f"the labels of {len(fit.doubtful):,} classes do not fit their weights: {listed}")
    manifest = Manifest(
        name=wanted.name,
        title=f"Salient ImageNet's labels, {task.spec.title or task.spec.name}",
        licence="labels: Salient ImageNet (University of Maryland), no commercial benefit, no passing on; "
        f"weights: {task.spec.licence}",
        labeller="annotators of Salient ImageNet (Singla & Feizi, 2022), five a feature",
        grouping=grouping,
        classes=names,
        backbone=task.spec.backbone,
        features=tuple(channel_rows(release.pairs, activations, weight, threshold)),
        card={
            "source": {
                "file": "discover_spurious_features.csv",
                "sha256": file_sha256(csv),
                "threshold": threshold,
                "counts": counts.as_card(),
            },
            "fit": {"position": round(fit.position, 4), "pairs": fit.pairs, "test": str(fit)},
            "statistics": {
                "dataset": task.dataset.id,
                "pictures": sum(map(len, activations.values())),
                "per_class": wanted.per_class,
            },
            "warnings": warnings,
        },
    )
    bank = task.publish(manifest, threshold=threshold, votes=_votes(release.pairs, activations.keys()))
    return SalientImport(bank, counts, fit, tuple(warnings))


def _votes(pairs: Sequence[Pair], classes: Collection[int]) -> BankVotes:
    """The answers on the pairs of some classes, as banks keep them, without what their annotators wrote."""
    return BankVotes(
        answers=tuple(
            KeptAnswer(
                class_index=pair.class_index,
                feature_index=pair.feature_index,
                annotator=pseudonym(answer.worker),
                kind=answer.place,
                confidence=answer.confidence,
            )
            for pair in pairs
            if pair.class_index in classes
            for answer in pair.answers
        )
    )


def _activations(task: LabelImport, pairs: Sequence[Pair], grouping: Grouping, progress: Progress) -> dict[int, Tensor]:
    """By class, float32 [N, K]: its labelled channels, by rank, on the pictures of its group."""
    channels: dict[int, list[int]] = {}
    for pair in pairs:
        channels.setdefault(pair.class_index, []).append(pair.feature_index)
    of_label = task.of_label({pair.wordnet_id: pair.class_index for pair in pairs})
    rows = task.rows(of_label, None if grouping == "predicted" else list(channels))
    found: dict[int, list[NDArray[np.float32]]] = {}
    for sample in task.look(rows, of_label, grouping, lambda done: progress(done, len(rows))):
        for index in np.unique(sample.group).tolist():
            if index in channels:
                found.setdefault(index, []).append(sample.phi[sample.group == index][:, channels[index]])
    if not found:
        raise Invalid(
            f"No picture of the data set is in the group of a labelled class (grouping {grouping!r}).",
            field="dataset",
            remedy="Give pictures of the labelled classes, or name the encoder's class of each folder.",
        )
    return {index: torch.from_numpy(np.concatenate(parts)) for index, parts in found.items()}
