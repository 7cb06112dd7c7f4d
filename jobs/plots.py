"""Plots as SVG from numbers, each with its text alternative and its numbers as CSV; no scripts, no requests.

`templates/plot.html.j2` shows one as a figure and `templates/plots.css` colours it. What a page of a mitigation needs:

    plot = scatter("Swap gap by class", dots, before, after)
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import numpy as np
from markupsafe import Markup

from jobs.sections import Series, Unit
from jobs.units import NOTATIONS, show

WIDTH, HEIGHT = 480, 320
LEFT, RIGHT, TOP, BOTTOM = 60, 468, 12, 262
"""The area within the axes, in the coordinates of the drawing."""

TICKS = 6
MOST_BARS = 24
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Cell = str | int | float | None


@dataclass(frozen=True)
class Axis:
    """An axis from `low` to `high`; values without unit are numbers."""

    title: str
    low: float
    high: float
    unit: Unit | None = None

    @classmethod
    def around(cls, title: str, values: Iterable[float], unit: Unit | None = None) -> Axis:
        """Wide enough for some values and 0, from tick to tick; shares have all from 0 to 1."""
        if unit == "share":
            return cls(title, 0.0, 1.0, unit)
        ends = [0.0, *values]
        step = _nice(max(max(ends) - min(ends), 1e-6) / TICKS)
        low, high = math.floor(min(ends) / step + 1e-9) * step, math.ceil(max(ends) / step - 1e-9) * step
        return cls(title, low, high if high > low else low + step, unit)

    @property
    def ticks(self) -> list[float]:
        """Round values along the axis."""
        step = _nice((self.high - self.low) / TICKS)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [i * step for i in range(first, last + 1)]

    @property
    def label(self) -> str:
        """The title with the unit of the ticks."""
        words = NOTATIONS[self.unit].words[0] if self.unit else ""
        return f"{self.title} ({words})" if words and self.title else self.title or words

    def written(self, value: float) -> str:
        """The label of a tick."""
        factor = NOTATIONS[self.unit].factor if self.unit else 1
        return f"{round(factor * value, 9) + 0:.6g}".replace("-", "−")

    def x(self, value: float) -> float:
        """Where a value lies on a horizontal axis."""
        return round(LEFT + (RIGHT - LEFT) * (value - self.low) / (self.high - self.low), 2)

    def y(self, value: float) -> float:
        """Where a value lies on a vertical axis."""
        return round(BOTTOM - (BOTTOM - TOP) * (value - self.low) / (self.high - self.low), 2)


@dataclass(frozen=True)
class Dot:
    """One thing in two measurements."""

    name: str
    x: float
    y: float
    marked: bool = False


@dataclass(frozen=True)
class Plot:
    """A drawing, what it says, and its numbers.

    Attributes:
        title: above it.
        alternative: what is seen, in words.
        svg: the drawing, whose texts are escaped.
        head, rows: the numbers as a table.
    """

    title: str
    alternative: str
    svg: Markup
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    @property
    def data_uri(self) -> str:
        """The numbers as a CSV file to be downloaded."""
        return "data:text/csv;charset=utf-8," + quote(to_csv([self.head, *self.rows]))

    @property
    def file(self) -> str:
        """What the CSV file is called."""
        return "-".join("".join(c if c.isascii() and c.isalnum() else " " for c in self.title.lower()).split()) + ".csv"


def written(cell: Cell) -> str:
    """A number of a plot's table; people and programs read the same."""
    return "" if cell is None else f"{cell:.6g}" if isinstance(cell, float) else str(cell)


def to_csv(rows: Iterable[Sequence[Cell]]) -> str:
    """RFC 4180; a text that a spreadsheet would take for a formula has ' before it."""
    stream = io.StringIO()
    cells = ([f"'{c}" if isinstance(c, str) and c.startswith(_FORMULA) else written(c) for c in row] for row in rows)
    csv.writer(stream).writerows(cells)
    return stream.getvalue()


def histogram(title: str, values: Sequence[float], unit: Unit, counted: str = "classes") -> Plot:
    """How many values lie where; bars have round edges, and one of them is 0.

    Args:
        title: above the plot.
        values: float [N], N >= 1.
        unit: of the values.
        counted: what is counted, a plural.
    """
    own = np.asarray(values, dtype=np.float64)
    span = float(own.max() - own.min())
    step = _nice(max(span / MOST_BARS, 1e-3))
    first = math.floor(float(own.min()) / step + 1e-9)
    places = np.floor(own / step + 1e-9).astype(np.int64) - first
    heights = np.bincount(places)
    edges = [round((first + i) * step, 9) for i in range(len(heights) + 1)]
    across = Axis("", *_wide(edges[0], edges[-1]), unit)
    up = Axis.around(counted, [float(max(heights.max(), TICKS))])
    bars = [
        Markup('<rect class="bar" x="{}" y="{}" width="{}" height="{}"/>').format(
            across.x(left) + 0.5,
            up.y(height),
            round(max(across.x(right) - across.x(left) - 1, 0.5), 2),
            round(BOTTOM - up.y(height), 2),
        )
        for left, right, height in zip(edges[:-1], edges[1:], heights, strict=True)
        if height
    ]
    middle = float(np.median(own))
    ends = f"from {show(float(own.min()), unit)} to {show(float(own.max()), unit)}"
    alternative = f"Histogram of {own.size:,} {counted}: median {show(middle, unit)}, {ends}."
    rows = tuple((left, right, int(n)) for left, right, n in zip(edges[:-1], edges[1:], heights, strict=True))
    return Plot(title, alternative, _drawing(alternative, across, up, bars), ("from", "below", counted), rows)


def scatter(title: str, dots: Sequence[Dot], x: Axis, y: Axis, head: tuple[str, str] | None = None) -> Plot:
    """Things in two measurements of one unit, with the line on which both are equal.

    Args:
        title: above the plot.
        dots: what is shown; marked ones stand out.
        x, y: axes of both measurements.
        head: their columns in the CSV; the axes' titles where left out.
    """
    low, high = max(x.low, y.low), min(x.high, y.high)
    parts = [
        Markup('<line class="equal" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(x.x(low), y.y(low), x.x(high), y.y(high))
    ]
    parts += [
        Markup('<circle class="dot{}" cx="{}" cy="{}" r="4"><title>{}</title></circle>').format(
            " marked" if dot.marked else "", x.x(dot.x), y.y(dot.y), dot.name
        )
        for dot in sorted(dots, key=lambda dot: dot.marked)
    ]
    below, above = sum(dot.y < dot.x for dot in dots), sum(dot.y > dot.x for dot in dots)
    alternative = (
        f"{y.title} against {x.title[:1].lower() + x.title[1:]}, {len(dots):,} dots: {below:,} below the line of "
        f"equality, {above:,} above it."
    )
    rows = tuple((dot.name, dot.x, dot.y) for dot in dots)
    columns = ("name", *(head or (x.title, y.title)))
    return Plot(title, alternative, _drawing(alternative, x, y, parts), columns, rows)


def curve(series: Series, among: Sequence[Series] = ()) -> Plot:
    """A curve with its 95 % intervals; points without value leave a gap.

    Args:
        series: what is drawn.
        among: curves that are to fit into the same axes.
    """
    points = [point for own in (series, *among) for point in own.points]
    ends = [end for p in points for end in (p.figure.low, p.figure.value, p.figure.high) if end is not None]
    places = [point.x for point in points] or [0.0]
    across = Axis(series.x_title, *_wide(min(0.0, *places), max(places)))
    up = Axis.around("", ends, series.unit)
    parts = [_run(run, across, up) for run in _runs(series)]
    known = [(p.x, p.figure.value) for p in series.points if p.figure.value is not None]
    alternative = f"{series.title} over {series.x_title}: " + (
        ", ".join(f"{show(value, series.unit)} at {x:g}" for x, value in known) if known else "no value is known"
    )
    rows = tuple(
        (series.of or "all classes", p.x, p.figure.value, p.figure.low, p.figure.high, p.figure.n)
        for p in series.points
    )
    head = ("of", series.x_title, "value", "low", "high", "n")
    return Plot(series.title, alternative + ".", _drawing(alternative + ".", across, up, parts), head, rows)


def _runs(series: Series) -> list[list[tuple[float, float, float, float]]]:
    """Neighbouring points that have values: x, value, low, high."""
    runs: list[list[tuple[float, float, float, float]]] = [[]]
    for point in series.points:
        own = point.figure
        if own.value is None or own.low is None or own.high is None:
            runs.append([])
        else:
            runs[-1].append((point.x, own.value, own.low, own.high))
    return [run for run in runs if run]


def _run(run: Sequence[tuple[float, float, float, float]], across: Axis, up: Axis) -> Markup:
    line = " ".join(f"{across.x(x)},{up.y(value)}" for x, value, _, _ in run)
    band = [f"{across.x(x)},{up.y(low)}" for x, _, low, _ in run]
    band += [f"{across.x(x)},{up.y(high)}" for x, _, _, high in reversed(run)]
    dots = Markup().join(
        Markup('<circle class="dot" cx="{}" cy="{}" r="3.5"/>').format(across.x(x), up.y(value))
        for x, value, _, _ in run
    )
    return Markup('<polygon class="band" points="{}"/><polyline class="curve" points="{}"/>{}').format(
        " ".join(band), line, dots
    )


def _drawing(alternative: str, across: Axis, up: Axis, parts: Sequence[Markup]) -> Markup:
    """Axes and what stands within them; scripts find their ends in data-x and data-y, the area in data-area."""
    lines: list[Markup] = []
    for tick in across.ticks:
        lines.append(
            Markup('<line class="grid" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>').format(across.x(tick), TOP, BOTTOM)
        )
        lines.append(
            Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(
                across.x(tick), BOTTOM + 18, across.written(tick)
            )
        )
    for tick in up.ticks:
        lines.append(Markup('<line class="grid" x1="{1}" x2="{2}" y1="{0}" y2="{0}"/>').format(up.y(tick), LEFT, RIGHT))
        lines.append(
            Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(
                LEFT - 6, round(up.y(tick) + 4.5, 2), up.written(tick)
            )
        )
    if across.low < 0 < across.high:
        lines.append(
            Markup('<line class="zero" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>').format(across.x(0), TOP, BOTTOM)
        )
    if up.low < 0 < up.high:
        lines.append(Markup('<line class="zero" x1="{1}" x2="{2}" y1="{0}" y2="{0}"/>').format(up.y(0), LEFT, RIGHT))
    middle = (LEFT + RIGHT) / 2
    lines.append(
        Markup('<text class="axis" x="{}" y="{}" text-anchor="middle">{}</text>').format(
            middle, HEIGHT - 12, across.label
        )
    )
    lines.append(
        Markup('<text class="axis" transform="translate(14 {}) rotate(-90)" text-anchor="middle">{}</text>').format(
            (TOP + BOTTOM) / 2, up.label
        )
    )
    return Markup(
        '<svg class="plot-drawing" viewBox="0 0 {} {}" role="img" aria-label="{}" data-x="{} {}" data-y="{} {}" '
        'data-area="{} {} {} {}">{}{}</svg>'
    ).format(
        WIDTH,
        HEIGHT,
        alternative,
        across.low,
        across.high,
        up.low,
        up.high,
        LEFT,
        TOP,
        RIGHT,
        BOTTOM,
        Markup().join(lines),
        Markup().join(parts),
    )


def _wide(low: float, high: float) -> tuple[float, float]:
    return (low, high) if high > low else (low, low + 1)


def _nice(wanted: float) -> float:
    """1, 2 or 5 times a power of ten, the next to `wanted` that is not less."""
    power: float = 10.0 ** math.floor(math.log10(wanted) + 1e-9)
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= wanted * (1 - 1e-9))
