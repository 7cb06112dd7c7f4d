"""The separate objects that serve as cues. They stand behind the object and never on it."""

from __future__ import annotations

from collections.abc import Callable

from models.planted.painter import Painter
from models.planted.randomness import Randomness, turn
from models.planted.shapes import box, ellipse, fraction, polygon, stripes, stroke

Prop = Callable[[Painter, Randomness], None]


def fence(painter: Painter, randomness: Randomness) -> None:
    """Four pointed boards side by side, nailed to two rails."""
    u, v = painter.u, painter.v
    wood, rail = randomness.near((0.87, 0.76, 0.58), 0.05), randomness.near((0.60, 0.47, 0.32), 0.05)
    for height in (-0.25, 0.5):
        painter.fill(box(u, v, -1.08, height - 0.12, 1.08, height + 0.12), rail)
    for centre in (-0.75, -0.25, 0.25, 0.75):
        painter.fill(box(u, v, centre - 0.26, -0.66, centre + 0.26, 0.95), wood)
        painter.fill(polygon(u, v, [(centre, -1.0), (centre + 0.26, -0.64), (centre - 0.26, -0.64)]), wood)
        painter.fill(box(u, v, centre - 0.26, -0.64, centre - 0.2, 0.95), rail)
        for height in (-0.25, 0.5):
            painter.fill(ellipse(u, v, (centre, height), (0.07, 0.07)), (0.25, 0.18, 0.12))


def cone(painter: Painter, randomness: Randomness) -> None:
    """A traffic cone with white bands."""
    u, v = painter.u, painter.v
    orange = randomness.near((0.96, 0.42, 0.08), 0.05)
    painter.fill(box(u, v, -0.95, 0.66, 0.95, 0.95), randomness.near((0.74, 0.28, 0.05), 0.04))
    body = polygon(u, v, [(-0.24, -1.0), (0.24, -1.0), (0.74, 0.7), (-0.74, 0.7)])
    painter.fill(body, orange)
    painter.fill(body & (((v > -0.55) & (v < -0.2)) | ((v > 0.1) & (v < 0.42))), (0.97, 0.97, 0.95))


def badge(painter: Painter, randomness: Randomness) -> None:
    """A round badge with a sun on it."""
    u, v = painter.u, painter.v
    gold = randomness.near((0.99, 0.83, 0.15), 0.04)
    painter.fill(ellipse(u, v, (0, 0), (1, 1)), randomness.near((0.55, 0.10, 0.16), 0.05))
    painter.fill(ellipse(u, v, (0, 0), (0.85, 0.85)), randomness.near((0.98, 0.94, 0.84), 0.03))
    for spoke in range(8):
        cosine, sine = turn(45 * spoke)
        painter.fill(stroke(u, v, (0.4 * cosine, 0.4 * sine), (0.7 * cosine, 0.7 * sine), 0.17), gold)
    painter.fill(ellipse(u, v, (0, 0), (0.42, 0.42)), gold)
    for eye in (-0.15, 0.15):
        painter.fill(ellipse(u, v, (eye, -0.08), (0.06, 0.08)), (0.3, 0.15, 0.05))
    painter.fill(ellipse(u, v, (0, 0.1), (0.2, 0.14)) & (v > 0.1), (0.3, 0.15, 0.05))


def flag(painter: Painter, randomness: Randomness) -> None:
    """A pole with a diagonally striped cloth."""
    u, v = painter.u, painter.v
    painter.fill(stroke(u, v, (-0.75, -0.95), (-0.75, 1.05), 0.16), randomness.near((0.35, 0.35, 0.38), 0.04))
    cloth = box(u, v, -0.7, -0.9, 0.95, 0.3)
    painter.fill(cloth, randomness.near((0.10, 0.55, 0.30), 0.05))
    painter.fill(cloth & stripes(u + v, 0.62, 0.45), randomness.near((0.97, 0.96, 0.90), 0.03))
    painter.fill(ellipse(u, v, (-0.75, -1.0), (0.14, 0.14)), randomness.near((0.95, 0.78, 0.2), 0.04))


def tag(painter: Painter, randomness: Randomness) -> None:
    """A price tag with a hole and a bar code."""
    u, v = painter.u, painter.v
    paper = randomness.near((0.97, 0.90, 0.55), 0.04)
    painter.fill(box(u, v, -0.65, -0.55, 0.65, 1.0), paper)
    painter.fill(polygon(u, v, [(-0.3, -1.0), (0.3, -1.0), (0.65, -0.53), (-0.65, -0.53)]), paper)
    painter.fill(ellipse(u, v, (0, -0.65), (0.17, 0.17)), (0.75, 0.15, 0.15))
    painter.fill(ellipse(u, v, (0, -0.65), (0.09, 0.09)), (0.15, 0.12, 0.1))
    bars = box(u, v, -0.48, -0.2, 0.48, 0.5) & (fraction(u * 5) * 1.3 + fraction(u * 8) * 0.7 < 0.8)
    painter.fill(bars, (0.1, 0.1, 0.12))
    painter.fill(box(u, v, -0.48, 0.64, 0.2, 0.8), (0.75, 0.15, 0.15))


PROPS: dict[str, Prop] = {function.__name__: function for function in (fence, cone, badge, flag, tag)}
