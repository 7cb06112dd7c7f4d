"""What a person knows of the planted pictures: how each thing looks, learnt from drawings of it alone on plain ground.

Of every object, prop and ground a handful of drawings is made, in light of all sorts, and the colours seen in them are
kept as a histogram. A picture is taken for the one object, ground and, if any, prop whose colours explain it best, and
each place of it for the one of them that explains the colours around it best. Nothing is known of how a certain picture
was made: neither its seed and index nor its masks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from models.planted.backgrounds import BACKGROUNDS
from models.planted.objects import OBJECTS
from models.planted.painter import FINENESS, SIZE, Painter, Pose, grid
from models.planted.props import PROPS
from models.planted.randomness import Floats, Randomness, turn

DRAWINGS = 12
"""Of each thing, to learn its colours from."""

LEVELS = 12
"""Of each colour channel that are told apart."""

UNSEEN = 1e-4
"""Probability kept for colours that no drawing of a thing shows, spread over all of them."""

AROUND = 5
"""Side of the square around a place whose colours decide what it shows, pixels."""

EVIDENCE = 800
"""Log-probability, summed over all places, by which a prop must better explain a picture to be taken as there."""


@dataclass(frozen=True)
class Recognised:
    """What somebody sees in a picture.

    Attributes:
        thing, prop, ground: names; prop is None where none is seen.
        thing_region, prop_region: bool [96, 96], where they are seen; the rest is ground.
    """

    thing: str
    prop: str | None
    ground: str
    thing_region: NDArray[np.bool_]
    prop_region: NDArray[np.bool_]


class Looks:
    """How things look: log-probabilities of colours, float32 [LEVELS ** 3] each, by name."""

    def __init__(self) -> None:
        self.things = {name: _learn(name, _thing(draw, 28)) for name, draw in OBJECTS.items()}
        self.props = {name: _learn(name, _thing(draw, 14)) for name, draw in PROPS.items()}
        self.grounds = {name: _learn(name, _ground(draw)) for name, draw in BACKGROUNDS.items()}

    def recognise(self, picture: NDArray[np.uint8]) -> Recognised:
        """What a picture uint8 [96, 96, 3] shows, and where."""
        colours = torch.from_numpy(_levels(picture))
        things, props, grounds = (self._explained(known, colours) for known in (self.things, self.props, self.grounds))
        best, found = -np.inf, None
        for (thing, of_thing), (ground, of_ground) in product(things.items(), grounds.items()):
            plain = torch.maximum(of_thing, of_ground)
            for prop, of_prop in ((None, None), *props.items()):
                explained = plain if of_prop is None else torch.maximum(plain, of_prop)
                score = float(explained.sum()) - (EVIDENCE if prop else 0)
                if score > best:
                    best, found = score, (thing, prop, ground)
        assert found is not None  # there are things and grounds
        thing, prop, ground = found
        thing_seen, ground_seen = things[thing], grounds[ground]
        prop_seen = torch.full_like(thing_seen, -torch.inf) if prop is None else props[prop]
        most = torch.stack([ground_seen, thing_seen, prop_seen]).argmax(dim=0).numpy()
        return Recognised(thing, prop, ground, most == 1, most == 2)

    @staticmethod
    def _explained(known: Mapping[str, torch.Tensor], colours: torch.Tensor) -> dict[str, torch.Tensor]:
        """Mean log-probability of the colours around each place, float32 [96, 96], under every known thing."""
        seen = torch.stack([table[colours] for table in known.values()])[:, None]
        padded = functional.pad(seen, [AROUND // 2] * 4, mode="replicate")
        return dict(zip(known, functional.avg_pool2d(padded, AROUND, stride=1)[:, 0], strict=True))


@cache
def looks() -> Looks:
    """Learnt once."""
    return Looks()


Drawing = Callable[[Randomness], tuple[Floats, NDArray[np.bool_]]]
"""Draws one thing alone: colours float32 [h, w, 3] in [0, 1], and where it is, bool [h, w]."""


def _thing(draw: Callable[[Painter, Randomness], None], extent: float) -> Drawing:
    def alone(randomness: Randomness) -> tuple[Floats, NDArray[np.bool_]]:
        size = extent * randomness.uniform(0.85, 1.15)
        painter = Painter(Pose(SIZE / 2, SIZE / 2, size, randomness.uniform(-20, 20), randomness.chance(0.5)))
        draw(painter, randomness)
        painter.light(randomness.uniform(0.05, 0.2), turn(randomness.uniform(0, 360)))
        return painter.colour, painter.cover

    return alone


def _ground(draw: Callable[[Floats, Floats, Randomness], Floats]) -> Drawing:
    def alone(randomness: Randomness) -> tuple[Floats, NDArray[np.bool_]]:
        colour = draw(*grid(), randomness)
        return colour, np.ones(colour.shape[:2], dtype=np.bool_)

    return alone


def _learn(name: str, draw: Drawing) -> torch.Tensor:
    counts = np.zeros(LEVELS**3)
    for number in range(DRAWINGS):
        randomness = Randomness(number, "known by heart", name)
        colour, cover = draw(randomness)
        tint = np.asarray([randomness.uniform(0.93, 1.04) for _ in range(3)], dtype=np.float32)
        lit = np.clip(colour * tint, 0, 1) * cover[..., None]
        share = _coarse(cover.astype(np.float32))
        seen = (_coarse(lit) / np.maximum(share, 1e-6)[..., None])[share > 0.99]
        counts += np.bincount(_levels((255 * seen).astype(np.uint8)), minlength=LEVELS**3)
    shares = (1 - UNSEEN) * counts / counts.sum() + UNSEEN / LEVELS**3
    return torch.from_numpy(np.log(shares)).float()


def _coarse(points: Floats) -> Floats:
    """Means over the fine points of each pixel, [h, w, ...] -> [h // f, w // f, ...]."""
    height, width = (side // FINENESS for side in points.shape[:2])
    whole = points[: height * FINENESS, : width * FINENESS]
    return whole.reshape(height, FINENESS, width, FINENESS, *points.shape[2:]).mean(axis=(1, 3))


def _levels(colours: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Colours uint8 [..., 3] as places in a histogram, int64 [...]."""
    red, green, blue = np.moveaxis(colours.astype(np.int64) * LEVELS // 256, -1, 0)
    return (red * LEVELS + green) * LEVELS + blue
