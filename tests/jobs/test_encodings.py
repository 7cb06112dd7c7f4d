"""What is written is what others read: Pillow, NumPy and pycocotools decode to the levels that went in."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools import mask as coco

from jobs.encodings import ZERO, npz, png, run_lengths, signed_levels, soft_levels

SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 40))


@given(arrays(np.uint8, SHAPES))
def test_a_png_holds_exactly_the_levels(levels: np.ndarray) -> None:
    with Image.open(io.BytesIO(png(levels))) as picture:
        picture.load()
        assert picture.mode == "L"
        np.testing.assert_array_equal(np.asarray(picture), levels)


def test_soft_levels_are_within_half_a_level() -> None:
    masks = torch.linspace(0, 1, 1001)
    levels = soft_levels(masks.clone())
    assert levels.dtype == torch.uint8
    assert levels[0] == 0
    assert levels[-1] == 255
    assert (levels.float() / 255 - masks).abs().max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize("largest", [1e-12, 0.3, 40.0])
def test_signed_levels_are_within_half_a_scale_and_zero_is_exact(largest: float) -> None:
    maps = torch.linspace(-1, 1, 513) * largest
    levels, scale = signed_levels(maps)
    assert ((levels.double() - ZERO) * scale - maps).abs().max() <= scale / 2 * (1 + 1e-4)
    assert levels[256] == ZERO


def test_signed_levels_of_nothing_are_zero() -> None:
    levels, scale = signed_levels(torch.zeros(3, 4))
    assert scale == 0
    assert (levels == ZERO).all()


def test_an_npz_keeps_names_shapes_and_types() -> None:
    content = {"core": np.ones((3, 5), np.float16), "contribution_core": np.full((3, 5), -0.25, np.float32)}
    with np.load(io.BytesIO(npz(content)), allow_pickle=False) as found:
        assert set(found) == set(content)
        for name, values in content.items():
            assert found[name].dtype == values.dtype
            np.testing.assert_array_equal(found[name], values)


@given(arrays(np.bool_, SHAPES))
def test_run_lengths_are_cocos(mask: np.ndarray) -> None:
    decoded = coco.decode({"size": list(mask.shape), "counts": run_lengths(mask).encode()})
    np.testing.assert_array_equal(decoded.astype(bool), mask)
