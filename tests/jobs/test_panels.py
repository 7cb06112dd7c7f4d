"""Panels: tiles where they belong, and heat where the feature is."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image

from jobs.panels import heat_tiles, sprite, tiles

SIDE = 32


def test_heat_is_red_where_the_feature_is_strongest_and_blue_where_it_is_not() -> None:
    """The released panels show 1 - NAM in swapped colours; and a negative map is nothing, not heat."""
    grey = torch.full((2, 3, 64, 64), 0.5)
    maps = torch.zeros(2, 4, 4)
    maps[0, 0, 0], maps[0, 0, 3] = 0.2, -5.0
    red, green, blue = heat_tiles(grey, maps, SIDE)[0].int()
    assert red[2, 2] > green[2, 2] + 60
    assert red[2, 2] > blue[2, 2] + 60
    for row, column in ((2, 29), (29, 2), (29, 29)):
        assert blue[row, column] > red[row, column] + 50
    silent = heat_tiles(grey, maps, SIDE)[1]
    assert torch.equal(silent, heat_tiles(grey, -maps.abs(), SIDE)[1])
    assert (silent[2].int() > silent[0].int() + 50).all(), "a feature that does not fire is nowhere"


def test_tiles_lie_in_rows_and_what_is_missing_is_white() -> None:
    shades = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]).view(-1, 1, 1, 1).expand(-1, 3, 48, 48)
    drawn = tiles(shades, SIDE)
    assert drawn.shape == (5, 3, SIDE, SIDE)
    pixels = np.asarray(Image.open(io.BytesIO(sprite([drawn[:3], drawn[3:4]], columns=3)))).astype(int)
    assert pixels.shape == (2 * SIDE, 3 * SIDE, 3)
    middles = pixels[SIDE // 2 :: SIDE, SIDE // 2 :: SIDE, 0]
    np.testing.assert_allclose(middles, [[0, 64, 128], [191, 255, 255]], atol=4)
