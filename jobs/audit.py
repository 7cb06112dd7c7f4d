"""One shard of an audit: pictures in, one row per (picture, variant) out.

Each picture is decoded once and runs once through the backbone; its clean prediction and every distinct variant run
once through the classifier, many to a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from jobs import rows
from jobs.audit_request import AuditRequest
from jobs.audit_rows import SkippedRow, answers, rows_of_features, rows_of_skipped
from jobs.audit_subjects import Own, Subjects, scope_of
from jobs.class_map import REASONS
from jobs.classification import classify
from jobs.datasets import Sample, Skipped
from jobs.donors import Donor, Donors
from jobs.measurement import Batch, Changed, Measurement, OwnFeatures, Scope
from jobs.measurements import cue_swaps, region_noise
from jobs.pictures import PictureError, decode
from jobs.swaps import lenders, regions, swap
from jobs.variants import Seen, Variants, variants_of
from jobs.views import View, view_of
from models.backbone import Features
from models.corruptions import CORRUPTIONS, draws_of_sample
from models.geometry import Preprocessing
from models.masks import Selection

PIXEL_BUDGET = 32 * 384 * 384
"""Most input pixels of a batch of pictures: large inputs are taken fewer at a time, so that memory stays bounded."""


def audit_shard(
    samples: Iterable[Sample],
    subjects: Subjects,
    request: AuditRequest,
    max_pixels: int,
    progress: Callable[[int], None],
    further: Mapping[str, Iterable[Sample]] | None = None,
) -> pa.Table:
    """Audit the pictures of one shard.

    Args:
        samples: of the shard, in the order of the data set's index.
        subjects: loaded once by the worker.
        request: parameters.
        max_pixels: largest picture decoded; larger ones are skipped with that reason.
        progress: called about once a batch with the number of samples done so far; may raise to stop the shard.
        further: the shard's samples of second data sets, by the measurement that asks for one.

    Returns:
        A table of `rows.SCHEMA` and the columns of the measurements: audited samples in order, then the skipped ones,
        then the same of second data sets. Equal inputs give equal tables.

    Raises:
        Whatever `subjects.predict` or `progress` raises; nothing of the shard counts then.
    """
    donors = _donors(subjects, request, max_pixels)
    scope = scope_of(subjects.bank, subjects.classes, subjects.pictures, request.seed)
    run = _Pass(_pictures_per_batch(request, subjects.preprocessing), max_pixels, progress)
    chosen = request.chosen()
    audit = partial(_audit, subjects=subjects, request=request, chosen=chosen, donors=donors, scope=scope)
    run.over(samples, subjects, subjects.backbone.preprocessing, audit)
    for name, own in (further or {}).items():
        second = replace(subjects, classes=subjects.further[name])
        run.over(own, second, subjects.preprocessing, partial(_answer, subjects=second, name=name))
    schema = rows.schema(column for own, _ in chosen for column in own.columns)
    table = pa.concat_tables([schema.empty_table(), *run.tables], promote_options="default")
    return table.replace_schema_metadata({rows.RAN_ON: subjects.ran_on().model_dump_json()})


@dataclass
class _Pass:
    """Passes over samples, batch by batch.

    Attributes:
        together: pictures to a batch.
        max_pixels, progress: as in `audit_shard`.
        tables: what came out, appended to.
        done: samples done so far, added to.
    """

    together: int
    max_pixels: int
    progress: Callable[[int], None]
    tables: list[pa.Table] = field(default_factory=list)
    done: int = 0

    def over(
        self,
        samples: Iterable[Sample],
        subjects: Subjects,
        first: Preprocessing,
        work: Callable[[list[View]], pa.Table],
    ) -> None:
        """Prepare samples of the subjects' classes for a first network and the classifier; work on full batches."""
        skipped: list[SkippedRow] = []
        batch: list[View] = []
        for sample in samples:
            self.done += 1
            outcome = _view(sample, subjects, first, self.max_pixels)
            if isinstance(outcome, View):
                batch.append(outcome)
            else:
                class_index = int(subjects.classes.of_label[sample.label])
                skipped.append(SkippedRow(sample.row, sample.sample, class_index, *outcome))
            if len(batch) == self.together:
                self.tables.append(work(batch))
                batch = []
            if self.done % self.together == 0:
                self.progress(self.done - len(batch))
        if batch:
            self.tables.append(work(batch))
        self.tables.append(rows_of_skipped(skipped))
        self.progress(self.done)


def _pictures_per_batch(request: AuditRequest, preprocessing: Preprocessing) -> int:
    return max(1, min(request.batch_size, PIXEL_BUDGET // preprocessing.size**2))


def _view(sample: Sample, subjects: Subjects, first: Preprocessing, max_pixels: int) -> View | Skipped:
    """The picture as a first network and the classifier see it, or why it is not audited."""
    reason = subjects.classes.skipped.get(sample.label)
    if reason is not None:
        return Skipped(reason, REASONS[reason])
    return _open(sample, subjects, first, max_pixels)


def _open(sample: Sample, subjects: Subjects, first: Preprocessing, max_pixels: int) -> View | Skipped:
    if isinstance(sample.content, Skipped):
        return sample.content
    try:
        pixels = decode(sample.content, max_pixels)
    except PictureError as error:
        return Skipped(error.reason, error.message)
    class_index = int(subjects.classes.of_label[sample.label])
    return view_of(pixels, sample.row, sample.sample, class_index, first, subjects.preprocessing)


def _donors(subjects: Subjects, request: AuditRequest, max_pixels: int) -> Donors:
    """Who lends spurious features; also pictures of classes that the request leaves out."""

    first = subjects.backbone.preprocessing

    def look(samples: Sequence[Sample], class_index: int) -> list[Donor]:
        views = [view for s in samples if isinstance(view := _open(s, subjects, first, max_pixels), View)]
        with torch.inference_mode():
            return lenders(views, _see(views, subjects)[1]) if views else []

    known = set(subjects.classes.of_output.tolist())
    lending = [c for c in subjects.bank.labelled_classes if c in known and subjects.bank.spurious(c)]
    side = subjects.preprocessing.size
    return Donors(subjects.pictures, subjects.classes.of_label, lending, side, request.seed, look)


def _see(batch: Sequence[View], subjects: Subjects) -> tuple[Features, Seen]:
    features = subjects.backbone.forward(torch.stack([picture.backbone_pixels for picture in batch]))
    labelled = [subjects.bank.features(picture.class_index) for picture in batch]
    selection = Selection.of(labelled, features.phi.device)
    return features, Seen.of(features, selection, [p.source for p in batch], [p.target for p in batch])


def _audit(
    batch: list[View],
    subjects: Subjects,
    request: AuditRequest,
    chosen: Sequence[tuple[Measurement, Any]],
    donors: Donors,
    scope: Scope,
) -> pa.Table:
    """The rows of some pictures, at most as many as go through a network at once."""
    with torch.inference_mode():
        features, seen = _see(batch, subjects)
        lent = _lent(batch, seen, donors) if request.measures(cue_swaps.MEASUREMENT) else []
        variants = variants_of(seen, [i for i, _ in lent[: len(lent) // 2]], request.measures(region_noise.MEASUREMENT))
        pixels = _pixels(batch, features.phi.device)
        draws = _draws(batch, pixels, request.seed)
        clean, own_features = _clean(pixels.cpu().numpy(), subjects)
        classes = np.array([picture.class_index for picture in batch], dtype=np.int32)
        correct = subjects.classes.of_output[clean.argmax(axis=1)] == classes
        together = Batch(
            subjects.bank,
            batch,
            pixels,
            draws,
            features,
            seen,
            correct,
            request.seed,
            scope,
            _corrupt(request),
            own_features,
        )
        shared = [_corrupted(together, variants), _swapped(together, lent)]
        own = [changed for measurement, asked in chosen for changed in measurement.changed(together, asked)]
        most = _pictures_per_batch(request, subjects.preprocessing)
        logits, energy = classify(pixels, clean, [*shared, *own], subjects.predict, most)
    noted: dict[str, Any] = {}
    for measurement, asked in chosen:
        noted |= measurement.noted(together, asked, scope)
    answered = len(batch) + sum(len(changed.picture) for changed in shared)
    tables = [rows_of_features(together, variants, lent, logits[:answered], energy[:answered], subjects, noted)]
    for changed in own:
        part = slice(answered, answered := answered + len(changed.picture))
        columns = answers(batch, changed.picture, logits[part], energy[part], subjects)
        tables.append(rows.rows({**columns, "variant": [changed.variant] * len(changed.picture), **changed.columns}))
    return pa.concat_tables(tables, promote_options="default")


def _corrupt(request: AuditRequest) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    corruption = CORRUPTIONS[request.corruption]
    return lambda pictures, masks, draws: corruption.apply(pictures, masks, draws, request.sigma)


def _answer(batch: list[View], subjects: Subjects, name: str) -> pa.Table:
    """The rows of some pictures of a second data set, which the classifier sees as they are."""
    pixels = _pixels(batch, torch.device("cpu"))
    logits, energy = classify(pixels, subjects.predict(pixels.numpy()), (), subjects.predict, len(batch))
    columns = answers(batch, np.arange(len(batch)), logits, energy, subjects)
    return rows.rows({**columns, "variant": [name] * len(batch)})


def _pixels(batch: Sequence[View], device: torch.device) -> Tensor:
    """float32 [N, 3, s, s] in [0, 1], the classifier's input before mean and standard deviation."""
    return torch.stack([picture.classifier_pixels for picture in batch]).to(device).float() / 255


def _clean(pixels: NDArray[np.float32], subjects: Subjects) -> tuple[NDArray[np.float32], OwnFeatures | str | None]:
    """What the classifier says to pictures as they are, and the features behind it where they are asked for."""
    if not isinstance(subjects.own, Own):
        return subjects.predict(pixels), subjects.own
    scores, found = subjects.own.look(pixels)
    return scores, OwnFeatures(found, subjects.own.head, subjects.classes.of_output)


def _lent(batch: Sequence[View], seen: Seen, donors: Donors) -> list[tuple[int, Donor]]:
    """2 S donors and the picture each lends to: first all of the same class, then those of another."""
    showing = [(i, batch[i]) for i in seen.spurious.any(dim=1).nonzero()[:, 0].tolist()]
    pairs = {i: pair for i, p in showing if (pair := donors.pair(p.class_index, p.row, p.sample)) is not None}
    return [(i, pair.same) for i, pair in pairs.items()] + [(i, pair.other) for i, pair in pairs.items()]


def _draws(batch: Sequence[View], pixels: Tensor, seed: int) -> Tensor:
    draws = torch.empty(pixels.shape, dtype=torch.float32)
    for own, picture in zip(draws, batch, strict=True):
        own.copy_(torch.from_numpy(draws_of_sample(seed, picture.sample, tuple(own.shape))))
    return draws.to(pixels.device)


def _corrupted(batch: Batch, variants: Variants) -> Changed:
    """The V corrupted pictures of `variants`."""

    def make(part: slice) -> Tensor:
        owner = variants.picture[part]
        return batch.corrupt(batch.pixels[owner], variants.masks[part], batch.draws[owner])

    return Changed(rows.FEATURE, variants.picture.cpu().numpy(), make)


def _swapped(batch: Batch, lent: Sequence[tuple[int, Donor]]) -> Changed:
    """Pictures with what donors lend to those of these indices."""
    spurious, core = regions(batch.seen)

    def make(part: slice) -> Tensor:
        made = [swap(batch.views[i].classifier_pixels, spurious[i], core[i], donor) for i, donor in lent[part]]
        return torch.stack(made).to(batch.pixels.device).float() / 255

    return Changed(rows.SWAP_OTHER, np.array([i for i, _ in lent], dtype=np.int64), make)
