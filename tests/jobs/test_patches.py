"""A user's own patch: what is read, and how each way of spoiling it is told."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from jobs.patches import MOST_BYTES, MOST_SIDE, open_patch


def encoded(pixels: np.ndarray, format_name: str = "PNG") -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format_name)
    return base64.b64encode(stream.getvalue()).decode()


def test_a_patch_has_its_pixels_and_its_transparency() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 4), dtype=np.uint8)
    assert np.array_equal(open_patch(encoded(pixels)).permute(1, 2, 0).numpy(), pixels)
    opaque = open_patch(encoded(pixels[..., :3]))
    assert opaque.shape == (4, 5, 7)
    assert bool((opaque[3] == 255).all())


NOISE = np.random.default_rng(0).integers(0, 256, (MOST_SIDE, MOST_SIDE, 3), dtype=np.uint8)
SMALL = encoded(np.full((4, 4, 3), 9, dtype=np.uint8))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not base64!", "not base64"),
        ("", "no PNG"),
        (base64.b64encode(b"hello").decode(), "no PNG"),
        (encoded(np.zeros((4, 4, 3), np.uint8), "BMP"), "no PNG"),
        (SMALL[: len(SMALL) // 8 * 4], "no PNG|cannot be decoded"),
        (encoded(NOISE), f"more than {MOST_BYTES // 1024} KiB"),
        (encoded(np.zeros((1, MOST_SIDE + 1, 3), np.uint8)), f"at most {MOST_SIDE} a side"),
        (encoded(np.zeros((4, 4, 4), np.uint8)), "transparent everywhere"),
    ],
)
def test_what_is_no_patch_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_patch(text)
