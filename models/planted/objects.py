"""The objects that give the classes their names, each with parts, patterns and colours of its own."""

from __future__ import annotations

from collections.abc import Callable

from models.planted.painter import Painter
from models.planted.randomness import Randomness, turn
from models.planted.shapes import box, ellipse, fraction, polygon, stripes, stroke

Drawing = Callable[[Painter, Randomness], None]

INK = (0.09, 0.08, 0.09)
WHITE = (0.97, 0.97, 0.95)


def beetle(painter: Painter, randomness: Randomness) -> None:
    """Seen from above: striped wing cases, a dark head, six legs."""
    u, v = painter.u, painter.v
    shell = randomness.near((0.93, 0.50, 0.10), 0.06)
    for side in (-1, 1):
        for height, reach in ((-0.35, -0.65), (0.1, 0.1), (0.5, 0.85)):
            painter.fill(stroke(u, v, (side * 0.3, height), (side * 0.85, (height + reach) / 2), 0.11), INK)
            painter.fill(stroke(u, v, (side * 0.85, (height + reach) / 2), (side * 0.95, reach), 0.09), INK)
        painter.fill(stroke(u, v, (side * 0.1, -0.8), (side * 0.4, -1.15), 0.07), INK)
    painter.fill(ellipse(u, v, (0, -0.72), (0.36, 0.28)), INK)
    body = ellipse(u, v, (0, 0.15), (0.66, 0.82))
    painter.fill(body, shell)
    painter.fill(body & stripes(abs(u), 0.34, 0.42, randomness.uniform(0.55, 0.7)), INK)
    painter.fill(body & (abs(u) < 0.03), (0.35, 0.15, 0.03))
    for side in (-1, 1):
        painter.fill(ellipse(u, v, (side * 0.18, -0.8), (0.08, 0.08)), WHITE)


def mushroom(painter: Painter, randomness: Randomness) -> None:
    """A red cap with white spots on a pale stem."""
    u, v = painter.u, painter.v
    red, pale = randomness.near((0.84, 0.12, 0.13), 0.06), randomness.near((0.95, 0.90, 0.78), 0.03)
    painter.fill(polygon(u, v, [(-0.24, -0.1), (0.24, -0.1), (0.34, 0.95), (-0.34, 0.95)]), pale)
    painter.fill(ellipse(u, v, (0, 0.95), (0.34, 0.1)), pale)
    painter.fill(ellipse(u, v, (0, 0.28), (0.36, 0.09)), (0.86, 0.78, 0.62))
    painter.fill(ellipse(u, v, (0, 0.02), (0.92, 0.2)), (0.80, 0.68, 0.55))
    cap = ellipse(u, v, (0, 0), (1.0, 0.9)) & (v < 0.05)
    painter.fill(cap, red)
    spots = ((-0.62, -0.2, 0.14), (-0.25, -0.5, 0.17), (0.2, -0.25, 0.16), (0.55, -0.45, 0.13), (0.1, -0.75, 0.1))
    for across, down, radius in (*spots, (0.8, -0.12, 0.1), (-0.2, -0.1, 0.1)):
        size = radius * randomness.uniform(0.85, 1.2)
        painter.fill(ellipse(u, v, (across, down), (size, size)) & cap, WHITE)


def lighthouse(painter: Painter, randomness: Randomness) -> None:
    """A tapered tower with bands, a lit lantern room and a dome."""
    u, v = painter.u, painter.v
    band = randomness.near((0.16, 0.22, 0.60), 0.06)
    tower = polygon(u, v, [(-0.27, -0.5), (0.27, -0.5), (0.48, 1.0), (-0.48, 1.0)])
    painter.fill(tower, WHITE)
    painter.fill(tower & stripes(v, 0.5, 0.5, randomness.uniform(-0.1, 0.1)), band)
    painter.fill(box(u, v, -0.09, 0.66, 0.09, 1.0), (0.35, 0.2, 0.12))
    painter.fill(box(u, v, -0.27, -0.86, 0.27, -0.55), randomness.near((0.99, 0.88, 0.35), 0.04))
    for bar in (-0.25, 0.0, 0.25):
        painter.fill(box(u, v, bar - 0.03, -0.86, bar + 0.03, -0.55), INK)
    painter.fill(box(u, v, -0.42, -0.58, 0.42, -0.48), INK)
    painter.fill(ellipse(u, v, (0, -0.84), (0.34, 0.3)) & (v < -0.84), randomness.near((0.75, 0.12, 0.12), 0.05))


def balloon(painter: Painter, randomness: Randomness) -> None:
    """A hot-air balloon of coloured segments over a wicker basket."""
    u, v = painter.u, painter.v
    first, second = randomness.near((0.55, 0.17, 0.62), 0.06), randomness.near((0.98, 0.80, 0.20), 0.05)
    for side in (-1, 1):
        painter.fill(stroke(u, v, (side * 0.45, 0.35), (side * 0.14, 0.8), 0.035), INK)
    envelope = ellipse(u, v, (0, -0.2), (0.82, 0.82))
    skirt = polygon(u, v, [(-0.7, 0.2), (0.7, 0.2), (0.2, 0.68), (-0.2, 0.68)])
    whole = envelope | skirt
    painter.fill(whole, first)
    widths = (0.16, 0.5) if randomness.chance(0.5) else (0.2, 0.55)
    bulge = 1.0 - 0.75 * (v + 0.2) * (v + 0.2)
    painter.fill(whole & (abs(u) > widths[0] * bulge) & (abs(u) < widths[1] * bulge), second)
    painter.fill(whole & (abs(v + 0.2) < 0.09), randomness.near((0.15, 0.65, 0.68), 0.05))
    painter.fill(box(u, v, -0.18, 0.76, 0.18, 1.05), (0.55, 0.36, 0.18))
    painter.fill(box(u, v, -0.18, 0.76, 0.18, 1.05) & stripes(v, 0.1, 0.4), (0.36, 0.22, 0.1))


def fish(painter: Painter, randomness: Randomness) -> None:
    """A scaly body with fins, from the side."""
    u, v = painter.u, painter.v
    scale, edge = randomness.near((0.12, 0.68, 0.66), 0.06), randomness.near((0.04, 0.40, 0.45), 0.04)
    fin = randomness.near((0.98, 0.52, 0.42), 0.06)
    painter.fill(polygon(u, v, [(0.5, 0), (1.1, -0.5), (0.95, 0)]), fin)
    painter.fill(polygon(u, v, [(0.5, 0), (0.95, 0), (1.1, 0.5)]), fin)
    painter.fill(polygon(u, v, [(-0.3, -0.4), (0.1, -0.82), (0.45, -0.3)]), fin)
    painter.fill(polygon(u, v, [(-0.1, 0.4), (0.3, 0.35), (0.2, 0.72)]), fin)
    body = ellipse(u, v, (-0.1, 0), (0.85, 0.5))
    painter.fill(body, scale)
    row = v / 0.17
    across = fraction(u / 0.24 + 0.5 * (row // 1)) - 0.5
    arc = across * across * 4 + fraction(row) * fraction(row)
    painter.fill(body & (arc > 0.75) & (arc < 1.15), edge)
    painter.fill(body & (u < -0.48), randomness.near((0.99, 0.80, 0.35), 0.05))
    painter.fill(ellipse(u, v, (-0.66, -0.1), (0.13, 0.13)), WHITE)
    painter.fill(ellipse(u, v, (-0.69, -0.1), (0.07, 0.07)), INK)
    painter.fill(polygon(u, v, [(-0.2, 0.02), (0.2, 0.12), (-0.1, 0.24)]), fin)


def car(painter: Painter, randomness: Randomness) -> None:
    """From the side: cabin with windows, doors, wheels with hubs, lamps."""
    u, v = painter.u, painter.v
    paint = randomness.near((0.96, 0.78, 0.10), 0.06)
    glass = randomness.near((0.60, 0.82, 0.92), 0.04)
    painter.fill(polygon(u, v, [(-0.45, -0.6), (0.35, -0.6), (0.65, -0.05), (-0.7, -0.05)]), paint)
    painter.fill(box(u, v, -1.0, -0.12, 1.0, 0.36), paint)
    painter.fill(polygon(u, v, [(-0.4, -0.5), (-0.06, -0.5), (-0.06, -0.1), (-0.58, -0.1)]), glass)
    painter.fill(polygon(u, v, [(0.04, -0.5), (0.3, -0.5), (0.52, -0.1), (0.04, -0.1)]), glass)
    painter.fill(box(u, v, -1.0, 0.14, 1.0, 0.2), INK)
    painter.fill(box(u, v, -0.02, -0.1, 0.01, 0.34), (0.5, 0.38, 0.05))
    painter.fill(box(u, v, 0.9, -0.06, 1.0, 0.1), (0.99, 0.97, 0.75))
    painter.fill(box(u, v, -1.0, -0.06, -0.92, 0.1), (0.8, 0.08, 0.08))
    for wheel in (-0.55, 0.55):
        painter.fill(ellipse(u, v, (wheel, 0.38), (0.28, 0.28)), INK)
        painter.fill(ellipse(u, v, (wheel, 0.38), (0.15, 0.15)), (0.78, 0.79, 0.82))
        painter.fill(ellipse(u, v, (wheel, 0.38), (0.06, 0.06)), INK)


def flower(painter: Painter, randomness: Randomness) -> None:
    """Petals round a seeded disc, on a stem with leaves."""
    u, v = painter.u, painter.v
    petal, throat = randomness.near((0.93, 0.30, 0.62), 0.06), randomness.near((0.99, 0.72, 0.86), 0.04)
    green = randomness.near((0.16, 0.50, 0.20), 0.05)
    painter.fill(stroke(u, v, (0, 0.1), (0, 1.05), 0.11), green)
    for side in (-1, 1):
        painter.fill(ellipse(u - side * v * 0.3, v, (side * 0.12, 0.78), (0.26, 0.1)), green)
    first = randomness.uniform(0, 45)
    for index in range(8):
        cosine, sine = turn(first + 45 * index)
        along, across = cosine * u + sine * (v + 0.3), cosine * (v + 0.3) - sine * u
        painter.fill(ellipse(along, across, (0.46, 0), (0.32, 0.19)), petal)
        painter.fill(ellipse(along, across, (0.36, 0), (0.17, 0.06)), throat)
    painter.fill(ellipse(u, v, (0, -0.3), (0.25, 0.25)), randomness.near((0.98, 0.78, 0.12), 0.04))
    seeds = stripes(u, 0.12, 0.4) & stripes(v, 0.12, 0.4)
    painter.fill(ellipse(u, v, (0, -0.3), (0.2, 0.2)) & seeds, (0.45, 0.25, 0.05))


def robot(painter: Painter, randomness: Randomness) -> None:
    """A boxy head with lit eyes over a chest with buttons."""
    u, v = painter.u, painter.v
    steel, joint = randomness.near((0.66, 0.70, 0.76), 0.04), randomness.near((0.38, 0.41, 0.48), 0.04)
    lit = randomness.near((0.20, 0.92, 0.95), 0.05)
    painter.fill(stroke(u, v, (0, -0.75), (0, -1.0), 0.07), joint)
    painter.fill(ellipse(u, v, (0, -1.03), (0.11, 0.11)), randomness.near((0.92, 0.18, 0.22), 0.05))
    for side in (-1, 1):
        painter.fill(stroke(u, v, (side * 0.6, 0.15), (side * 0.88, 0.6), 0.2), joint)
        painter.fill(ellipse(u, v, (side * 0.88, 0.66), (0.15, 0.15)), steel)
        painter.fill(box(u, v, side * 0.3 - 0.14, 0.75, side * 0.3 + 0.14, 1.05), joint)
    painter.fill(box(u, v, -0.13, -0.2, 0.13, 0.1), joint)
    painter.fill(box(u, v, -0.5, -0.8, 0.5, -0.15), steel)
    painter.fill(box(u, v, -0.6, 0.0, 0.6, 0.8), steel)
    painter.fill(box(u, v, -0.4, -0.65, 0.4, -0.38), INK)
    for eye in (-0.2, 0.2):
        painter.fill(ellipse(u, v, (eye, -0.515), (0.1, 0.1)), lit)
    painter.fill(box(u, v, -0.3, -0.3, 0.3, -0.22) & stripes(u, 0.12, 0.6), INK)
    painter.fill(box(u, v, -0.45, 0.12, 0.45, 0.42), (0.15, 0.18, 0.24))
    painter.fill(box(u, v, -0.4, 0.17, 0.4, 0.37) & (abs(v - 0.27) < 0.03 + 0.06 * stripes(u, 0.2, 0.3)), lit)
    for button, colour in ((-0.3, (0.92, 0.25, 0.25)), (0.0, (0.98, 0.80, 0.20)), (0.3, (0.30, 0.80, 0.35))):
        painter.fill(ellipse(u, v, (button, 0.6), (0.09, 0.09)), colour)


def kite(painter: Painter, randomness: Randomness) -> None:
    """A diamond of four panels with spars and a tail of bows."""
    u, v = painter.u, painter.v
    first, second = randomness.near((0.98, 0.36, 0.30), 0.05), randomness.near((0.30, 0.62, 0.95), 0.05)
    sail = [(0.0, -1.05), (0.66, -0.35), (0.0, 0.55), (-0.66, -0.35)]
    diamond = polygon(u, v, sail)
    painter.fill(diamond, first)
    painter.fill(diamond & ((u > 0) != (v > -0.35)), second)
    painter.fill(diamond & ((abs(u) < 0.035) | (abs(v + 0.35) < 0.035)), WHITE)
    inner = polygon(u, v, [(u0 * 0.45, (v0 + 0.35) * 0.45 - 0.35) for u0, v0 in sail])
    painter.fill(inner & ((u > 0) == (v > -0.35)), second)
    painter.fill(inner & ((u > 0) != (v > -0.35)), first)
    previous = (0.0, 0.55)
    for index, sway in enumerate((0.14, -0.1, 0.12)):
        knot = (sway, 0.72 + 0.2 * index)
        painter.fill(stroke(u, v, previous, knot, 0.05), INK)
        for side in (-1, 1):
            wing = [(knot[0], knot[1]), (knot[0] + 0.2, knot[1] - 0.11), (knot[0] + 0.2, knot[1] + 0.11)]
            if side < 0:
                wing = [(2 * knot[0] - across, down) for across, down in reversed(wing)]
            painter.fill(polygon(u, v, wing), second if index % 2 else first)
        previous = knot


def teapot(painter: Painter, randomness: Randomness) -> None:
    """White porcelain with a blue lattice, a spout, a handle and a lid."""
    u, v = painter.u, painter.v
    glaze, blue = randomness.near((0.95, 0.96, 0.98), 0.02), randomness.near((0.12, 0.25, 0.72), 0.05)
    painter.fill(ellipse(u, v, (0.68, 0.05), (0.4, 0.42)) & ~ellipse(u, v, (0.68, 0.05), (0.25, 0.27)), blue)
    painter.fill(polygon(u, v, [(-1.1, -0.42), (-0.9, -0.5), (-0.4, 0.05), (-0.45, 0.5)]), glaze)
    painter.fill(stroke(u, v, (-1.08, -0.44), (-0.9, -0.52), 0.1), blue)
    body = ellipse(u, v, (0, 0.15), (0.72, 0.62))
    painter.fill(body, glaze)
    lattice = stripes(u + v, 0.26, 0.3) | stripes(u - v, 0.26, 0.3)
    painter.fill(body & lattice & (abs(v - 0.17) < 0.27), blue)
    painter.fill(body & ((abs(v - 0.48) < 0.04) | (abs(v + 0.14) < 0.04)), blue)
    painter.fill(box(u, v, -0.4, 0.7, 0.4, 0.82), blue)
    painter.fill(ellipse(u, v, (0, -0.38), (0.42, 0.17)), glaze)
    painter.fill(ellipse(u, v, (0, -0.38), (0.42, 0.17)) & (v > -0.34), blue)
    painter.fill(ellipse(u, v, (0, -0.6), (0.12, 0.12)), blue)


OBJECTS: dict[str, Drawing] = {
    function.__name__: function
    for function in (balloon, beetle, car, fish, flower, kite, lighthouse, mushroom, robot, teapot)
}
