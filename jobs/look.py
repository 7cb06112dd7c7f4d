"""The first pass of a discovery: every picture once through the encoder, and what is kept of it by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from jobs.datasets import Sample, Skipped
from jobs.phi_sample import PhiSample, join
from jobs.pictures import PictureError, decode
from models.backbone import Backbone
from models.geometry import prepare
from models.importance import Grouping, group_of

CLASS_NOT_IN_ENCODER = "class_not_in_encoder"
CLASS_NOT_CHOSEN = "class_not_chosen"
REASONS = {
    CLASS_NOT_IN_ENCODER: "the encoder has no class of this name, and the request maps it to none",
    CLASS_NOT_CHOSEN: "the request names the classes to look at, and this is not among them",
}

Inspect = Callable[[Sequence[NDArray[np.uint8]]], NDArray[np.int32]]
"""A classifier that is inspected: decoded pictures, uint8 [H, W, 3] each -> class of the encoder it predicts, or -1."""


@dataclass(frozen=True)
class Seen:
    """The pictures of a shard after one forward each.

    Attributes:
        sample: of every picture that is in a group.
        pictures: looked at, in a group or not.
        right: of them, those whose label the encoder predicts.
        labelled: of them, those of each label, by class of the encoder.
        skipped: samples left out, by reason.
    """

    sample: PhiSample
    pictures: int
    right: int
    labelled: Counter[int]
    skipped: Counter[str]


def look(
    samples: Iterable[Sample],
    backbone: Backbone,
    of_label: NDArray[np.int32],
    grouping: Grouping,
    batch_size: int,
    max_pixels: int,
    inspect: Inspect | None,
    progress: Callable[[int], None],
) -> Seen:
    """Run the pictures of one shard through the encoder.

    Args:
        samples: of the shard, rows ascending.
        backbone: the encoder, loaded.
        of_label: class of the encoder per label of the data set; -1 where there is none.
        grouping: which pictures form a class's group.
        batch_size: pictures per forward.
        max_pixels: largest picture decoded.
        inspect: the inspected classifier, if any.
        progress: called once a batch with the number of samples done; may raise to stop the shard.
    """
    skipped: Counter[str] = Counter()
    labelled: Counter[int] = Counter()
    parts: list[PhiSample] = []
    batch: list[tuple[int, int, NDArray[np.uint8]]] = []
    pictures = right = done = 0

    def run() -> None:
        nonlocal pictures, right
        rows, labels, pixels = zip(*batch, strict=True)
        features = backbone.forward(torch.stack([prepare(one, backbone.preprocessing) for one in pixels]))
        predicted = features.logits.argmax(dim=1).cpu()
        label = torch.tensor(labels)
        group = group_of(predicted, label, grouping)
        pictures += len(batch)
        labelled.update(labels)
        right += int((predicted == label).sum())
        inspected = np.full(len(batch), -1, np.int32) if inspect is None else inspect(pixels)
        whole = PhiSample(
            np.array(rows, dtype=np.int64),
            group.numpy().astype(np.int32),
            label.numpy().astype(np.int32),
            inspected,
            features.phi.cpu().numpy(),
        )
        parts.append(whole.take(whole.group >= 0))

    for done, sample in enumerate(samples, start=1):
        opened = _open(sample, of_label, max_pixels)
        if isinstance(opened, Skipped):
            skipped[opened.reason] += 1
        else:
            batch.append((sample.row, int(of_label[sample.label]), opened))
        if len(batch) == batch_size:
            run()
            batch.clear()
            progress(done)
    if batch:
        run()
    progress(done)
    return Seen(join(parts, backbone.weight.shape[1]), pictures, right, labelled, skipped)


def _open(sample: Sample, of_label: NDArray[np.int32], max_pixels: int) -> NDArray[np.uint8] | Skipped:
    if of_label[sample.label] < 0:
        return Skipped(CLASS_NOT_IN_ENCODER, REASONS[CLASS_NOT_IN_ENCODER])
    if isinstance(sample.content, Skipped):
        return sample.content
    try:
        return decode(sample.content, max_pixels)
    except PictureError as error:
        return Skipped(error.reason, error.message)
