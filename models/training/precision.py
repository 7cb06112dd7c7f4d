"""How well a bank's masks find the planted cues and objects, next to Grad-CAM and to no mask at all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from models.backbone import Backbone
from models.bank import Feature, Kind
from models.gradcam import gradcam
from models.masks import Selection, nams, union
from models.planted.rendering import Picture
from models.planted.scenes import CLASSES
from models.statistics import average_precision
from models.training.features import forward
from models.training.overlap import upsampled

Truth = Callable[[Picture], np.ndarray]

TRUTHS: Mapping[str, Truth] = {
    "core": lambda picture: picture.object_mask,
    "spurious": lambda picture: picture.cue_mask,
    "background": lambda picture: picture.background_cue_mask,
    "separate_object": lambda picture: picture.prop_cue_mask,
}
"""What each region's masks are held against."""


def mask_precision(
    backbone: Backbone, features: Mapping[int, Sequence[Feature]], pictures: Sequence[Picture]
) -> dict[str, dict[str, dict[str, float]]]:
    """Pixelwise average precision, for each class the mean over its pictures (masks of the label, not the prediction).

    features: the labelled features by class index; pictures: held-out ones.
    Returns {region: {class: {"mask", "gradcam", "all_ones", "pictures"}}} with the regions "core" (the core mask
    against the object), "spurious" (the spurious mask against all of the label's cues) and, of each kind of spurious
    feature alone, "background" and "separate_object" (against the cue of that kind). Only pictures that show the
    region count. ``all_ones`` is the share of the picture that the region takes, which is what a mask that says
    nothing reaches.
    """
    classes = torch.tensor([CLASSES.index(picture.scene.label) for picture in pictures])
    images = torch.stack([torch.from_numpy(picture.image.transpose(2, 0, 1).copy()) for picture in pictures])
    rows = [features.get(index, ()) for index in classes.tolist()]
    selection = Selection.of(rows)
    members = {
        "core": selection.core,
        "spurious": selection.spurious,
        "background": _of_kind(rows, "background", selection),
        "separate_object": _of_kind(rows, "separate_object", selection),
    }
    masks: dict[str, list[torch.Tensor]] = {region: [] for region in members}
    cams = []
    done = 0
    for found in forward(backbone, images):
        part = slice(done, done + len(found.phi))
        done = part.stop
        maps = found.maps.cpu()
        chosen = maps[torch.arange(len(maps))[:, None], selection.channels[part]]
        soft = upsampled(nams(chosen))
        for region, member in members.items():
            masks[region].append(union(soft, member[part]))
        cam = gradcam(maps, backbone.weight.cpu()[classes[part]])
        cams.append(upsampled(nams(cam)[:, None])[:, 0])
    gradcams = torch.cat(cams).numpy()
    return {
        region: _by_class(torch.cat(masks[region]).numpy(), gradcams, pictures, TRUTHS[region]) for region in members
    }


def _of_kind(rows: Sequence[Sequence[Feature]], kind: Kind, selection: Selection) -> torch.Tensor:
    members = torch.zeros_like(selection.spurious)
    for picture, row in enumerate(rows):
        for position, feature in enumerate(row):
            members[picture, position] = feature.kind == kind
    return members


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
