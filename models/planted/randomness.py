"""Random numbers that are the same on every machine and do not depend on the order in which pictures are drawn."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Colour = tuple[float, float, float]
Floats = NDArray[np.floating[Any]]
"""Float32 at run time; NumPy's stubs lose the precision where a Python number takes part."""
Choice = TypeVar("Choice")


class Randomness:
    """One stream of random numbers, named by integers and words.

    Streams with different names are independent, so one part of a picture can be drawn again, or left out, without
    any other part changing. Only ``Generator.random`` is used, whose stream NumPy keeps stable for PCG64.
    """

    def __init__(self, *name: int | str) -> None:
        words = [part if isinstance(part, int) else zlib.crc32(part.encode()) for part in name]
        self._generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number in [low, high)."""
        return low + (high - low) * float(self._generator.random())

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.uniform() < probability

    def pick(self, choices: Sequence[Choice]) -> Choice:
        """One of the choices, all alike likely."""
        return choices[int(self.uniform(0, len(choices)))]

    def array(self, *shape: int) -> Floats:
        """Numbers in [0, 1), float32 of this shape."""
        return self._generator.random(shape).astype(np.float32)

    def near(self, colour: Colour, spread: float = 0.07) -> Colour:
        """A colour like this one: each channel moved by at most ``spread``, kept in [0, 1]."""
        red, green, blue = (min(1.0, max(0.0, c + self.uniform(-spread, spread))) for c in colour)
        return red, green, blue


def turn(degrees: float) -> tuple[float, float]:
    """Cosine and sine, rounded so that the last bits of a machine's mathematics library do not matter."""
    angle = math.radians(degrees)
    return round(math.cos(angle), 6), round(math.sin(angle), 6)
