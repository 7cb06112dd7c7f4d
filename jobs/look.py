"""The first pass of a discovery: every picture once through the encoder, and what is kept of it by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jobs.datasets import Sample, Skipped
from jobs.phi_sample import PhiSample, join
from jobs.pictures import PictureError, decode
from models.backbone import Backbone
from models.errors import FeaturesError
from models.geometry import prepare
from models.importance import Grouping, group_of
from models.preprocessing import Preprocessing

CLASS_NOT_IN_ENCODER = "class_not_in_encoder"
"""Reason: the encoder has no class of this name, and the request maps it to none."""

CLASS_NOT_CHOSEN = "class_not_chosen"
"""Reason: the request names the classes to look at, and this is not among them."""


@dataclass(frozen=True)
class Inspected:
    """A classifier whose failures are looked for.

    Attributes:
        preprocessing: how a picture becomes its input.
        predict: prepared pictures, uint8 [N, 3, s, s] -> class of the encoder it predicts, int32 [N]; -1 for none.
    """

    preprocessing: Preprocessing
    predict: Callable[[Tensor], NDArray[np.int32]]


@dataclass(frozen=True)
class Seen:
    """The pictures of a shard after one forward each.

    Attributes:
        sample: of every picture that is in a group of a class that is looked at.
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
    inspected: Inspected | None,
    progress: Callable[[int], None],
    classes: Collection[int] | None = None,
) -> Seen:
    """Run the pictures of one shard through the encoder.

    Args:
        samples: of the shard, rows ascending.
        backbone: the encoder, loaded.
        of_label: class of the encoder per label of the data set; -1 where there is none.
        grouping: which pictures form a class's group.
        batch_size: pictures per forward.
        max_pixels: largest picture decoded.
        inspected: the inspected classifier, if any.
        progress: called about once a batch with the number of samples done; may raise to stop the shard.
        classes: classes of the encoder that are looked at; all where left out. Other groups are not kept, and
            pictures with other labels not looked at, unless predictions form the groups: these may be of any label.

    Raises:
        FeaturesError: the encoder gives values that are no numbers.
    """
    skipped: Counter[str] = Counter()
    labelled: Counter[int] = Counter()
    parts: list[PhiSample] = []
    batch: list[_Opened] = []
    right = done = 0

    def run() -> None:
        nonlocal right
        features = backbone.forward(torch.stack([one.pixels for one in batch]))
        rows, labels = [one.row for one in batch], [one.class_index for one in batch]
        if not bool(features.logits.isfinite().all()):
            raise FeaturesError(
                f"the encoder gives values that are not finite for pictures of rows {rows[0]} to {rows[-1]}",
                field="encoder",
                remedy="check the encoder's weights: they are damaged or overflow",
            )
        predicted, label = features.logits.argmax(dim=1).cpu(), torch.tensor(labels)
        labelled.update(labels)
        right += int((predicted == label).sum())
        group = group_of(predicted, label, grouping).numpy().astype(np.int32)
        kept = group >= 0 if classes is None else np.isin(group, list(classes))
        whole = PhiSample(
            np.array(rows, dtype=np.int64),
            group,
            np.array(labels, dtype=np.int32),
            _inspect(batch, inspected),
            features.phi.cpu().numpy(),
        )
        parts.append(whole.take(kept))
        batch.clear()

    for done, sample in enumerate(samples, start=1):
        index = int(of_label[sample.label])
        opened = _left_out(index, grouping, classes) or _open(sample, index, backbone, inspected, max_pixels)
        if isinstance(opened, str):
            skipped[opened] += 1
        else:
            batch.append(opened)
        if len(batch) == batch_size:
            run()
        if done % batch_size == 0:
            progress(done - len(batch))
    if batch:
        run()
    progress(done)
    return Seen(join(parts, backbone.weight.shape[1]), labelled.total(), right, labelled, skipped)


@dataclass(frozen=True)
class _Opened:
    """A picture of the next forward, kept as the networks see it: a batch of large photographs takes gigabytes.

    Attributes:
        row: in the index of the data set.
        class_index: its label as a class of the encoder.
        pixels: uint8 [3, s, s], as the encoder sees it.
        inspected_pixels: as the inspected classifier sees it; empty without one.
    """

    row: int
    class_index: int
    pixels: Tensor
    inspected_pixels: Tensor


def _left_out(index: int, grouping: Grouping, classes: Collection[int] | None) -> str | None:
    """Why pictures with the label of such a class are not looked at."""
    if index < 0:
        return CLASS_NOT_IN_ENCODER
    if grouping != "predicted" and classes is not None and index not in classes:
        return CLASS_NOT_CHOSEN
    return None


def _open(
    sample: Sample, class_index: int, backbone: Backbone, inspected: Inspected | None, max_pixels: int
) -> _Opened | str:
    """A picture, or the reason why it cannot be read."""
    if isinstance(sample.content, Skipped):
        return sample.content.reason
    try:
        pixels = decode(sample.content, max_pixels)
    except PictureError as error:
        return error.reason
    return _Opened(
        sample.row,
        class_index,
        prepare(pixels, backbone.preprocessing),
        torch.empty(0) if inspected is None else prepare(pixels, inspected.preprocessing),
    )


def _inspect(batch: Sequence[_Opened], inspected: Inspected | None) -> NDArray[np.int32]:
    """What the inspected classifier predicts, int32 [N]; -1 where there is none."""
    if inspected is None:
        return np.full(len(batch), -1, np.int32)
    return inspected.predict(torch.stack([one.inspected_pixels for one in batch]))
