"""One shard of an export: pictures in; a file of masks, a row per mask and a row per sample out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from jobs.datasets import Sample, Skipped
from jobs.encodings import soft_levels
from jobs.export_pictures import Looked, Prepared, look
from jobs.export_request import ExportRequest
from jobs.export_subjects import REASONS, Choice
from jobs.mask_files import FILE_FORMATS, Mask, Masked, MaskFile
from jobs.mask_names import stem
from jobs.mask_rows import MaskRow, of_feature, of_union
from models.backbone import Backbone, Features
from models.bank import Feature
from models.geometry import carry
from models.masks import Selection, nams

PIXELS_AT_ONCE = 2**23
"""Most pixels of masks that are computed together, 4 bytes each: large pictures' masks are made one by one."""

Levels = NDArray[np.uint8]


@dataclass(frozen=True)
class Source:
    """What a shard is made with.

    Attributes:
        samples: of the shard, rows ascending.
        choice: classes and features.
        backbone: of the bank, loaded.
        usual: ending of the data set's first picture.
        max_pixels: largest picture decoded.
        threads: decode pictures and encode masks.
        progress: as in `look`.
    """

    samples: Iterable[Sample]
    choice: Choice
    backbone: Backbone
    usual: str
    max_pixels: int
    threads: Executor
    progress: Callable[[int], None]


@dataclass
class Written:
    """What a shard has left so far.

    Attributes:
        masks: a row per mask, in the order of the file.
        samples: a row per sample, as `mask_rows.SAMPLES`.
    """

    masks: list[MaskRow] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)


class _Wanted(NamedTuple):
    """A mask to be made: of a feature, on the picture at `place` of the batch."""

    place: int
    feature: Feature
    activation: float
    valid: bool


class _Labelled(NamedTuple):
    """The labelled features of a picture's class by rank, their activations, and whether these are valid."""

    features: tuple[Feature, ...]
    activations: list[float]
    valid: list[bool]


def export_all(source: Source, request: ExportRequest, file: MaskFile | None, name: str) -> Written:
    """Look at all samples of a shard, and write the masks that the rule wants; none where `file` is None.

    Args:
        source: the shard.
        request: parameters.
        file: where masks go.
        name: what the file will be called.

    Raises:
        Whatever `source.progress` raises; nothing of the shard counts then.
    """
    written = Written()
    chosen = {index: {f.feature_index for f in rows} for index, rows in source.choice.features.items()}
    for looked in _look(source, request):
        written.samples += _left_out(looked, source.choice)
        if looked.features is None:
            continue
        predicted = looked.features.logits.argmax(dim=1).tolist()
        labels = [int(source.choice.of_label[p.sample.label]) for p in looked.pictures]
        classes = predicted if request.class_of == "predicted" else labels
        of_class = _activations(source.choice, looked.features, classes)
        of_label = of_class if classes is labels else _activations(source.choice, looked.features, labels)
        wanted: list[_Wanted] = []
        for place, picture in enumerate(looked.pictures):
            reason, own, labelled = source.choice.reason(classes[place]), of_class[place], of_label[place]
            written.samples.append(
                {
                    "sample": picture.sample.sample,
                    "row": picture.sample.row,
                    "label_index": labels[place] if labels[place] >= 0 else None,
                    "predicted_index": predicted[place],
                    "class_index": None if classes[place] < 0 else classes[place],
                    "of_label": labelled and labelled.activations,
                    "of_class": own and own.activations,
                    "reason": reason,
                    "detail": reason and REASONS[reason],
                }
            )
            if reason is None and own is not None:
                wanted += [
                    _Wanted(place, feature, activation, valid)
                    for feature, activation, valid in zip(*own, strict=True)
                    if feature.feature_index in chosen[classes[place]] and (valid or request.validity == "all")
                ]
        if file is not None:
            written.masks += _write(looked, wanted, source, request, file, name)
    return written


def export_chosen(
    source: Source,
    request: ExportRequest,
    chosen: Mapping[int, Sequence[tuple[Feature, float]]],
    file: MaskFile,
    name: str,
) -> Written:
    """Write the masks of features that were chosen from a former look, by row, with the activations of then."""
    written = Written()
    for looked in _look(source, request):
        wanted = [
            _Wanted(place, feature, activation, bool(np.float32(activation) >= feature.statistics.valid_from))
            for place, picture in enumerate(looked.pictures)
            for feature, activation in chosen[picture.sample.row]
        ]
        written.masks += _write(looked, wanted, source, request, file, name)
    return written


def _look(source: Source, request: ExportRequest) -> Iterator[Looked]:
    skipped = source.choice.skipped
    samples = (
        sample
        if (reason := skipped.get(sample.label)) is None
        else sample._replace(content=Skipped(reason, REASONS[reason]))
        for sample in source.samples
    )
    return look(samples, source.backbone, request, source.max_pixels, source.threads, source.progress)


def _left_out(looked: Looked, choice: Choice) -> list[dict[str, Any]]:
    return [
        {
            "sample": sample.sample,
            "row": sample.row,
            "label_index": None if choice.of_label[sample.label] < 0 else int(choice.of_label[sample.label]),
            "reason": skipped.reason,
            "detail": skipped.message,
        }
        for sample, skipped in looked.left_out
    ]


def _activations(choice: Choice, features: Features, classes: Sequence[int]) -> list[_Labelled | None]:
    """Of each picture; None for one without a class, or of a class that nobody labelled."""
    labelled = [choice.bank.features(index) if index >= 0 else () for index in classes]
    selection = Selection.of(labelled, features.phi.device)
    values, valid = selection.gather(features.phi).tolist(), selection.valid(features.phi).tolist()
    return [
        _Labelled(rows, values[place][: len(rows)], valid[place][: len(rows)]) if rows else None
        for place, rows in enumerate(labelled)
    ]


def _write(
    looked: Looked, wanted: Sequence[_Wanted], source: Source, request: ExportRequest, file: MaskFile, name: str
) -> list[MaskRow]:
    """Make, encode and write the masks of a batch, those of one picture one after the other; a row for each."""
    if looked.features is None or not wanted:
        return []
    encode = FILE_FORMATS[request.format].encode
    masks: dict[int, list[Mask]] = {}
    unions: dict[tuple[int, str], Levels] = {}
    for chunk in _chunks(wanted, looked.pictures):
        levels = _levels(chunk, looked, request)
        for one, level, content in zip(chunk, levels, source.threads.map(encode, levels), strict=True):
            about = {**of_feature(one.feature), "activation": one.activation, "valid": one.valid}
            masks.setdefault(one.place, []).append(Mask(about, content))
            if one.feature.label in request.unions:
                key = one.place, one.feature.label
                unions[key] = np.maximum(unions[key], level) if key in unions else level
    for (place, label), content in zip(unions, source.threads.map(encode, unions.values()), strict=True):
        masks[place].append(Mask(of_union("core" if label == "core" else "spurious"), content))
    class_of = {one.place: one.feature.class_index for one in wanted}
    rows: list[MaskRow] = []
    for place, own in masks.items():
        masked = _masked(looked.pictures[place], class_of[place], own, source, request)
        rows += _rows(masked, file.add(masked), name)
    return rows


def _chunks(wanted: Sequence[_Wanted], pictures: Sequence[Prepared]) -> Iterator[list[_Wanted]]:
    """Masks of the same size, as many as may be made together."""
    chunk: list[_Wanted] = []
    for one in wanted:
        shape = _shape(pictures[one.place])
        most = max(1, PIXELS_AT_ONCE // (shape[0] * shape[1]))
        if chunk and (len(chunk) >= most or not _alike(pictures[chunk[-1].place], pictures[one.place])):
            yield chunk
            chunk = []
        chunk.append(one)
    if chunk:
        yield chunk


def _alike(first: Prepared, second: Prepared) -> bool:
    """Whether their masks are made by one matrix: both on the backbone's input, or the pictures of the same size."""
    on_input = first.source == first.target and second.source == second.target
    return on_input or (first.source, first.target) == (second.source, second.target)


def _shape(picture: Prepared) -> tuple[int, int]:
    return picture.target.rows.length, picture.target.columns.length


def _levels(chunk: Sequence[_Wanted], looked: Looked, request: ExportRequest) -> Levels:
    """uint8 [K, H, W]: levels in 0..255, or 0 and 1 where masks are cut."""
    assert looked.features is not None
    first = looked.pictures[chunk[0].place]
    maps = looked.features.maps
    places = torch.tensor([one.place for one in chunk], device=maps.device)
    channels = torch.tensor([one.feature.feature_index for one in chunk], device=maps.device)
    with torch.inference_mode():
        masks = carry(nams(maps[places, channels])[:, None], [first.source] * len(chunk), [first.target] * len(chunk))
        soft = FILE_FORMATS[request.format].soft
        levels = soft_levels(masks) if soft else (masks >= request.threshold).to(torch.uint8)
        found: Levels = levels[:, 0].cpu().numpy()
    return found


def _masked(
    picture: Prepared, class_index: int, masks: Sequence[Mask], source: Source, request: ExportRequest
) -> Masked:
    choice, sample = source.choice, picture.sample
    alone = request.class_of == "label" and not choice.shared(class_index)
    height, width = _shape(picture)
    return Masked(
        sample=sample.sample,
        row=sample.row,
        class_index=class_index,
        class_name=choice.bank.classes[class_index],
        stem=stem(sample.sample, source.usual, choice.folders[sample.label] if alone else None),
        height=height,
        width=width,
        masks=masks,
        picture=picture.shown,
    )


def _rows(masked: Masked, members: Sequence[str], name: str) -> list[MaskRow]:
    return [
        MaskRow(
            sample=masked.sample,
            row=masked.row,
            class_index=masked.class_index,
            class_name=masked.class_name,
            **mask.about,
            file=name,
            member=member,
            height=masked.height,
            width=masked.width,
        )
        for mask, member in zip(masked.masks, members, strict=True)
    ]
