"""Explanations as the document and the files that are sent."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from jobs.encodings import ZERO, npz, png, run_lengths, signed_levels
from models.bank import Bank
from models.geometry import Axis, Placement
from service.maps import PARTS, Explanation
from service.options import MaskOptions
from service.problems import Problem
from service.schemas import (
    Archive,
    ClassAnswer,
    ContributionMaps,
    FeatureAnswer,
    Map,
    Masks,
    Parts,
    PictureAnswer,
    Prediction,
    Rectangle,
)


@dataclass(frozen=True)
class Answer:
    """What became of one picture.

    Attributes:
        document: its `PictureAnswer` as JSON; empty if it failed.
        files: PNG and npz files by name, where they do not stand in the document.
        arrays: tensors by name, where they were asked for instead of a document.
        problem: why there is no answer, if so.
    """

    document: bytes = b""
    files: dict[str, bytes] = field(default_factory=dict)
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    problem: Problem | None = None


def compose(
    answer: PictureAnswer,
    explanations: Sequence[Explanation],
    probabilities: Sequence[float],
    bank: Bank,
    seen: Placement,
    options: MaskOptions,
) -> Answer:
    """Encode what was found for one picture.

    Args:
        answer: what is known of the picture itself; completed here.
        explanations: of the classes asked for.
        probabilities: of all classes.
        bank: whose classes they are.
        seen: where the network's input lies on the picture.
        options: what was asked for.
    """
    best = max(range(len(probabilities)), key=probabilities.__getitem__)
    files = _Files(options, answer.picture)
    answer.seen = _rectangle(seen)
    answer.prediction = Prediction(index=best, name=bank.classes[best], probability=probabilities[best])
    answer.classes = [
        _class(explanation, probabilities[explanation.pair.class_index], bank, files) for explanation in explanations
    ]
    return Answer(answer.model_dump_json(exclude_none=True).encode(), files.beside)


def _class(explanation: Explanation, probability: float, bank: Bank, files: _Files) -> ClassAnswer:
    index = explanation.pair.class_index
    folder = files.start(index)
    found = ClassAnswer(
        index=index,
        name=bank.classes[index],
        logit=explanation.logit,
        probability=probability,
        bias=explanation.bias,
        contributions=Parts(**dict(zip(PARTS, explanation.parts, strict=True))),
        labelled=bool(explanation.features),
        features=_features(explanation, folder),
    )
    if explanation.pair.options.masks:
        found.masks = Masks(**{label: folder.mask(label, mask) for label, mask in explanation.masks.items()})
    if explanation.maps is not None:
        found.contribution_maps = ContributionMaps(**folder.contributions(explanation.maps))
    found.npz = folder.archive()
    return found


def _features(explanation: Explanation, folder: _ClassFiles) -> list[FeatureAnswer]:
    rows = zip(explanation.features, explanation.activations, explanation.contributions, explanation.valid, strict=True)
    answers = []
    for feature, activation, contribution, valid in rows:
        mask = explanation.feature_masks.get(feature.feature_index)
        answers.append(
            FeatureAnswer(
                feature=feature.feature_index,
                rank=feature.rank,
                label=feature.label,
                kind=feature.kind,
                votes=feature.votes,
                importance=feature.importance,
                activation=activation,
                contribution=contribution,
                valid=valid,
                valid_from=feature.statistics.valid_from,
                mask=None if mask is None else folder.mask(f"feature_{feature.feature_index}", mask),
            )
        )
    return answers


def _rectangle(placement: Placement) -> Rectangle:
    def edges(axis: Axis) -> tuple[float, float]:
        pixel = axis.original / axis.resized
        return axis.offset * pixel, (axis.offset + axis.length) * pixel

    (top, bottom), (left, right) = edges(placement.rows), edges(placement.columns)
    return Rectangle(top=top, left=left, bottom=bottom, right=right)


class _Files:
    """Where the encoded maps of one picture go: into the document as base64, or beside it under a name.

    Attributes:
        beside: the files that do not go into the document.
    """

    def __init__(self, options: MaskOptions, picture: int) -> None:
        self.options = options
        self.picture = picture
        self.beside: dict[str, bytes] = {}

    def start(self, class_index: int) -> _ClassFiles:
        """The files of one class of the picture."""
        return _ClassFiles(self, class_index)

    def put(self, name: str, content: bytes) -> dict[str, str]:
        """Store a file; returns the field that says where it is."""
        if self.options.inline:
            return {"data": base64.b64encode(content).decode("ascii")}
        self.beside[name] = content
        return {"file": name}


class _ClassFiles:
    """The encoded maps of one class: PNG files one by one, npz arrays collected into one file."""

    def __init__(self, files: _Files, class_index: int) -> None:
        self._files = files
        self._options = files.options
        self._stem = f"{files.picture:04d}/{class_index}"
        self._arrays: dict[str, NDArray[np.generic]] = {}

    def mask(self, name: str, mask: NDArray[Any]) -> Map:
        """A mask as quantised by `service.maps`: levels, float16 or bool, [H, W]."""
        height, width = mask.shape
        where: dict[str, Any]
        if self._options.encoding == "png":
            where = {"scale": 1 / 255, "zero": 0, **self._files.put(f"{self._stem}-{name}.png", png(mask))}
        elif self._options.encoding == "npz":
            where = self._collect(name, mask)
        else:
            where = {"counts": run_lengths(mask), "threshold": self._options.threshold}
        return Map(encoding=self._options.encoding, height=height, width=width, **where)

    def contributions(self, maps: NDArray[np.float32]) -> dict[str, Map]:
        """The signed maps [3, H, W] of `PARTS`, on one common scale."""
        _, height, width = maps.shape
        if self._options.encoding == "npz":
            found = [self._collect(f"contribution_{part}", values) for part, values in zip(PARTS, maps, strict=True)]
        else:
            levels, scale = signed_levels(torch.from_numpy(maps))
            found = [
                {
                    "scale": scale,
                    "zero": ZERO,
                    **self._files.put(f"{self._stem}-contribution_{part}.png", png(level)),
                }
                for part, level in zip(PARTS, levels.numpy(), strict=True)
            ]
        return {
            part: Map(encoding=self._options.encoding, height=height, width=width, **where)
            for part, where in zip(PARTS, found, strict=True)
        }

    def archive(self) -> Archive | None:
        """The npz file of this class, if arrays were collected."""
        if not self._arrays:
            return None
        return Archive(**self._files.put(f"{self._stem}.npz", npz(self._arrays)))

    def _collect(self, name: str, values: NDArray[np.generic]) -> dict[str, Any]:
        self._arrays[name] = values
        return {"array": name}
