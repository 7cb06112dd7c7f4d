"""Planted pictures as training data, drawn once and kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from models.planted.rendering import render
from models.planted.scenes import CLASSES, Scene
from models.training.pictures import LabelledPictures
from models.training.progress import progress


def draw_pictures(scenes: Sequence[Scene], cache: Path | None = None) -> LabelledPictures:
    """The scenes' pictures, labelled with the scenes' labels.

    cache: folder in which the pixels are kept under a digest of the scenes, so that the same scenes are drawn once.
    A change of the generator's code does not change the digest: empty the folder then.
    """
    labels = torch.tensor([CLASSES.index(scene.label) for scene in scenes])
    names = tuple(f"{scene.label}/{scene.seed}-{scene.index}" for scene in scenes)
    digest = hashlib.sha256(repr(list(scenes)).encode()).hexdigest()[:16]
    kept = cache / f"planted-{digest}.safetensors" if cache else None
    if kept and kept.exists():
        return LabelledPictures(load_file(kept)["images"], labels, CLASSES, names)
    drawn = []
    with progress("drawing planted pictures", len(scenes)) as advance:
        for scene in scenes:
            drawn.append(torch.from_numpy(render(scene).image.transpose(2, 0, 1).copy()))
            advance()
    images = torch.stack(drawn)
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(".partial")
        save_file({"images": images}, partial)
        partial.replace(kept)
    return LabelledPictures(images, labels, CLASSES, names)
