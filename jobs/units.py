"""The units of figures: how a value is shown, and how people write one."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from jobs.figures import index, nats, percent, points
from jobs.sections import Unit

NUMBER = re.compile(r"\s*([+\-−]?(?:\d+\.?\d*|\.\d+))\s*(.*?)\s*", re.DOTALL)


@dataclass(frozen=True)
class Notation:
    """How values of a unit are written.

    Attributes:
        words: what stands behind the number, the usual form first; "" where nothing does.
        factor: written number / value.
        largest: absolute value that none exceeds; a change of one is up to twice as large.
        show: a value for people.
        example: of a value as it is written.
    """

    words: tuple[str, ...]
    factor: float
    largest: float
    show: Callable[[float], str]
    example: str


NOTATIONS: Mapping[Unit, Notation] = {
    "share": Notation(("%",), 100, 1, percent, "80 %"),
    "points": Notation(("points", "point"), 100, 1, points, "5 points"),
    "nats": Notation(("nats", "nat"), 1, math.inf, nats, "0.2 nats"),
    "index": Notation(("",), 1, 1, index, "0.1"),
    "sigma": Notation(("sigma", "σ"), 1, math.inf, lambda value: f"{value:.2f} σ".replace("-", "−"), "2 sigma"),
    "energy": Notation(("",), 1, math.inf, lambda value: f"{value:.2f}".replace("-", "−"), "3.5"),
}


def show(value: float, unit: Unit) -> str:
    """A value for people."""
    return NOTATIONS[unit].show(value)


def of_difference(unit: Unit) -> Unit:
    """The unit of a difference of two values."""
    return "points" if unit == "share" else unit


def parse(text: str, unit: Unit, *, change: bool = False) -> float:
    """A value as people write it, such as `5 points`.

    Args:
        text: number and unit.
        unit: that it must have.
        change: whether it is of a difference of two such values.

    Raises:
        ValueError: It is no number, has another unit or none, or lies out of the unit's range; the message says what
            to write.
    """
    notation = NOTATIONS[unit]
    found = NUMBER.fullmatch(text)
    if found is None or found[2] not in notation.words:
        asked = f"in {notation.words[0]}" if notation.words[0] else "without unit"
        raise ValueError(f"{text[:40]!r} is not a value {asked}; write it as in {notation.example!r}")
    value = float(found[1].replace("−", "-")) / notation.factor
    if abs(value) > notation.largest * (1 + change) or (unit == "share" and value < 0):
        raise ValueError(f"{text[:40]!r} is more than there can be; write it as in {notation.example!r}")
    return value
