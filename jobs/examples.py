"""Pictures for a report: where the worst features lie, and what noise on them and swaps did to the classifier."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from jobs import rows
from jobs.audit_request import AuditRequest
from jobs.counts import Worst, WorstSwap
from jobs.datasets import Sample, Skipped
from jobs.donors import Donor
from jobs.findings import ClassFindings, FeatureFindings
from jobs.pictures import decode
from jobs.swaps import regions, swap
from jobs.variants import Seen, variants_of
from jobs.views import View, view_of
from models.backbone import Backbone
from models.bank import Bank, Feature
from models.corruptions import CORRUPTIONS, draws_of_sample
from models.geometry import Preprocessing
from models.masks import Selection, union

MOST_FEATURES, MOST_OF_ONE_CLASS = 6, 2
MOST_SWAPS = 3
SMALLEST_SIDE, LARGEST_SIDE = 192, 288
OUTLINE = (255, 122, 0)

Read = Callable[[Sequence[int]], Iterable[Sample]]
"""Reads some rows of the data set, which ascend."""


@dataclass(frozen=True)
class Viewer:
    """What it takes to see a few pictures again as the audit saw them.

    Attributes:
        bank, backbone: the labels and their network.
        classifier: how pictures become the classifier's input.
        of_label: class index in the bank per label of the data set.
        read: the data set.
        max_pixels: as in the settings.
    """

    bank: Bank
    backbone: Backbone
    classifier: Preprocessing
    of_label: NDArray[np.int32]
    read: Read
    max_pixels: int

    def views(self, rows: Iterable[int]) -> dict[int, View]:
        """Those of some rows that can still be read."""
        return {
            sample.row: view_of(
                decode(sample.content, self.max_pixels),
                sample.row,
                sample.sample,
                int(self.of_label[sample.label]),
                self.backbone.preprocessing,
                self.classifier,
            )
            for sample in self.read(sorted(set(rows)))
            if not isinstance(sample.content, Skipped)
        }

    def see(self, views: Sequence[View]) -> tuple[list[tuple[Feature, ...]], Seen]:
        """The labelled features of each picture, and where they lie."""
        labelled = [self.bank.features(view.class_index) for view in views]
        features = self.backbone.forward(torch.stack([view.backbone_pixels for view in views]))
        selection = Selection.of(labelled, features.phi.device)
        return labelled, Seen.of(features, selection, [view.source for view in views], [view.target for view in views])


@dataclass(frozen=True)
class Example:
    """One picture and what became of it; pictures are `data:` URIs of JPEG files, as the classifier sees them.

    Attributes:
        worst: which picture, and the probabilities of its class.
        picture, overlay, tested, control: unchanged; with the feature lit and outlined; with noise on the feature; with
            the same noise elsewhere.
    """

    worst: Worst
    picture: str
    overlay: str
    tested: str
    control: str


@dataclass(frozen=True)
class Exhibit:
    """A spurious feature with the pictures on which it matters most."""

    class_name: str
    findings: FeatureFindings
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class SwapExample:
    """One picture with the spurious features of others; pictures as in `Example`.

    Attributes:
        worst: which picture, and the probabilities of its class: control with `same`, tested with `other`.
        other_class: whose features `other` shows.
        picture, overlay, same, other: unchanged; with its spurious features lit and outlined; with the features of
            another picture of its class; with those of another class.
    """

    worst: Worst
    other_class: str
    picture: str
    overlay: str
    same: str
    other: str


@dataclass(frozen=True)
class SwapExhibit:
    """A class with the pictures that lose most to a swap."""

    findings: ClassFindings
    examples: tuple[SwapExample, ...]


def exhibits(
    classes: Sequence[ClassFindings],
    worst: Mapping[tuple[int, int], Sequence[Worst]],
    viewer: Viewer,
    request: AuditRequest,
) -> list[Exhibit]:
    """The features on which noise takes most evidence beyond its control, each with its worst pictures.

    Those of flagged classes come first; features whose interval does not lie above 0 are not shown. These few pictures
    are read again and their masks computed again as in the audit.
    """
    chosen = _strongest(classes, worst)
    views = viewer.views(entry.row for own, feature in chosen for entry in worst[own.index, feature.feature])
    found = []
    for own, feature in chosen:
        shown = [
            _example(views[entry.row], entry, feature.feature, viewer, request)
            for entry in worst[own.index, feature.feature]
            if entry.row in views
        ]
        found.append(Exhibit(own.name, feature, tuple(example for example in shown if example is not None)))
    return [exhibit for exhibit in found if exhibit.examples]


def swap_exhibits(
    classes: Sequence[ClassFindings], worst: Mapping[int, Sequence[WorstSwap]], viewer: Viewer
) -> list[SwapExhibit]:
    """The classes of the largest swap gaps whose interval lies above 0, each with the pictures that lose most."""
    gaps = [own for own in classes if (own.swap_gap.low or 0) > 0 and worst.get(own.index)]
    gaps = sorted(gaps, key=lambda own: -(own.swap_gap.value or 0))[:MOST_SWAPS]
    views = viewer.views(row for own in gaps for entry in worst[own.index] for row in entry.rows)
    found = []
    for own in gaps:
        shown = [
            _swap_example(entry, [views[row] for row in entry.rows], viewer)
            for entry in worst[own.index]
            if views.keys() >= set(entry.rows)
        ]
        found.append(SwapExhibit(own, tuple(shown)))
    return [exhibit for exhibit in found if exhibit.examples]


@torch.inference_mode()
def _swap_example(entry: WorstSwap, views: Sequence[View], viewer: Viewer) -> SwapExample:
    seen = viewer.see(views)[1]
    spurious, core = regions(seen)
    inputs = [view.classifier_pixels for view in views]
    donors = [Donor(views[i].row, views[i].class_index, inputs[i], spurious[i], core[i]) for i in (1, 2)]
    shown = [inputs[0], *(swap(inputs[0], spurious[0], core[0], donor) for donor in donors)]
    picture, same, other = (_enlarged(pixels.float() / 255) for pixels in shown)
    mask = _enlarged(union(seen.masks, seen.spurious)[:1].cpu(), smooth=True)[0]
    return SwapExample(
        worst=entry.worst,
        other_class=viewer.bank.classes[views[2].class_index],
        picture=data_uri(picture),
        overlay=data_uri(spotlight(picture, mask)),
        same=data_uri(same),
        other=data_uri(other),
    )


def _strongest(
    classes: Sequence[ClassFindings], worst: Mapping[tuple[int, int], Sequence[Worst]]
) -> list[tuple[ClassFindings, FeatureFindings]]:
    """At most `MOST_FEATURES`, and `MOST_OF_ONE_CLASS` of each class, flagged classes first."""
    found = [
        (own, feature)
        for own in classes
        for feature in sorted(
            (f for f in own.features if (f.evidence.low or 0) > 0 and worst.get((own.index, f.feature))),
            key=lambda f: -(f.evidence.value or 0),
        )[:MOST_OF_ONE_CLASS]
    ]
    found.sort(key=lambda pair: (pair[0].verdict != "relies", -(pair[1].evidence.value or 0)))
    return found[:MOST_FEATURES]


@torch.inference_mode()
def _example(view: View, worst: Worst, feature_index: int, viewer: Viewer, request: AuditRequest) -> Example | None:
    """None where the feature no longer counts on the picture, being at the very edge of its validated range."""
    (labelled,), seen = viewer.see([view])
    variants = variants_of(seen, swapped=[])
    place = [feature.feature_index for feature in labelled].index(feature_index)
    pixels = view.classifier_pixels.float() / 255
    draws = torch.from_numpy(draws_of_sample(request.seed, view.sample, tuple(pixels.shape)))

    def corrupted(variant: str) -> tuple[Tensor, Tensor]:
        uses = variants.uses
        row = np.flatnonzero((uses.variant == rows.VARIANTS.index(variant)) & (uses.place == place))[0]
        mask = variants.masks[int(uses.source[row])].cpu()
        corrupt = CORRUPTIONS[request.corruption].apply
        return mask, corrupt(pixels[None], mask[None], draws[None], request.sigma)[0]

    if not (variants.uses.place == place).any():
        return None
    mask, tested = corrupted(rows.FEATURE)
    _, control = corrupted(rows.FEATURE_CONTROL)
    return Example(
        worst=worst,
        picture=data_uri(_enlarged(pixels)),
        overlay=data_uri(spotlight(_enlarged(pixels), _enlarged(mask[None], smooth=True)[0])),
        tested=data_uri(_enlarged(tested)),
        control=data_uri(_enlarged(control)),
    )


def spotlight(picture: Tensor, mask: Tensor) -> Tensor:
    """A picture that is grey and dim where the mask is 0, itself where it is 1, outlined where it crosses 1/2.

    Args:
        picture: float [3, H, W] in [0, 1].
        mask: float [H, W] in [0, 1].

    Returns:
        float [3, H, W] in [0, 1].
    """
    dim = 0.35 * picture.mean(dim=0, keepdim=True) + 0.08
    lit = dim + mask * (picture - dim)
    inside = (mask >= 0.5).float()[None, None]
    eroded = -functional.max_pool2d(-inside, kernel_size=5, stride=1, padding=2)
    edge = (inside - eroded)[0]
    return lit * (1 - edge) + torch.tensor(OUTLINE).view(3, 1, 1) / 255 * edge


def data_uri(picture: Tensor) -> str:
    """A picture (float [3, H, W] in [0, 1]) as a `data:` URI of a JPEG file."""
    pixels: NDArray[np.uint8] = (picture.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=88, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def _enlarged(image: Tensor, smooth: bool = False) -> Tensor:
    """[C, s, s] at a size to look at: small ones with visible pixels (or smooth, for masks), large ones reduced."""
    side = image.shape[-1]
    if side > LARGEST_SIDE:
        return functional.interpolate(image[None], size=(LARGEST_SIDE, LARGEST_SIDE), mode="area")[0]
    size = side * -(-SMALLEST_SIDE // side)
    mode = "bilinear" if smooth else "nearest"
    return functional.interpolate(image[None], size=(size, size), mode=mode)[0]
