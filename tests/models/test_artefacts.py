"""Planted artefacts lie where they should, and their controls differ from them in nothing but what they are."""

from __future__ import annotations

import pytest
import torch

from models.artefacts import ARTEFACTS, Place, patch, register
from models.corruptions import energies

SIDE = 60


def pictures(count: int = 2) -> torch.Tensor:
    return 0.3 + 0.4 * torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def core() -> torch.Tensor:
    masks = torch.zeros(2, SIDE, SIDE)
    masks[:, 20:40, 20:40] = 1
    return masks


@pytest.mark.parametrize(
    ("name", "region"), [("tag", (slice(0, 9), slice(0, 18))), ("stripe", (slice(None), slice(0, 6)))]
)
def test_a_tag_and_a_stripe_cover_their_place_and_nothing_else(name: str, region: tuple[slice, slice]) -> None:
    before = pictures()
    for control in (False, True):
        after = ARTEFACTS[name].plant(before, core(), control)
        changed = (after != before).any(dim=1)
        expected = torch.zeros_like(changed)
        expected[:, *region] = True
        assert torch.equal(changed, expected)


@pytest.mark.parametrize("name", ARTEFACTS)
def test_a_control_has_about_the_energy_of_its_artefact_and_is_another_picture(name: str) -> None:
    before = pictures()
    planted, control = (ARTEFACTS[name].plant(before, core(), wanted) for wanted in (False, True))
    ratio = energies(before, control) / energies(before, planted)
    assert bool(((ratio > 0.7) & (ratio < 1.4)).all()), ratio
    assert not torch.equal(planted, control)
    assert 0 <= float(control.min()) <= float(control.max()) <= 1


def test_a_blurred_background_leaves_the_core_sharp_and_its_control_sharpens() -> None:
    before = pictures()
    blurred, sharpened = (ARTEFACTS["blur"].plant(before, core(), control) for control in (False, True))
    kept = (core() == 1)[:, None].expand(before.shape)
    assert torch.equal(blurred[kept], before[kept])
    torch.testing.assert_close((blurred + sharpened) / 2, before)  # nothing of this picture is clipped
    assert float(blurred.std()) < float(before.std()) < float(sharpened.std())


@pytest.mark.parametrize(
    ("place", "corner"),
    [
        ("top-left", (0, 0)),
        ("top-right", (0, 48)),
        ("bottom-left", (54, 0)),
        ("bottom-right", (54, 48)),
        ("centre", (27, 24)),
    ],
)
def test_a_patch_lies_at_its_place_in_its_colours_and_its_control_in_the_complementary_ones(
    place: Place, corner: tuple[int, int]
) -> None:
    pixels = torch.tensor([0, 255, 51, 255], dtype=torch.uint8)[:, None, None].expand(4, 10, 20)
    plant = patch(pixels, 0.2, place)
    before = pictures()
    inside = (slice(None), slice(None), slice(corner[0], corner[0] + 6), slice(corner[1], corner[1] + 12))
    for control, colour in ((False, (0.0, 1.0, 0.2)), (True, (1.0, 0.0, 0.8))):
        after = plant(before, core(), control)
        torch.testing.assert_close(after[inside], torch.tensor(colour).view(1, 3, 1, 1).expand(2, 3, 6, 12))
        after[inside] = before[inside]
        assert torch.equal(after, before)


def test_transparent_pixels_show_the_picture() -> None:
    pixels = torch.full((4, 12, 12), 255, dtype=torch.uint8)
    pixels[3, :, :6] = 0
    before = pictures()
    after = patch(pixels, 0.2, "top-left")(before, core(), False)
    assert torch.equal(after[:, :, :12, :6], before[:, :, :12, :6])
    assert bool((after[:, :, :12, 6:12] == 1).all())


def test_names_are_unique() -> None:
    with pytest.raises(ValueError, match="registered already"):
        register(ARTEFACTS["tag"])
