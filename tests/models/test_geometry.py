"""Pictures and masks stay aligned through resize, crop, and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from models.geometry import Placement, Preprocessing, carry, normalise, place, prepare, spread

IMAGENET = Preprocessing(size=224, resize=256, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
SHAPES = [(256, 256), (300, 500), (640, 333), (224, 224), (50, 90)]


def blob(height: int, width: int, top: int, left: int, side: int) -> np.ndarray:
    picture = np.zeros((height, width, 3), dtype=np.uint8)
    picture[top : top + side, left : left + side] = 255
    return picture


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_placement_is_resize_then_centre_crop(height: int, width: int) -> None:
    placement = place(IMAGENET, height, width)
    assert min(placement.rows.resized, placement.columns.resized) == 256
    assert placement.rows.length == placement.columns.length == 224
    for axis in (placement.rows, placement.columns):
        assert abs(2 * axis.offset + axis.length - axis.resized) <= 1


def test_stretch_ignores_the_aspect_ratio() -> None:
    placement = place(Preprocessing(size=64, resize_rule="stretch"), 100, 300)
    assert (placement.rows.resized, placement.columns.resized) == (64, 64)


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_a_mask_carried_back_covers_what_the_network_saw(height: int, width: int) -> None:
    """A square drawn on the picture, seen through the crop and carried back, lies where it was drawn."""
    side = min(height, width) // 4
    top, left = (height - side) // 2 + side // 3, (width - side) // 2 - side // 3
    drawn = blob(height, width, top, left, side)
    seen = prepare(drawn, IMAGENET)[:1].float() / 255
    back = carry(seen[None], [place(IMAGENET, height, width)], [Placement.whole(height, width)])[0, 0]
    truth = torch.from_numpy(drawn[..., 0] > 0)
    found = back > 0.5
    assert (truth & found).sum() / (truth | found).sum() > 0.9


def test_a_second_resize_and_crop_would_be_noticed() -> None:
    """The released evaluation's zoom, 1.143 about the centre: IoU .55 for a 48-pixel square at (56, 56)."""
    drawn = blob(224, 224, 32, 32, 48)
    zoomed = functional.interpolate(torch.from_numpy(drawn[None, ..., 0]).float()[None], size=256)[..., 16:240, 16:240]
    truth = torch.from_numpy(drawn[..., 0] > 0)
    assert (truth & (zoomed[0, 0] > 0)).sum() / (truth | (zoomed[0, 0] > 0)).sum() < 0.6


def test_carry_between_networks_agrees_with_going_through_the_picture() -> None:
    other = Preprocessing(size=96, resize=100)
    height, width = 300, 420
    seen = torch.rand(1, 1, 7, 7)
    source, target = place(IMAGENET, height, width), place(other, height, width)
    direct = carry(seen, [source], [target])
    whole = Placement.whole(height, width)
    through = carry(carry(seen, [source], [whole]), [whole], [target])
    assert torch.allclose(direct[..., 8:-8, 8:-8], through[..., 8:-8, 8:-8], atol=0.03)


def test_carry_on_its_own_grid_is_bilinear_with_half_pixel_centres() -> None:
    maps = torch.rand(3, 2, 7, 7)
    placements = [place(IMAGENET, 300, 200 + i) for i in range(3)]
    expected = functional.interpolate(maps, size=(224, 224), mode="bilinear", align_corners=False)
    assert torch.allclose(carry(maps, placements, placements), expected, atol=1e-5)


def test_outside_the_crop_nothing_is_claimed() -> None:
    source = place(IMAGENET, 300, 600)
    laid = carry(torch.ones(1, 1, 7, 7), [source], [Placement.whole(300, 600)])[0, 0]
    assert laid[150, 300] == 1
    assert laid[150, 5] == 0
    assert laid[150, 595] == 0
    assert laid[3, 300] == 0


def test_non_square_pictures_keep_their_orientation() -> None:
    laid = carry(torch.rand(1, 1, 7, 7), [place(IMAGENET, 300, 500)], [Placement.whole(300, 500)])
    assert laid.shape == (1, 1, 300, 500)


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_spread_keeps_the_total_of_signed_maps(height: int, width: int) -> None:
    amounts = torch.randn(1, 3, 7, 7)
    source = place(IMAGENET, height, width)
    for target in (source, Placement.whole(height, width)):
        assert torch.allclose(spread(amounts, [source], [target]).sum((2, 3)), amounts.sum((2, 3)), atol=1e-4)


def test_batch_of_one_equals_its_row_in_a_mixed_batch() -> None:
    maps = torch.rand(3, 2, 5, 5)
    sources = [place(IMAGENET, h, w) for h, w in SHAPES[:3]]
    targets = [place(Preprocessing(size=64), h, w) for h, w in SHAPES[:3]]
    together = carry(maps, sources, targets)
    alone = torch.cat([carry(maps[i : i + 1], sources[i : i + 1], targets[i : i + 1]) for i in range(3)])
    assert torch.allclose(together, alone, atol=1e-6)


def test_normalise_bytes_and_unit_floats_agree() -> None:
    pixels = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    from_bytes = normalise(pixels, IMAGENET)
    assert torch.allclose(from_bytes, normalise(pixels.float() / 255, IMAGENET), atol=1e-5)
    mean, std = torch.tensor(IMAGENET.mean).view(3, 1, 1), torch.tensor(IMAGENET.std).view(3, 1, 1)
    assert torch.allclose(from_bytes, (pixels.float() / 255 - mean) / std, atol=1e-5)


def test_normalise_follows_colour_scale_and_layout() -> None:
    caffe = Preprocessing(size=8, mean=(104, 117, 123), colour="BGR", scale="byte", layout="NHWC")
    pixels = torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8)
    result = normalise(pixels, caffe)
    assert result.shape == (1, 8, 8, 3)
    assert torch.allclose(result[0, :, :, 0], pixels[0, 2].float() - 104)
    assert torch.allclose(normalise(pixels.float() / 255, caffe), result, atol=1e-4)


def test_a_crop_larger_than_the_resized_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="resize"):
        Preprocessing(size=224, resize=200)
    with pytest.raises(ValueError, match="std"):
        Preprocessing(size=224, std=(1, 0, 1))
