"""How well a bank's masks find the planted cues and objects, next to Grad-CAM and to no mask at all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from models.backbone import Backbone
from models.bank import Feature
from models.gradcam import gradcam
from models.masks import Selection, nams, union
from models.planted.rendering import Picture
from models.planted.scenes import CLASSES
from models.statistics import average_precision
from models.training.features import forward
from models.training.overlap import upsampled

Truth = Callable[[Picture], np.ndarray]


def mask_precision(
    backbone: Backbone, features: Mapping[int, Sequence[Feature]], pictures: Sequence[Picture]
) -> dict[str, dict[str, dict[str, float]]]:
    """Pixelwise average precision, for each class the mean over its pictures (masks of the label, not the prediction).

    features: the labelled features by class index; pictures: held-out ones.
    Returns {"spurious" | "core": {class: {"mask", "gradcam", "all_ones", "pictures"}}}: the spurious mask against the
    cue mask, on pictures that show the label's cue, and the core mask against the object mask. ``all_ones`` is the
    share of the picture that the region takes, which is what a mask that says nothing reaches.
    """
    classes = torch.tensor([CLASSES.index(picture.scene.label) for picture in pictures])
    images = torch.stack([torch.from_numpy(picture.image.transpose(2, 0, 1).copy()) for picture in pictures])
    selection = Selection.of([features.get(index, ()) for index in classes.tolist()])
    core, spurious, cams = [], [], []
    for start, found in enumerate(forward(backbone, images)):
        rows = slice(start * 100, start * 100 + len(found.phi))
        part = Selection(*(values[rows] for values in vars(selection).values()))
        maps = found.maps.cpu()
        masks = upsampled(nams(part.gather(maps)))
        core.append(union(masks, part.core))
        spurious.append(union(masks, part.spurious))
        cam = gradcam(maps, backbone.weight.cpu()[classes[rows]])
        cams.append(upsampled(nams(cam)[:, None])[:, 0])
    gradcams = torch.cat(cams).numpy()
    truths: dict[str, tuple[np.ndarray, Truth]] = {
        "spurious": (torch.cat(spurious).numpy(), lambda picture: picture.cue_mask),
        "core": (torch.cat(core).numpy(), lambda picture: picture.object_mask),
    }
    return {name: _by_class(masks, gradcams, pictures, truth) for name, (masks, truth) in truths.items()}


def _by_class(
    masks: np.ndarray, gradcams: np.ndarray, pictures: Sequence[Picture], truth: Truth
) -> dict[str, dict[str, float]]:
    scores: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for mask, cam, picture in zip(masks, gradcams, pictures, strict=True):
        region = truth(picture)
        if region.any():
            scores[picture.scene.label].append(
                (average_precision(mask, region), average_precision(cam, region), float(region.mean()))
            )
    table = {}
    for label in sorted(scores):
        mask_mean, cam_mean, share = np.mean(scores[label], axis=0)
        table[label] = {
            "mask": round(float(mask_mean), 3),
            "gradcam": round(float(cam_mean), 3),
            "all_ones": round(float(share), 3),
            "pictures": len(scores[label]),
        }
    return table
