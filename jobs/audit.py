"""One shard of an audit: pictures in, one row per (picture, variant) out.

Each picture is decoded once and runs once through the backbone; its clean prediction and every distinct variant run
once through the classifier, many to a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor

from jobs import rows
from jobs.class_map import REASONS, ClassMap
from jobs.datasets import Pictures, Sample, Skipped
from jobs.donors import Donor, Donors
from jobs.pictures import PictureError, decode
from jobs.swaps import lenders, regions, swap
from jobs.variants import Seen, Variants, variants_of
from jobs.views import View, view_of
from models.backbone import Backbone, Features
from models.bank import Bank
from models.corruptions import CORRUPTIONS, GAUSSIAN_NOISE, draws_of_sample, energies
from models.geometry import Preprocessing
from models.masks import Selection

Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""A classifier: float32 [N, 3, s, s] in [0, 1], before mean and standard deviation -> float32 [N, C] logits."""

PIXEL_BUDGET = 32 * 384 * 384
"""Most input pixels of a batch of pictures: large inputs are taken fewer at a time, so that memory stays bounded."""


LARGEST_LOG_ODDS = 1000.0
"""Log-odds are kept within this, so that a classifier without any doubt still has a mean."""


class AuditRequest(BaseModel):
    """Everything that decides the figures of an audit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    classifier: str = Field(description="Id of the classifier to audit.")
    dataset: str = Field(description="Id of the data set whose pictures are used.")
    bank: str = Field("planted", description="Feature bank, by name or digest.")
    classes: list[str] | None = Field(None, min_length=1, description="Bank classes to audit; all where left out.")
    class_map: dict[str, str] | None = Field(
        None, description="Class name in the data set or the classifier -> class of the bank, where names differ."
    )
    corruption: str = Field(GAUSSIAN_NOISE.name, description="What is done to the masked part of a picture.")
    sigma: float = Field(0.25, gt=0, le=2, description="Strength of the corruption, on pixels in [0, 1].")
    seed: int = Field(0, ge=0, lt=2**63, description="Of the noise and of the intervals' bootstrap.")
    batch_size: int = Field(32, ge=1, le=256, description="Pictures per forward.")
    max_pictures: int | None = Field(
        None, ge=1, description="Audit at most this many pictures, spread evenly over the data set; all where left out."
    )

    @field_validator("corruption")
    @classmethod
    def _known_corruption(cls, name: str) -> str:
        if name not in CORRUPTIONS:
            raise ValueError(f"unknown corruption {name!r}; known are {', '.join(sorted(CORRUPTIONS))}")
        return name


class RanOn(BaseModel):
    """Devices and providers that really ran; kept with every shard, as shards may run on different machines."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: str = Field(description="Device of the backbone and of the masks.")
    backbone: str = Field(description="Provider that ran the backbone.")
    precision: str = Field(description="Precision of the backbone.")
    classifier: str = Field(description="Provider that ran the classifier.")


@dataclass(frozen=True)
class Subjects:
    """What an audit brings together.

    Attributes:
        bank: the labels.
        backbone: the bank's network, loaded.
        predict: the classifier.
        preprocessing: how pictures become the classifier's input.
        classes: the three vocabularies.
        pictures: the whole data set.
        provider: what really runs the classifier.
    """

    bank: Bank
    backbone: Backbone
    predict: Predict
    preprocessing: Preprocessing
    classes: ClassMap
    pictures: Pictures
    provider: str

    def ran_on(self) -> RanOn:
        """Where these figures were computed."""
        return RanOn(
            device=str(self.backbone.device),
            backbone=self.backbone.provider,
            precision=self.backbone.precision,
            classifier=self.provider,
        )


class _SkippedRow(NamedTuple):
    """What is kept of a sample that is not audited; its bytes are not."""

    row: int
    sample: str
    class_index: int
    reason: str
    detail: str


def audit_shard(
    samples: Iterable[Sample],
    subjects: Subjects,
    request: AuditRequest,
    max_pixels: int,
    progress: Callable[[int], None],
) -> pa.Table:
    """Audit the pictures of one shard.

    Args:
        samples: of the shard, in the order of the data set's index.
        subjects: loaded once by the worker.
        request: parameters.
        max_pixels: largest picture decoded; larger ones are skipped with that reason.
        progress: called about once a batch with the number of samples done so far; may raise to stop the shard.

    Returns:
        A table of `rows.SCHEMA`: audited samples in order, then the skipped ones. Equal inputs give equal tables.

    Raises:
        Whatever `subjects.predict` or `progress` raises; nothing of the shard counts then.
    """
    together = _pictures_per_batch(request, subjects.preprocessing)
    donors = _donors(subjects, request, max_pixels)
    tables: list[pa.Table] = []
    skipped: list[_SkippedRow] = []
    batch: list[View] = []
    done = 0
    for done, sample in enumerate(samples, start=1):
        outcome = _view(sample, subjects, max_pixels)
        if isinstance(outcome, View):
            batch.append(outcome)
        else:
            class_index = int(subjects.classes.of_label[sample.label])
            skipped.append(_SkippedRow(sample.row, sample.sample, class_index, *outcome))
        if len(batch) == together:
            tables.append(_audit(batch, subjects, request, donors))
            batch = []
        if done % together == 0:
            progress(done - len(batch))
    if batch:
        tables.append(_audit(batch, subjects, request, donors))
    progress(done)
    table = pa.concat_tables([*tables, _rows_of_skipped(skipped)])
    return table.replace_schema_metadata({rows.RAN_ON: subjects.ran_on().model_dump_json()})


def _pictures_per_batch(request: AuditRequest, preprocessing: Preprocessing) -> int:
    return max(1, min(request.batch_size, PIXEL_BUDGET // preprocessing.size**2))


def _view(sample: Sample, subjects: Subjects, max_pixels: int) -> View | Skipped:
    """The picture as both networks see it, or why it is not audited."""
    reason = subjects.classes.skipped.get(sample.label)
    if reason is not None:
        return Skipped(reason, REASONS[reason])
    return _open(sample, subjects, max_pixels)


def _open(sample: Sample, subjects: Subjects, max_pixels: int) -> View | Skipped:
    if isinstance(sample.content, Skipped):
        return sample.content
    try:
        pixels = decode(sample.content, max_pixels)
    except PictureError as error:
        return Skipped(error.reason, error.message)
    class_index = int(subjects.classes.of_label[sample.label])
    first, second = subjects.backbone.preprocessing, subjects.preprocessing
    return view_of(pixels, sample.row, sample.sample, class_index, first, second)


def _donors(subjects: Subjects, request: AuditRequest, max_pixels: int) -> Donors:
    """Who lends spurious features; also pictures of classes that the request leaves out."""

    def look(samples: Sequence[Sample], class_index: int) -> list[Donor]:
        views = [view for s in samples if isinstance(view := _open(s, subjects, max_pixels), View)]
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


def _audit(batch: list[View], subjects: Subjects, request: AuditRequest, donors: Donors) -> pa.Table:
    """The rows of some pictures, at most as many as go through a network at once."""
    with torch.inference_mode():
        features, seen = _see(batch, subjects)
        showing = [(i, batch[i]) for i in seen.spurious.any(dim=1).nonzero()[:, 0].tolist()]
        pairs = {i: pair for i, p in showing if (pair := donors.pair(p.class_index, p.row, p.sample)) is not None}
        lent = [(i, pair.same) for i, pair in pairs.items()] + [(i, pair.other) for i, pair in pairs.items()]
        variants = variants_of(seen, list(pairs))
        logits, energy = _classify(batch, variants, *_swapped(batch, seen, lent), subjects, request)
        activation = seen.selection.gather(features.phi).cpu().numpy()
        channels = seen.selection.channels.cpu().numpy()
    uses = variants.uses
    owner = uses.picture
    answer = np.where(uses.source < 0, owner, len(batch) + uses.source)
    class_index = np.array([picture.class_index for picture in batch], dtype=np.int32)[owner]
    predicted, correct, log_odds = _judge(logits[answer], class_index, subjects.classes.of_output)
    overlap = np.concatenate([np.full(len(batch), np.nan, np.float32), variants.overlap])[answer]
    feature_rows = uses.place >= 0
    donor = np.array([-1] * (len(batch) + len(variants.masks)) + [own.row for _, own in lent])[answer]
    return rows.rows(
        {
            "sample": np.array([picture.sample for picture in batch], dtype=object)[owner],
            "row": np.array([picture.row for picture in batch])[owner],
            "class": class_index,
            "variant": np.array(rows.VARIANTS, dtype=object)[uses.variant],
            "feature": np.ma.array(channels[owner, uses.place], mask=~feature_rows),
            "predicted": predicted,
            "correct": correct,
            "probability": 0.5 * (1 + np.tanh(log_odds / 2)),
            "log_odds": log_odds,
            "energy": energy[answer],
            "overlap": np.ma.masked_invalid(overlap),
            "donor": np.ma.masked_less(donor, 0),
            "activation": np.ma.array(activation[owner, uses.place], mask=~feature_rows),
        }
    )


def _swapped(batch: Sequence[View], seen: Seen, lent: Sequence[tuple[int, Donor]]) -> tuple[Tensor, Tensor]:
    """Pictures with what donors lend to those of these indices: uint8 [2 S, 3, s, s]; and the indices, int64 [2 S]."""
    spurious, core = regions(seen)
    made = [swap(batch[i].classifier_pixels, spurious[i], core[i], donor) for i, donor in lent]
    pictures = torch.stack(made) if made else torch.empty(0, 3, *spurious.shape[1:], dtype=torch.uint8)
    return pictures, torch.tensor([i for i, _ in lent], dtype=torch.int64)


def _classify(
    batch: list[View],
    variants: Variants,
    swapped: Tensor,
    swapped_owner: Tensor,
    subjects: Subjects,
    request: AuditRequest,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The classifier's answers to N clean pictures, then V corrupted variants, then 2 S swapped pictures.

    Returns:
        Logits, float32 [N + V + 2 S, C], and the realised ||x' - x||_2, float32 [N + V + 2 S] (0 for clean pictures).
    """
    device = variants.masks.device
    pixels = torch.stack([picture.classifier_pixels for picture in batch]).to(device).float() / 255
    draws = torch.empty(pixels.shape, dtype=torch.float32)
    for own, picture in zip(draws, batch, strict=True):
        own.copy_(torch.from_numpy(draws_of_sample(request.seed, picture.sample, tuple(own.shape))))
    draws = draws.to(device)
    corrupt = CORRUPTIONS[request.corruption].apply
    logits = [subjects.predict(pixels.cpu().numpy())]
    energy = [torch.zeros(len(batch))]

    together = _pictures_per_batch(request, subjects.preprocessing)
    corrupted = (
        (owner, corrupt(pixels[owner], masks, draws[owner], request.sigma))
        for masks, owner in zip(variants.masks.split(together), variants.picture.split(together), strict=True)
    )
    pasted = (
        (owner, some.to(device).float() / 255)
        for some, owner in zip(swapped.split(together), swapped_owner.split(together), strict=True)
    )
    for owner, changed in chain(corrupted, pasted):
        if len(changed):
            logits.append(subjects.predict(changed.cpu().numpy()))
            energy.append(energies(pixels[owner], changed).cpu())
    return np.concatenate(logits), torch.cat(energy).numpy()


def _judge(
    logits: NDArray[np.float32], classes: NDArray[np.int32], of_output: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.bool_], NDArray[np.float64]]:
    """Predicted output, whether it stands for the class, and the log-odds of the class.

    Log-odds come from the logits: a softmax probability rounds to 1 where they still tell pictures apart.

    Args:
        logits: [R, C].
        classes: [R], class index in the bank.
        of_output: [C], class index in the bank that each output stands for, or -1.

    Returns:
        int32 [R]; bool [R]; float64 [R], ln p / (1 - p) of the softmax probability p, within +-LARGEST_LOG_ODDS.
    """
    predicted = logits.argmax(axis=1).astype(np.int32)
    own = of_output[None, :] == classes[:, None]
    values = logits.astype(np.float64)
    log_odds = _log_sum(np.where(own, values, -np.inf)) - _log_sum(np.where(own, -np.inf, values))
    return predicted, of_output[predicted] == classes, log_odds.clip(-LARGEST_LOG_ODDS, LARGEST_LOG_ODDS)


def _log_sum(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """ln sum exp along the rows; the smallest number where a row has nothing."""
    peak = values.max(axis=1, keepdims=True).clip(min=np.finfo(np.float64).min / 4)
    with np.errstate(divide="ignore"):
        total: NDArray[np.float64] = (np.log(np.exp(values - peak).sum(axis=1)) + peak[:, 0]).clip(min=peak[:, 0])
    return total


def _rows_of_skipped(skipped: list[_SkippedRow]) -> pa.Table:
    return rows.rows(
        {
            "sample": [left.sample for left in skipped],
            "row": [left.row for left in skipped],
            "class": [None if left.class_index < 0 else left.class_index for left in skipped],
            "variant": [rows.SKIPPED] * len(skipped),
            "reason": [left.reason for left in skipped],
            "detail": [left.detail for left in skipped],
        }
    )
