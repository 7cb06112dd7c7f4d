"""Noise in a mask: where it falls, how strong it is, and that luck is shared between variants."""

import numpy as np
import pytest
import torch

from models.corruptions import CORRUPTIONS, GAUSSIAN_NOISE, add_gaussian_noise, draws_of_sample, energies, register


def drawn(count: int, side: int) -> torch.Tensor:
    return torch.stack([torch.from_numpy(draws_of_sample(0, f"picture-{i}", (3, side, side))) for i in range(count)])


def test_noise_is_clip_of_picture_plus_mask_times_sigma_times_draw() -> None:
    pictures, draws = torch.rand(4, 3, 12, 12), drawn(4, 12)
    masks = torch.rand(4, 12, 12)
    expected = (pictures + masks[:, None] * 0.25 * draws).clamp(0, 1)
    torch.testing.assert_close(add_gaussian_noise(pictures, masks, draws, 0.25), expected)


def test_nothing_changes_where_the_mask_is_zero_and_inputs_stay_whole() -> None:
    pictures, draws = torch.rand(2, 3, 10, 10), drawn(2, 10)
    masks = torch.zeros(2, 10, 10)
    masks[:, 2:5, 3:9] = 1
    before = pictures.clone(), draws.clone(), masks.clone()
    corrupted = add_gaussian_noise(pictures, masks, draws, 0.25)
    assert torch.equal(corrupted[:, :, masks[0] == 0], pictures[:, :, masks[0] == 0])
    assert not torch.equal(corrupted, pictures)
    assert all(torch.equal(a, b) for a, b in zip(before, (pictures, draws, masks), strict=True))


def test_sigma_is_on_the_unit_scale_and_divided_once() -> None:
    """A release divides its noise by 255 twice, which leaves almost none."""
    grey = torch.full((1, 3, 200, 200), 0.5)
    corrupted = add_gaussian_noise(grey, torch.ones(1, 200, 200), drawn(1, 200), 0.1)
    assert float((corrupted - grey).std()) == pytest.approx(0.1, rel=0.02)
    assert float(energies(grey, corrupted)[0]) == pytest.approx(0.1 * (3 * 200 * 200) ** 0.5, rel=0.02)


def test_draws_depend_on_seed_and_sample_alone() -> None:
    shape = (3, 8, 8)
    first = draws_of_sample(7, "dog/1.jpg", shape)
    draws_of_sample(7, "cat/2.jpg", shape)
    assert np.array_equal(first, draws_of_sample(7, "dog/1.jpg", shape))
    assert not np.array_equal(first, draws_of_sample(8, "dog/1.jpg", shape))
    assert not np.array_equal(first, draws_of_sample(7, "dog/2.jpg", shape))


def test_draws_are_standard_normal() -> None:
    draws = draws_of_sample(0, "a", (3, 128, 128))
    assert draws.dtype == np.float32
    assert abs(float(draws.mean())) < 0.02
    assert float(draws.std()) == pytest.approx(1, abs=0.02)


def test_the_registry_lists_corruptions_by_name_and_refuses_a_second_of_one_name() -> None:
    assert CORRUPTIONS["gaussian-noise"] is GAUSSIAN_NOISE
    with pytest.raises(ValueError, match="registered already"):
        register(GAUSSIAN_NOISE)
