"""What stands in the place of a feature: it hides what it should, and nothing else changes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from models.blur import gaussian_blur
from models.fills import FILLS, blend, in_painted, register, shuffled_patches

SIDE = 56  # 14 patches of 4 pixels


def pictures(count: int = 2, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def draws(count: int = 2) -> Tensor:
    return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(9))


def square(count: int = 2) -> Tensor:
    masks = torch.zeros(count, SIDE, SIDE)
    masks[:, 12:32, 20:44] = 1
    return masks


@pytest.mark.parametrize("name", FILLS)
def test_a_fill_changes_nothing_outside_the_mask_and_stays_in_the_range(name: str) -> None:
    before, masks = pictures(), square()
    after = blend(before, masks, FILLS[name].apply(before, masks, draws()))
    outside = (masks == 0)[:, None].expand(before.shape)
    assert torch.equal(after[outside], before[outside])
    assert not torch.equal(after, before)
    assert 0 <= float(after.min()) <= float(after.max()) <= 1


@pytest.mark.parametrize("name", FILLS)
def test_a_picture_is_filled_alike_in_any_batch(name: str) -> None:
    before, masks, drawn = pictures(3), square(3), draws(3)
    together = FILLS[name].apply(before, masks, drawn)
    alone = FILLS[name].apply(before[1:2], masks[1:2], drawn[1:2])
    torch.testing.assert_close(together[1:2], alone, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", [name for name, fill in FILLS.items() if not fill.local])
def test_a_fill_that_is_not_local_is_the_same_under_every_mask(name: str) -> None:
    before = pictures()
    made = [FILLS[name].apply(before, masks, draws()) for masks in (square(), 1 - square())]
    assert torch.equal(*made)


def test_a_soft_mask_blends() -> None:
    before = pictures()
    half = blend(before, torch.full((2, SIDE, SIDE), 0.5), FILLS["grey"].apply(before, square(), draws()))
    torch.testing.assert_close(half, 0.5 * before + 0.25)


def test_blur_is_a_normalised_gaussian() -> None:
    """A second implementation: convolution, and by the weights that lie within the picture."""
    sigma, radius = 2.5, 20
    tap = torch.exp(-(torch.arange(-radius, radius + 1.0) ** 2) / (2 * sigma**2))
    kernel = (tap[:, None] * tap).expand(3, 1, -1, -1)
    before = pictures()
    summed = functional.conv2d(before, kernel, padding=radius, groups=3)
    weights = functional.conv2d(torch.ones_like(before), kernel, padding=radius, groups=3)
    torch.testing.assert_close(gaussian_blur(before, sigma), summed / weights, atol=1e-4, rtol=1e-4)


def test_shuffled_patches_are_the_same_patches_in_another_order() -> None:
    before, masks = pictures(), square()
    after = shuffled_patches(before, masks, draws())
    inside = masks[0] == 1
    for own, other in zip(before, after, strict=True):
        torch.testing.assert_close(own[:, inside].sort(dim=1).values, other[:, inside].sort(dim=1).values)
        assert torch.equal(own[:, ~inside], other[:, ~inside])
    first = [after[0, :, 12:16, 20:24], after[1, :, 12:16, 20:24]]
    assert not torch.equal(first[0], before[0, :, 12:16, 20:24]) or not torch.equal(
        first[1], before[1, :, 12:16, 20:24]
    )


def test_other_draws_shuffle_otherwise_and_one_patch_has_nowhere_to_go() -> None:
    before, masks = pictures(), square()
    assert not torch.equal(shuffled_patches(before, masks, draws()), shuffled_patches(before, masks, -draws()))
    single = torch.zeros(2, SIDE, SIDE)
    single[:, 12:16, 20:24] = 1
    assert torch.equal(shuffled_patches(before, single, draws()), before)


def test_in_painting_takes_nothing_of_what_it_hides() -> None:
    before, masks = pictures(), square()
    inside = masks[:, None].expand(before.shape) == 1
    other = torch.where(inside, 1 - before, before)
    assert torch.equal(in_painted(before, masks, draws()), in_painted(other, masks, draws()))


def test_in_painting_continues_what_surrounds_the_mask() -> None:
    ramp = (torch.arange(SIDE) / SIDE).expand(2, 3, SIDE, SIDE).clone()
    constant = torch.full((2, 3, SIDE, SIDE), 0.7)
    masks = square()
    inside = masks[0] == 1
    torch.testing.assert_close(in_painted(constant, masks, draws()), constant)
    error = (in_painted(ramp, masks, draws()) - ramp)[:, :, inside].abs()
    assert float(error.mean()) < 0.06  # of a rise of 0.43 across the hole; grey would be off by 0.1 and more
    everything = in_painted(constant, torch.ones(2, SIDE, SIDE), draws())
    torch.testing.assert_close(everything, torch.full_like(everything, 0.5))


def test_names_are_unique() -> None:
    with pytest.raises(ValueError, match="registered already"):
        register(FILLS["grey"])
