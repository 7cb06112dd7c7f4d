"""Explained classes as tensors: the numbers and maps of many (picture, class) pairs in one operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jobs.encodings import soft_levels
from models.backbone import Backbone, Features
from models.bank import Bank, Feature
from models.contributions import Contributions, contributions
from models.geometry import Placement, carry, spread
from models.masks import Selection, nams
from service.options import MaskOptions

PARTS = ("core", "spurious", "unlabelled")


@dataclass(frozen=True)
class Pair:
    """A class to explain on a picture of the batch.

    Attributes:
        row: the picture's place in the batch.
        class_index: the class.
        options: what its request asked for.
        source: where the network's input lies on the picture.
        target: the pixels the maps are wanted on.
    """

    row: int
    class_index: int
    options: MaskOptions
    source: Placement
    target: Placement


@dataclass
class Explanation:
    """What was computed for one pair, on the CPU.

    Attributes:
        logit, bias: of the class.
        parts: the logit's split over `PARTS`; with the bias they sum to it.
        features: the labelled features, by rank; `activations`, `contributions` and `valid` go with them.
        masks: core and spurious mask, where the class has such features: [H, W], see `_quantiser` for the values.
        feature_masks: masks of single features, by feature index.
        maps: float32 [3, H, W], the signed contribution maps of `PARTS`, if asked for.
    """

    pair: Pair
    logit: float
    bias: float
    parts: tuple[float, float, float]
    features: tuple[Feature, ...]
    activations: list[float]
    contributions: list[float]
    valid: list[bool]
    masks: dict[str, NDArray[Any]] = field(default_factory=dict)
    feature_masks: dict[int, NDArray[Any]] = field(default_factory=dict)
    maps: NDArray[np.float32] | None = None


def explain(pairs: Sequence[Pair], bank: Bank, backbone: Backbone, features: Features) -> list[Explanation]:
    """Explain classes on the pictures of one forward.

    Args:
        pairs: what to explain.
        bank, backbone: the labels and the network that go together.
        features: of the whole batch; `Pair.row` counts in it.
    """
    taken = _take(features, [pair.row for pair in pairs])
    labelled = [bank.features(pair.class_index) for pair in pairs]
    selection = Selection.of(labelled, backbone.device)
    classes = torch.tensor([pair.class_index for pair in pairs], device=backbone.device)
    split = contributions(taken, backbone.weight, backbone.bias, classes, selection)
    found = _numbers(pairs, labelled, taken, selection, split)
    for group in _alike(pairs):
        _add_maps(group, found, taken, selection, split)
    return found


def _take(features: Features, rows: list[int]) -> Features:
    if rows == list(range(len(features.logits))):  # one class per picture, by far the most frequent: nothing to copy
        return features
    index = torch.tensor(rows, device=features.maps.device)
    return Features(logits=features.logits[index], phi=features.phi[index], maps=features.maps[index])


def _numbers(
    pairs: Sequence[Pair],
    labelled: Sequence[tuple[Feature, ...]],
    features: Features,
    selection: Selection,
    split: Contributions,
) -> list[Explanation]:
    parts = torch.stack([split.core, split.spurious, split.unlabelled], dim=1).sum(dim=(2, 3)).tolist()
    columns = zip(
        pairs,
        labelled,
        split.logit.tolist(),
        split.bias.tolist(),
        parts,
        selection.gather(features.phi).tolist(),
        split.per_feature.tolist(),
        selection.valid(features.phi).tolist(),
        strict=True,
    )
    return [
        Explanation(
            pair=pair,
            logit=logit,
            bias=bias,
            parts=(part[0], part[1], part[2]),
            features=rows,
            activations=activations[: len(rows)],
            contributions=shares[: len(rows)],
            valid=valid[: len(rows)],
        )
        for pair, rows, logit, bias, part, activations, shares, valid in columns
    ]


def _alike(pairs: Sequence[Pair]) -> list[list[int]]:
    """Positions of pairs whose maps have the same pixels and encoding, and so go through one operation."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for position, pair in enumerate(pairs):
        options = pair.options
        shape = (pair.target.rows.length, pair.target.columns.length)
        wants = (options.encoding, options.threshold, options.masks, options.contributions)
        own = position if options.size == "original" else -1  # large: one picture at a time bounds memory
        groups.setdefault((shape, wants, own), []).append(position)
    return list(groups.values())


def _add_maps(
    group: list[int], found: list[Explanation], features: Features, selection: Selection, split: Contributions
) -> None:
    options = found[group[0]].pair.options
    sources = [found[i].pair.source for i in group]
    targets = [found[i].pair.target for i in group]
    index = torch.tensor(group, device=features.maps.device)
    if options.masks:
        quantise = _quantiser(options)
        channels = selection.channels[index]
        for k in range(channels.shape[1]):
            own = nams(features.maps[index, channels[:, k]])[:, None]
            levels = quantise(carry(own, sources, targets)[:, 0]).cpu().numpy()
            for i, level in zip(group, levels, strict=True):
                _add_mask(found[i], k, level)
    if options.contributions:
        parts = torch.stack([split.core[index], split.spurious[index], split.unlabelled[index]], dim=1)
        spread_out = spread(parts, sources, targets).cpu().numpy()
        for i, maps in zip(group, spread_out, strict=True):
            found[i].maps = maps


def _add_mask(explanation: Explanation, k: int, level: NDArray[Any]) -> None:
    """Join the mask of the k-th feature to that of its label. Maximum and rounding commute, so levels will do."""
    if k >= len(explanation.features):
        return
    feature = explanation.features[k]
    joined = explanation.masks.get(feature.label)
    explanation.masks[feature.label] = level if joined is None else np.maximum(joined, level)
    wanted = explanation.pair.options.features
    if wanted is None or feature.feature_index in wanted:
        explanation.feature_masks[feature.feature_index] = level


def _quantiser(options: MaskOptions) -> Callable[[Tensor], Tensor]:
    """Masks in [0, 1] to what their encoding holds: uint8 levels, float16, or bool from the threshold on."""
    if options.encoding == "png":
        return soft_levels
    if options.encoding == "npz":
        return lambda masks: masks.to(torch.float16)
    return lambda masks: masks >= options.threshold
