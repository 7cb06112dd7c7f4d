"""Controls of the same energy, and further draws of the same noise."""

from __future__ import annotations

import pytest
import torch

from models.corruptions import add_gaussian_noise, energies
from models.energy import TOLERANCE, further_draws, matched


def scene() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Four pictures of pure colours, where noise is clipped; a mask; draws."""
    generator = torch.Generator().manual_seed(0)
    pictures = (torch.rand(4, 3, 32, 32, generator=generator) > 0.5).float()
    pictures[:, :, :, 16:] = 0.5
    masks = torch.zeros(4, 32, 32)
    masks[:, 4:16, 2:14] = torch.rand(4, 12, 12, generator=generator)
    return pictures, masks, torch.randn(4, 3, 32, 32, generator=generator)


@pytest.mark.parametrize("sigma", [0.125, 0.25, 0.5])
def test_a_matched_control_has_the_energy_of_what_it_controls_where_the_rolled_mask_alone_has_not(sigma: float) -> None:
    pictures, masks, draws = scene()
    wanted = energies(pictures, add_gaussian_noise(pictures, masks, draws, sigma))
    control = masks.roll(16, dims=2) * sigma
    plain = energies(pictures, add_gaussian_noise(pictures, control, draws, 1.0))
    assert bool(((plain - wanted).abs() > 0.1 * wanted).all())  # grey clips less than pure colours
    made = matched(pictures, control, draws, wanted)
    assert bool(((energies(pictures, made) - wanted).abs() <= TOLERANCE * wanted).all())
    back = matched(pictures, masks * sigma, draws, plain)  # and the other way round, upwards
    assert bool(((energies(pictures, back) - plain).abs() <= TOLERANCE * plain).all())
    assert 0 <= float(made.min()) <= float(made.max()) <= 1


def test_what_clipping_forbids_stays_below_and_says_so() -> None:
    pictures, masks, draws = scene()
    wanted = torch.full((4,), 100.0)
    realised = energies(pictures, matched(pictures, masks, draws, wanted))
    assert bool((realised < wanted * (1 - TOLERANCE)).all())
    nothing = matched(pictures, torch.zeros_like(masks), draws, wanted)
    assert torch.equal(nothing, pictures)


def test_each_picture_is_matched_by_itself() -> None:
    pictures, masks, draws = scene()
    wanted = torch.tensor([1.0, 2.0, 0.5, 100.0])
    together = matched(pictures, masks, draws, wanted)
    alone = [matched(pictures[i : i + 1], masks[i : i + 1], draws[i : i + 1], wanted[i : i + 1]) for i in range(4)]
    assert torch.equal(together, torch.cat(alone))


def test_further_draws_are_white_noise_that_has_nothing_to_do_with_the_first() -> None:
    draws = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    several = torch.stack([further_draws(draws, i, 4).flatten() for i in range(4)])
    assert torch.equal(several[0], draws.flatten())
    torch.testing.assert_close(several.corrcoef(), torch.eye(4), atol=0.02, rtol=0)
    torch.testing.assert_close(several.std(dim=1), torch.ones(4), atol=0.02, rtol=0)
