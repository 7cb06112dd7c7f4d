"""Pictures of an export on their way through the backbone: decoded by several threads, one forward a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jobs.datasets import Sample, Skipped
from jobs.encodings import png
from jobs.export_request import ExportRequest
from jobs.pictures import Picture, PictureError, read_picture
from models.backbone import Backbone, Features
from models.geometry import Placement, place, prepare
from models.preprocessing import Preprocessing

ENDINGS = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp", "BMP": "bmp", "GIF": "gif", "TIFF": "tiff"}


@dataclass(frozen=True)
class Prepared:
    """A picture that was decoded.

    Attributes:
        sample: which picture; its bytes are let go.
        pixels: uint8 [3, s, s], the backbone's input.
        source: where that lies on the picture.
        target: the pixels its masks are wanted on.
        shown: ending and bytes of the picture on these pixels, where pictures are wanted.
    """

    sample: Sample
    pixels: Tensor
    source: Placement
    target: Placement
    shown: tuple[str, bytes] | None


class Looked(NamedTuple):
    """A batch of samples: those that could be used, with what one forward says of them, and those that could not."""

    pictures: list[Prepared]
    features: Features | None
    left_out: list[tuple[Sample, Skipped]]


def look(
    samples: Iterable[Sample],
    backbone: Backbone,
    request: ExportRequest,
    max_pixels: int,
    threads: Executor,
    progress: Callable[[int], None],
) -> Iterator[Looked]:
    """Run samples through the backbone, a batch at a time; nothing but the current batch is held.

    Args:
        samples: rows ascending; those without bytes are left out with their reason.
        backbone: of the bank.
        request: parameters.
        max_pixels: largest picture decoded.
        threads: decode; a picture at its full size is held by each of them and by nobody else.
        progress: called with the number of samples done before the first batch and after each; may raise to stop.
    """
    open_one = partial(_open, preprocessing=backbone.preprocessing, request=request, max_pixels=max_pixels)
    done, remaining = 0, iter(samples)
    progress(done)
    while batch := list(islice(remaining, request.batch_size)):
        opened = list(threads.map(open_one, batch))
        pictures = [one for one in opened if isinstance(one, Prepared)]
        left_out = [(s, one) for s, one in zip(batch, opened, strict=True) if isinstance(one, Skipped)]
        features = backbone.forward(torch.stack([one.pixels for one in pictures])) if pictures else None
        yield Looked(pictures, features, left_out)
        done += len(batch)
        progress(done)


def _open(sample: Sample, preprocessing: Preprocessing, request: ExportRequest, max_pixels: int) -> Prepared | Skipped:
    if isinstance(sample.content, Skipped):
        return sample.content
    try:
        picture = read_picture(sample.content, max_pixels)
    except PictureError as error:
        return Skipped(error.reason, error.message)
    height, width = picture.pixels.shape[:2]
    source = place(preprocessing, height, width)
    pixels = prepare(picture.pixels, preprocessing)
    original = request.size == "original"
    target = Placement.whole(height, width) if original else source
    shown = _shown(picture, sample.content, pixels, original) if request.pictures else None
    return Prepared(sample._replace(content=b""), pixels, source, target, shown)


def _shown(picture: Picture, content: bytes, pixels: Tensor, original: bool) -> tuple[str, bytes]:
    """The picture as its masks lie on it: the file itself where a viewer sees the same pixels, else a PNG."""
    if original and not picture.notes and picture.format in ENDINGS:
        return ENDINGS[picture.format], content
    seen: NDArray[np.uint8] = picture.pixels if original else pixels.permute(1, 2, 0).contiguous().numpy()
    return "png", png(seen)
