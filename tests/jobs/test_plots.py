"""Plots: their drawing, their numbers, and what they say in words."""

from __future__ import annotations

import csv
import io
import re
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest

from jobs.figures import Figure
from jobs.plots import BOTTOM, LEFT, RIGHT, TOP, Axis, Dot, Plot, curve, histogram, scatter, to_csv
from jobs.sections import Point, Series


def figure(value: float | None) -> Figure:
    if value is None:
        return Figure(value=None, low=None, high=None, n=3, withheld="too few", reading="Withheld.")
    return Figure(value=value, low=value - 0.1, high=value + 0.1, n=30, reading="It is.")


def numbers(plot: Plot) -> list[list[str]]:
    return list(csv.reader(io.StringIO(unquote(plot.data_uri.partition(",")[2]))))


def elements(plot: Plot, kind: str) -> list[ElementTree.Element]:
    return [own for own in ElementTree.fromstring(str(plot.svg)).iter() if own.get("class", "").split()[:1] == [kind]]


def test_a_histogram_counts_every_value_once_between_round_edges() -> None:
    values = np.random.default_rng(0).normal(0.1, 0.1, 500).tolist()
    plot = histogram("Gaps", values, "points")
    head, *rows = numbers(plot)
    assert head == ["from", "below", "classes"]
    counted = [(float(low), float(high), int(n)) for low, high, n in rows]
    assert [n for *_, n in counted] == [sum(low <= v < high for v in values) for low, high, _ in counted]
    assert sum(n for *_, n in counted) == 500
    assert 0.0 in [low for low, *_ in counted]
    assert len(elements(plot, "bar")) == sum(n > 0 for *_, n in counted)
    assert "500 classes: median" in plot.alternative


@pytest.mark.parametrize("values", [[0.0], [0.25, 0.25], [-1.0, 1.0], [1e-9, 0.0]])
def test_a_histogram_of_few_or_equal_values_stays_within_its_axes(values: list[float]) -> None:
    for bar in elements(histogram("Gaps", values, "points"), "bar"):
        x, width = float(bar.get("x", "")), float(bar.get("width", ""))
        assert LEFT <= x < x + width <= RIGHT
        assert float(bar.get("height", "")) <= BOTTOM - TOP


def test_a_scatter_puts_dots_where_they_are_and_says_on_which_side() -> None:
    axis = Axis("Before", 0, 1, "share")
    plot = scatter(
        "Change", [Dot("a", 0.5, 1), Dot("b", 0, 0), Dot("c", 1, 0.5, marked=True)], axis, Axis("After", 0, 1, "share")
    )
    places = {dot[0].text: (float(dot.get("cx", "")), float(dot.get("cy", ""))) for dot in elements(plot, "dot")}
    assert places["a"] == ((LEFT + RIGHT) / 2, TOP)
    assert places["b"] == (LEFT, BOTTOM)
    assert plot.alternative == "After against before, 3 dots: 1 below the line of equality, 1 above it."
    assert numbers(plot) == [["name", "Before", "After"], ["a", "0.5", "1"], ["b", "0", "0"], ["c", "1", "0.5"]]


def test_a_curve_has_gaps_where_figures_are_withheld_and_leaves_room_for_others() -> None:
    def series(*values: float | None, of: str | None = None) -> Series:
        points = tuple(Point(x=float(i), figure=figure(value)) for i, value in enumerate(values))
        return Series(name="c", title="Cost", x_title="σ", unit="nats", of=of, points=points)

    plot = curve(series(0.5, None, 0.25, 0.5), [series(4.0, of="hen")])
    assert [len(line.get("points", "").split()) for line in elements(plot, "curve")] == [1, 2]
    ends = re.search(r'data-y="(\S+) (\S+)"', plot.svg)
    assert ends is not None
    assert float(ends[2]) >= 4.1
    assert numbers(plot)[2] == ["all classes", "1", "", "", "", "3"]


def test_ticks_are_round_and_within_the_axis() -> None:
    axis = Axis.around("", [-0.13, 0.31], "points")
    assert axis.low <= -0.13 < 0.31 <= axis.high
    assert [axis.written(tick) for tick in axis.ticks] == ["−20", "−10", "0", "10", "20", "30", "40"]
    assert Axis.around("", [], "nats").ticks


def test_names_are_escaped_and_no_formula_for_spreadsheets() -> None:
    hostile = '</title><script>"&'
    axis = Axis(hostile, 0, 1)
    plot = scatter(hostile, [Dot(hostile, 0, 0), Dot("=1+1", 1, 1)], axis, axis)
    assert "<script" not in plot.svg
    assert elements(plot, "dot")[0][0].text == hostile
    assert to_csv([("=1+1", -1.5), ("a,b", None)]) == '\'=1+1,-1.5\r\n"a,b",\r\n'
