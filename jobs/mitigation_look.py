"""One shard of what a mitigation is fitted on: what the bank's network and the classifier see of each picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pyarrow as pa
import torch

from jobs.audit_subjects import Own, Subjects
from jobs.datasets import Sample, Skipped
from jobs.pictures import PictureError, decode
from jobs.views import View, view_of

SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64(), metadata={"about": "of the picture in the data set"}),
        pa.field("class", pa.int32(), metadata={"about": "class index in the bank"}),
        pa.field("activation", pa.list_(pa.float32()), metadata={"about": "of the class's spurious features, by rank"}),
        pa.field("features", pa.list_(pa.float32()), metadata={"about": "what goes into the classifier's head"}),
    ]
)


def look_shard(
    samples: Iterable[Sample],
    subjects: Subjects,
    own: Own,
    batch_size: int,
    max_pixels: int,
    progress: Callable[[int], None],
) -> pa.Table:
    """A table of `SCHEMA`, in the order of the samples; those that cannot be read are left out.

    Args:
        samples: of classes that bank and classifier have.
        subjects: loaded once.
        own: the classifier with its features.
        batch_size: pictures per forward.
        max_pixels: largest picture decoded.
        progress: called with the number of samples done after each batch; may raise to stop the shard.
    """
    tables, batch, done = [SCHEMA.empty_table()], list[View](), 0
    for done, sample in enumerate(samples, start=1):
        if (view := _view(sample, subjects, max_pixels)) is not None:
            batch.append(view)
        if len(batch) == batch_size:
            tables.append(_look(batch, subjects, own))
            batch = []
            progress(done)
    if batch:
        tables.append(_look(batch, subjects, own))
    progress(done)
    return pa.concat_tables(tables)


def _view(sample: Sample, subjects: Subjects, max_pixels: int) -> View | None:
    if isinstance(sample.content, Skipped):
        return None
    try:
        pixels = decode(sample.content, max_pixels)
    except PictureError:
        return None
    class_index = int(subjects.classes.of_label[sample.label])
    first, second = subjects.backbone.preprocessing, subjects.preprocessing
    return view_of(pixels, sample.row, sample.sample, class_index, first, second)


def _look(batch: Sequence[View], subjects: Subjects, own: Own) -> pa.Table:
    with torch.inference_mode():
        pictures = torch.stack([view.backbone_pixels for view in batch])
        phi = subjects.backbone.forward(pictures).phi.float().cpu().numpy()
        pixels = torch.stack([view.classifier_pixels for view in batch]).float() / 255
        _, features = own.look(pixels.numpy())
    spurious = [[one.feature_index for one in subjects.bank.spurious(view.class_index)] for view in batch]
    columns = {
        "row": [view.row for view in batch],
        "class": [view.class_index for view in batch],
        "activation": [phi[i, wanted] for i, wanted in enumerate(spurious)],
        "features": list(features),
    }
    return pa.table(columns, schema=SCHEMA)
