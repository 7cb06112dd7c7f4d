"""What one measurement of an audit found: figures by class, feature and part, and the curves behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from jobs.figures import Figure
from jobs.findings import Model
from models.statistics import benjamini_hochberg

ERROR_RATE = 0.025
"""Largest adjusted one-sided p-value of what is flagged; it matches a 95 % interval that lies above 0."""

Unit = Literal["share", "points", "nats", "index", "sigma", "energy"]
"""share: in [0, 1]; points: a difference of shares, in [-1, 1]; nats: of log-odds; index: in [-1, 1] without unit;
sigma: standard deviations of an activation; energy: ||x' - x||_2 of pixels in [0, 1]."""

Worse = Literal["higher", "lower", "neither"]


class Metric(Model):
    """What a figure is, wherever it is shown, compared or held against a rule."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="Unique within its section.")
    title: str = Field(description="For people.")
    unit: Unit
    worse: Worse = Field(description="Which direction speaks for spurious reliance.")
    about: str = Field(description="What it says, in one sentence.")


class Entry(Model):
    """One figure of a section, and what it is of."""

    metric: str = Field(description="Name of a metric of the section.")
    of: str | None = Field(None, description="The class; null for the mean over the classes that have the figure.")
    feature: int | None = Field(None, description="The feature of that class, for figures of one feature.")
    part: str | None = Field(None, description="Which of several ways of changing a picture, e.g. a fill or a tag.")
    figure: Figure
    p_value: float | None = Field(None, description="One-sided, where the figure is tested.")
    adjusted_p_value: float | None = Field(
        None, description="The same after Benjamini-Hochberg over all classes, features and parts of the metric."
    )
    flagged: bool = Field(False, description="Whether the adjusted p-value and the interval both exclude chance.")


class Point(Model):
    """One point of a curve."""

    x: float
    figure: Figure


class Series(Model):
    """A curve to be plotted, of one class or of all."""

    name: str = Field(description="Unique within its section, for one class.")
    title: str
    x_title: str
    unit: Unit = Field(description="Of the points' figures.")
    of: str | None = Field(None, description="The class; null for all together.")
    points: tuple[Point, ...]


class Section(Model):
    """What one measurement found."""

    name: str = Field(description="Of the measurement.")
    title: str
    answer: str = Field(description="The outcome in one or two sentences.")
    method: tuple[str, ...] = Field(description="How the figures come about.")
    metrics: tuple[Metric, ...]
    entries: tuple[Entry, ...] = Field(description="Of all classes first, then by class, feature and part.")
    series: tuple[Series, ...] = ()
    withheld: str | None = Field(None, description="Why there are no figures, where there are none.")

    @property
    def flagged(self) -> tuple[str, ...]:
        """Classes with a flagged figure, each once, in the order of the entries."""
        return tuple(dict.fromkeys(entry.of for entry in self.entries if entry.flagged and entry.of is not None))


def adjusted(entries: Sequence[Entry]) -> list[Entry]:
    """The entries with p-values adjusted for all tests of the same metric, and what is thereby flagged.

    An entry is flagged where its adjusted p-value is at most `ERROR_RATE` and its interval lies above 0: figures that
    are tested are differences from a control, of which 0 says that there is none and more is worse.
    """
    found = list(entries)
    for metric in dict.fromkeys(entry.metric for entry in entries):
        tested = [i for i, e in enumerate(entries) if e.metric == metric and e.p_value is not None]
        p_values = [p for i in tested if (p := entries[i].p_value) is not None]
        for i, corrected in zip(tested, benjamini_hochberg(p_values), strict=True):
            low = entries[i].figure.low
            flagged = corrected <= ERROR_RATE and low is not None and low > 0
            found[i] = entries[i].model_copy(update={"adjusted_p_value": corrected, "flagged": flagged})
    return found
