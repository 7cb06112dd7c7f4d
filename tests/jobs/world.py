"""A world small enough to know every answer: coloured squares, a backbone that sees colours, classifiers made to order.

Hens are red squares, owls blue ones, both on grey; a green square is the cue of hens, a yellow one that of
owls, where they have one. The backbone's features are
the exact colours' places, so masks, activations and what each classifier looks at are known without training.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from jobs.audit_request import AuditRequest
from jobs.audit_subjects import Subjects
from jobs.class_map import map_classes
from jobs.classification import Predict
from jobs.datasets import Pictures, Sample
from models.backbone import Backbone
from models.bank import BackboneEntry, Bank, Feature, Label, Manifest, Statistics, Votes
from models.preprocessing import Preprocessing

SIDE, CELLS = 64, 16
GREY, RED, GREEN, BLUE, YELLOW = (128, 128, 128), (230, 40, 40), (40, 230, 40), (40, 40, 230), (230, 230, 40)
COLOURS = (RED, GREEN, BLUE, YELLOW)
CLASSES = ("hen", "owl", "elk")
PREPROCESSING = Preprocessing(size=SIDE)
REQUEST = AuditRequest(classifier="c", dataset="d", bank="world", batch_size=8)


def feature(class_index: int, channel: int, rank: int, label: Label, valid_from: float = 0.01) -> Feature:
    return Feature(
        class_index=class_index,
        feature_index=channel,
        rank=rank,
        importance=1.0 / rank,
        label=label,
        kind="main_object" if label == "core" else "separate_object",
        votes=Votes(main_object=5) if label == "core" else Votes(separate_object=5),
        statistics=Statistics(images=50, mean=0.05, std=0.02, valid_from=valid_from, valid_to=0.2),
    )


def bank(*features: Feature) -> Bank:
    """Hens: red is core, green spurious; owls: blue is core; nobody labelled elks."""
    manifest = Manifest(
        name="world",
        title="Coloured squares",
        licence="Apache-2.0",
        labeller="by construction",
        classes=CLASSES,
        backbone=BackboneEntry(architecture="resnet18", preprocessing=PREPROCESSING, maps=(len(COLOURS), CELLS, CELLS)),
        features=features or (feature(0, 0, 1, "core"), feature(0, 1, 2, "spurious"), feature(1, 2, 1, "core")),
    )
    return Bank(Path("world"), manifest)


def bank_of_two_cues() -> Bank:
    """The same, and yellow is spurious for owls."""
    hen, owl = (feature(0, 0, 1, "core"), feature(0, 1, 2, "spurious")), (feature(1, 2, 1, "core"),)
    return bank(*hen, *owl, feature(1, 3, 2, "spurious"))


def colour_share(pixels: Tensor, colour: tuple[int, int, int], tolerance: float) -> Tensor:
    """Where pixels (float [N, 3, H, W] in [0, 1]) have a colour: float [N, H, W], 0 or 1."""
    target = torch.tensor(colour).view(1, 3, 1, 1) / 255
    return ((pixels - target).abs().amax(dim=1) <= tolerance).float()


def backbone() -> Backbone:
    """Maps, one per colour; the head adds up red and green for hens, blue and yellow for owls."""

    def trunk(pictures: Tensor) -> Tensor:
        maps = [colour_share(pictures.float() / 255, colour, 0.1) for colour in COLOURS]
        return functional.adaptive_avg_pool2d(torch.stack(maps, dim=1), CELLS)

    return Backbone(
        architecture="world",
        preprocessing=PREPROCESSING,
        weight=torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]]),
        bias=torch.zeros(3),
        trunk=trunk,
        precision="fp32",
        runtime="torch",
        provider="torch-cpu",
        weights_digest="0" * 64,
    )


def looking_at(hen: tuple[int, int, int]) -> Predict:
    """A classifier that says hen where clean pixels of one colour fill more than 3 % of the picture, else owl."""

    def predict(batch: np.ndarray) -> np.ndarray:
        share = colour_share(torch.from_numpy(batch), hen, 0.02).mean(dim=(1, 2)).numpy()
        return np.stack([100 * (share - 0.03), np.zeros_like(share)], axis=1).astype(np.float32)

    return predict


def picture(
    object_colour: tuple[int, int, int],
    at: tuple[int, int],
    cue: tuple[int, int] | None,
    cue_colour: tuple[int, int, int] = GREEN,
) -> np.ndarray:
    """uint8 [64, 64, 3]: an object of 16 x 16 pixels, and a cue of the same size if it has a place."""
    pixels = np.empty((SIDE, SIDE, 3), dtype=np.uint8)
    pixels[:] = GREY
    pixels[at[0] : at[0] + 16, at[1] : at[1] + 16] = object_colour
    if cue is not None:
        pixels[cue[0] : cue[0] + 16, cue[1] : cue[1] + 16] = cue_colour
    return pixels


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def samples(hens: int, owls: int, cue: Callable[[int], bool] = lambda i: True, owls_cue: bool = False) -> list[Sample]:
    """Hens with (or without) the cue below them, then owls, without if not asked for; object places differ."""
    found = []
    for i in range(hens):
        at = (4 * (i % 4), 8 * (i % 7))
        pixels = picture(RED, at, (40, (at[1] + 20) % 48) if cue(i) else None)
        found.append(Sample(i, f"hen/{i}.png", 0, png(pixels)))
    for i in range(hens, hens + owls):
        at = (4 * (i % 8), 8 * (i % 5)) if not owls_cue else (4 * (i % 4), 8 * (i % 5))
        pixels = picture(BLUE, at, (44, 8 * (i % 6)) if owls_cue else None, YELLOW)
        found.append(Sample(i, f"owl/{i}.png", 1, png(pixels)))
    return found


def opened(item: Sample) -> np.ndarray:
    """The pixels of a sample, uint8 [64, 64, 3]."""
    assert isinstance(item.content, bytes)
    return np.asarray(Image.open(io.BytesIO(item.content)))


def pictures(items: Sequence[Sample]) -> Pictures:
    """A data set of these samples, whose rows are their places."""
    labels = np.array([item.label for item in items], dtype=np.int32)
    return Pictures(labels, lambda rows: [items[row] for row in rows])


def subjects(
    predict: Predict,
    of: Bank | None = None,
    preprocessing: Preprocessing = PREPROCESSING,
    dataset: Sequence[Sample] = (),
) -> Subjects:
    """An audit of a classifier of hens and owls on folders of these names; without a data set nobody lends cues."""
    labels = of or bank()
    classes = map_classes(labels, ["hen", "owl"], ["hen", "owl"])
    return Subjects(
        bank=labels,
        backbone=backbone(),
        predict=predict,
        preprocessing=preprocessing,
        classes=classes,
        pictures=pictures(dataset),
        provider="made to order",
    )


def counted(items: list[Sample], done: list[int]) -> Iterator[Sample]:
    """The samples, noting how many were asked for."""
    for item in items:
        done.append(item.row)
        yield item
