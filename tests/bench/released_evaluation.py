"""The released evaluation of Salient ImageNet, written again plainly: what an audit is measured against.

It shares nothing: for every variant (a feature, a set, a control, the outside of the core) the pictures are opened with
Pillow, resized, run through the backbone for their masks and through the classifier twice, clean and noisy; all in
eager torch. Pictures of all classes fill its batches, which is kinder than one class after the other.

Masks, controls, noise and figures are those of `jobs.audit`, computed here in another, simpler way, so that equal
figures are a check of both. Only pictures in the same pixels for both networks are handled, as in the release.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from models.bank import Bank, Feature
from models.controls import CELLS, STEPS
from models.corruptions import draws_of_sample
from models.preprocessing import Preprocessing


@dataclass(frozen=True)
class Picture:
    """A picture of the class with this index in the bank."""

    sample: str
    class_index: int
    content: bytes


@dataclass(frozen=True)
class Outcome:
    """Pictures of one class under one variant: how many there are, and how many are right clean and noisy."""

    n: int
    clean: int
    noisy: int


Key = tuple[int, str, int]
"""Class index, variant as in `jobs.rows`, and feature, -1 for sets."""

Mask = Callable[[np.ndarray, Tensor, int], np.ndarray | None]
"""From a picture's activations [D], NAMs [D, h, w] and side to the mask of the noise [side, side]; None: not tested."""


class Variant(NamedTuple):
    """One thing that is done to the pictures of a class: its name in `jobs.rows`, its feature or -1, its mask."""

    name: str
    feature: int
    mask: Mask


def evaluate(
    pictures: Sequence[Picture],
    bank: Bank,
    backbone: nn.Module,
    classifier: nn.Module,
    preprocessing: Preprocessing,
    sigma: float = 0.25,
    seed: int = 0,
    batch_size: int = 32,
) -> dict[Key, Outcome]:
    """All outcomes an audit counts, one variant after the other.

    Args:
        pictures: of any classes of the bank.
        bank: the labels.
        backbone, classifier: torchvision-like networks in eval mode that take normalised pictures; the outputs of the
            classifier are the bank's classes.
        preprocessing: of both.
    """
    variants = {c: list(_variants(bank, c)) for c in {picture.class_index for picture in pictures}}
    outcomes = {(c, v.name, v.feature): Outcome(0, 0, 0) for c, own in variants.items() for v in own}
    for slot in range(max(len(own) for own in variants.values())):
        shown = [picture for picture in pictures if slot < len(variants[picture.class_index])]
        for start in range(0, len(shown), batch_size):
            batch = shown[start : start + batch_size]
            masks = [variants[picture.class_index][slot].mask for picture in batch]
            for picture, clean, noisy in _one_batch(batch, masks, backbone, classifier, preprocessing, sigma, seed):
                variant = variants[picture.class_index][slot]
                key = (picture.class_index, variant.name, variant.feature)
                before = outcomes[key]
                outcomes[key] = Outcome(before.n + 1, before.clean + clean, before.noisy + noisy)
    return outcomes


@torch.no_grad()
def _one_batch(
    batch: Sequence[Picture],
    masks_of: Sequence[Mask],
    backbone: nn.Module,
    classifier: nn.Module,
    preprocessing: Preprocessing,
    sigma: float,
    seed: int,
) -> list[tuple[Picture, bool, bool]]:
    """The pictures that are tested, and whether each is right clean and noisy."""
    pixels = torch.stack([_open(picture.content, preprocessing) for picture in batch])
    maps = _maps(backbone, _normalise(pixels, preprocessing))
    phi = maps.mean(dim=(2, 3)).numpy()
    peak = maps.amax(dim=(2, 3), keepdim=True)
    nams = maps / peak.clamp(min=1e-30)
    side = pixels.shape[-1]
    masks = [mask_of(phi[i], nams[i], side) for i, mask_of in enumerate(masks_of)]
    tested = [i for i, mask in enumerate(masks) if mask is not None]
    if not tested:
        return []
    clean = pixels[tested]
    mask = torch.from_numpy(np.stack([masks[i] for i in tested]))[:, None]
    draws = torch.from_numpy(np.stack([draws_of_sample(seed, batch[i].sample, clean.shape[1:]) for i in tested]))
    noisy = (clean + mask * sigma * draws).clamp(0, 1)
    truth = torch.tensor([batch[i].class_index for i in tested])
    right = [(classifier(_normalise(shown, preprocessing)).argmax(dim=1) == truth).tolist() for shown in (clean, noisy)]
    return [(batch[i], *answers) for i, *answers in zip(tested, *right, strict=True)]


def _variants(bank: Bank, class_index: int) -> Iterator[Variant]:
    core, spurious = bank.core(class_index), bank.spurious(class_index)

    def union(features: Sequence[Feature]) -> Mask:
        def mask(phi: np.ndarray, nams: Tensor, side: int) -> np.ndarray | None:
            valid = [f.feature_index for f in features if phi[f.feature_index] >= max(f.statistics.valid_from, 1e-30)]
            if not valid:
                return None
            enlarged = functional.interpolate(nams[None, valid], size=(side, side), mode="bilinear")
            return enlarged[0].amax(dim=0).numpy()

        return mask

    def control(features: Sequence[Feature]) -> Mask:
        def mask(phi: np.ndarray, nams: Tensor, side: int) -> np.ndarray | None:
            tested, of_core = union(features)(phi, nams, side), union(core)(phi, nams, side)
            if tested is None:
                return None
            return _elsewhere(tested, tested if of_core is None else np.maximum(tested, of_core))

        return mask

    def outside(phi: np.ndarray, nams: Tensor, side: int) -> np.ndarray | None:
        of_core = union(core)(phi, nams, side)
        return None if of_core is None else 1 - of_core

    if spurious:
        yield Variant("spurious", -1, union(spurious))
        yield Variant("spurious_control", -1, control(spurious))
    if core:
        yield Variant("core", -1, union(core))
        yield Variant("core_control", -1, control(core))
        yield Variant("outside_core", -1, outside)
    for feature in bank.features(class_index):
        yield Variant("feature", feature.feature_index, union([feature]))
        yield Variant("feature_control", feature.feature_index, control([feature]))


def _elsewhere(mask: np.ndarray, avoid: np.ndarray) -> np.ndarray:
    """The mask rolled to where it overlaps least, by trying every place."""
    side = mask.shape[0]
    coarse, region = _coarse(mask), _coarse(avoid)
    overlaps = np.array(
        [[(np.roll(coarse, (dy, dx), (0, 1)) * region).sum() for dx in range(CELLS)] for dy in range(CELLS)]
    )
    row, column = divmod(int(np.round(overlaps / coarse.sum() * STEPS).argmin()), CELLS)
    return np.roll(mask, (row * side // CELLS, column * side // CELLS), (0, 1))


def _coarse(mask: np.ndarray) -> np.ndarray:
    return functional.adaptive_avg_pool2d(torch.from_numpy(mask)[None].double(), CELLS)[0].numpy()


def _open(content: bytes, preprocessing: Preprocessing) -> Tensor:
    """float [3, s, s] in [0, 1]: Resize and CenterCrop of Pillow pictures."""
    with Image.open(io.BytesIO(content)) as image:
        image = image.convert("RGB")
    side, size = preprocessing.resize or preprocessing.size, preprocessing.size
    scale = side / min(image.size)
    if scale != 1:
        width, height = (max(side, int(edge * scale)) for edge in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((image.width - size) / 2), round((image.height - size) / 2)
    pixels = np.array(image.crop((left, top, left + size, top + size)))
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


def _normalise(pixels: Tensor, preprocessing: Preprocessing) -> Tensor:
    mean = torch.tensor(preprocessing.mean).view(3, 1, 1)
    std = torch.tensor(preprocessing.std).view(3, 1, 1)
    return (pixels - mean) / std


def _maps(network: nn.Module, inputs: Tensor) -> Tensor:
    """The penultimate maps of a torchvision ResNet, through a hook as the release takes them."""
    kept: list[Tensor] = []
    handle = network.get_submodule("layer4").register_forward_hook(lambda module, args, output: kept.append(output))
    try:
        network(inputs)
    finally:
        handle.remove()
    return kept[0]
