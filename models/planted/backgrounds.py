"""The backgrounds. Each maps coordinates in pixels to colours; each has a texture that can be told locally."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from models.planted.randomness import Floats, Randomness, turn
from models.planted.shapes import cell_noise, ellipse, fraction, mix, stripes, triangle, value_noise

Background = Callable[[Floats, Floats, Randomness], Floats]
"""(x, y float32 [h, w] in pixels, randomness) -> colours float32 [h, w, 3] in [0, 1]."""


def meadow(x: Floats, y: Floats, randomness: Randomness) -> Floats:
    """Upright blades of grass with small flowers."""
    dark, light = randomness.near((0.13, 0.38, 0.12), 0.05), randomness.near((0.52, 0.74, 0.26), 0.06)
    lean = np.float32(randomness.uniform(-0.3, 0.3))
    blades = value_noise((x + lean * y) / np.float32(1.8), y / 9, randomness, 64)
    patches = value_noise(x / 25, y / 25, randomness)
    colour = mix(dark, light, np.float32(0.85) * blades + np.float32(0.3) * patches)
    petal = randomness.near(randomness.pick([(0.98, 0.95, 0.9), (0.95, 0.85, 0.25)]), 0.04)
    for _ in range(8):
        centre = randomness.uniform(0, 96), randomness.uniform(0, 96)
        radius = randomness.uniform(1.0, 1.7)
        colour[ellipse(x, y, centre, (radius, radius))] = petal
    return colour


def sand(x: Floats, y: Floats, randomness: Randomness) -> Floats:
    """Ripples of fine grains."""
    dark, light = randomness.near((0.76, 0.62, 0.40), 0.05), randomness.near((0.95, 0.86, 0.64), 0.04)
    cosine, sine = turn(randomness.uniform(-25, 25))
    bend = value_noise(x / 22, y / 22, randomness) * np.float32(1.6)
    ripples = triangle((np.float32(cosine) * y + np.float32(sine) * x) / 11 + bend)
    grains = cell_noise(x, y, randomness, 128)
    return mix(dark, light, np.float32(0.7) * ripples + np.float32(0.35) * grains)


def night(x: Floats, y: Floats, randomness: Randomness) -> Floats:
    """A dark sky with stars and a faint milky way."""
    top, bottom = randomness.near((0.03, 0.04, 0.14), 0.03), randomness.near((0.14, 0.14, 0.36), 0.05)
    haze = value_noise(x / 24, y / 24, randomness) * value_noise(x / 9, y / 9, randomness)
    colour = mix(top, bottom, y / 110 + np.float32(0.7) * haze)
    for _ in range(70):
        centre = randomness.uniform(0, 96), randomness.uniform(0, 96)
        radius = randomness.uniform(0.35, 1.15)
        brightness = randomness.uniform(0.6, 1.0)
        colour[ellipse(x, y, centre, (radius, radius))] = (brightness, brightness, brightness * 0.92)
    return colour


def brick(x: Floats, y: Floats, randomness: Randomness) -> Floats:
    """A wall of bricks in running bond."""
    dark, light = randomness.near((0.50, 0.19, 0.15), 0.05), randomness.near((0.76, 0.39, 0.29), 0.06)
    mortar = randomness.near((0.78, 0.74, 0.69), 0.04)
    width, height = randomness.uniform(17, 21), randomness.uniform(7.5, 9.5)
    row = y / np.float32(height) + np.float32(randomness.uniform())
    column = x / np.float32(width) + np.float32(0.5) * np.floor(row) + np.float32(randomness.uniform())
    colour = mix(dark, light, cell_noise(column, row, randomness) * np.float32(0.8) + cell_noise(x, y, randomness) / 4)
    colour[(fraction(row) < 1.3 / height) | (fraction(column) < 1.3 / width)] = mortar
    return colour


def water(x: Floats, y: Floats, randomness: Randomness) -> Floats:
    """Waves with glints of light."""
    deep, shallow = randomness.near((0.05, 0.33, 0.58), 0.05), randomness.near((0.26, 0.66, 0.80), 0.05)
    bend = value_noise(x / 14, y / 8, randomness) * 2 + value_noise(x / 5, y / 5, randomness) / 3
    waves = triangle(y / 8 + bend)
    colour = mix(deep, shallow, waves * np.float32(0.8) + y / 400)
    colour[(waves > 0.88) & (value_noise(x / 7, y / 3, randomness) > 0.45)] = randomness.near((0.86, 0.96, 0.98), 0.03)
    return colour


def snow(x: Floats, y: Floats, randomness: Randomness) -> Floats:
    """Soft drifts under falling flakes."""
    shadow, light = randomness.near((0.70, 0.79, 0.90), 0.04), randomness.near((0.95, 0.97, 0.99), 0.02)
    drifts = value_noise(x / 30, y / 14, randomness)
    colour = mix(shadow, light, np.float32(1.1) * drifts + np.float32(0.1) * cell_noise(x, y, randomness, 128))
    flake = (1.0, 1.0, 1.0)
    for _ in range(45):
        centre = randomness.uniform(0, 96), randomness.uniform(0, 96)
        radius = randomness.uniform(0.6, 1.5)
        colour[ellipse(x, y, centre, (radius, radius))] = flake
    return colour


def wood(x: Floats, y: Floats, randomness: Randomness) -> Floats:
    """Planks with grain."""
    dark, light = randomness.near((0.42, 0.25, 0.12), 0.04), randomness.near((0.74, 0.52, 0.30), 0.05)
    width = randomness.uniform(15, 20)
    plank = x / np.float32(width) + np.float32(randomness.uniform())
    tone = cell_noise(plank, np.zeros_like(y), randomness)
    grain = triangle(x / 4 + 3 * value_noise(x / 9, y / 34 + 5 * tone, randomness))
    colour = mix(dark, light, np.float32(0.55) * grain + np.float32(0.5) * tone)
    colour[fraction(plank) < 0.9 / width] = randomness.near((0.20, 0.11, 0.05), 0.03)
    return colour


def checker(x: Floats, y: Floats, randomness: Randomness) -> Floats:
    """A floor of square tiles in two tones."""
    first, second = randomness.near((0.20, 0.20, 0.24), 0.05), randomness.near((0.86, 0.85, 0.80), 0.04)
    cosine, sine = (np.float32(value) for value in turn(randomness.uniform(25, 65)))
    side = np.float32(randomness.uniform(10, 13))
    across = (cosine * x + sine * y) / side + np.float32(randomness.uniform())
    down = (cosine * y - sine * x) / side + np.float32(randomness.uniform())
    odd = stripes(np.floor(across) + np.floor(down), 2.0)
    marble = value_noise(x / 6, y / 6, randomness) * np.float32(0.14)
    colour = mix(first, second, odd.astype(np.float32))
    return np.clip(colour + marble[..., None] - np.float32(0.07), 0, 1)


BACKGROUNDS: dict[str, Background] = {
    function.__name__: function for function in (meadow, sand, night, brick, water, snow, wood, checker)
}
