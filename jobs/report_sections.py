"""How the sections of a report are laid out on its page: scales, the order of rows, and plots, for any measurement."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jobs.figures import Figure
from jobs.plots import Plot, curve, histogram
from jobs.sections import Entry, Metric, Section, Series

MOST_ENTRIES = 200_000
"""Figures on the page, shared out among the sections; each takes some 60 bytes. `report.json` has them all."""

FEWEST_FOR_HISTOGRAM = 5


@dataclass(frozen=True)
class Scale:
    """A horizontal axis from `low` to `high`, drawn 0 to 100 wide."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Where a value lies, 0 to 100."""
        return round(100 * (value - self.low) / (self.high - self.low), 2)

    @classmethod
    def around(cls, figures: Iterable[Figure]) -> Scale:
        """From -x to x in tenths, just wide enough for some differences and their intervals."""
        ends = [abs(end) for figure in figures for end in (figure.low, figure.high) if end is not None]
        reach = math.ceil(10 * max([0.1, *ends]) - 1e-9) / 10
        return cls(-reach, reach)

    @classmethod
    def of(cls, metric: Metric, figures: Iterable[Figure]) -> Scale:
        """Of one metric: all from 0 to 1 for shares, the same to either side of 0 for what has signs."""
        if metric.unit == "share":
            return cls(0, 1)
        around = cls.around(figures)
        return cls(0, around.high) if metric.unit == "energy" else around


@dataclass(frozen=True)
class SeriesPlot:
    """A curve and the name under which the page has the same of single classes; None where there are none."""

    name: str | None
    plot: Plot


@dataclass(frozen=True)
class SectionView:
    """A section as the page shows it.

    Attributes:
        section: what was found.
        metrics, scales: by name.
        means: figures over all classes.
        rows: all others that the page has, the most conspicuous first.
        left_out: how many more there are.
        parts: all parts, in the order of the entries.
        with_features, tested: whether any row has a feature, or a p-value.
        spread: how the first metric with enough figures is distributed.
        curves: of the section's series.
    """

    section: Section
    metrics: dict[str, Metric]
    scales: dict[str, Scale]
    means: tuple[Entry, ...]
    rows: tuple[Entry, ...]
    left_out: int
    parts: tuple[str, ...]
    with_features: bool
    tested: bool
    spread: Plot | None
    curves: tuple[SeriesPlot, ...]

    @classmethod
    def of(cls, section: Section, most: int) -> SectionView:
        """A section with at most so many figures of single classes."""
        means = tuple(entry for entry in section.entries if entry.of is None)
        rows = sorted((entry for entry in section.entries if entry.of is not None), key=_conspicuous)
        by_metric: dict[str, list[Figure]] = {metric.name: [] for metric in section.metrics}
        for entry in section.entries:
            by_metric[entry.metric].append(entry.figure)
        return cls(
            section=section,
            metrics={metric.name: metric for metric in section.metrics},
            scales={metric.name: Scale.of(metric, by_metric[metric.name]) for metric in section.metrics},
            means=means,
            rows=tuple(rows[:most]),
            left_out=max(0, len(rows) - most),
            parts=tuple(dict.fromkeys(entry.part for entry in section.entries if entry.part is not None)),
            with_features=any(entry.feature is not None for entry in rows),
            tested=any(entry.p_value is not None for entry in rows),
            spread=_spread(section.metrics, rows),
            curves=tuple(_curves(section.series)),
        )


def views(sections: Sequence[Section]) -> list[SectionView]:
    """All sections as the page shows them."""
    return [SectionView.of(section, MOST_ENTRIES // len(sections)) for section in sections]


def _conspicuous(entry: Entry) -> tuple[bool, float, bool]:
    """Flagged entries first, then by rising adjusted p-value, what is withheld last; the rest stays in its order."""
    adjusted = 2.0 if entry.adjusted_p_value is None else entry.adjusted_p_value
    return not entry.flagged, adjusted, entry.figure.value is None


def _spread(metrics: Sequence[Metric], rows: Sequence[Entry]) -> Plot | None:
    for metric in metrics:
        own = [entry for entry in rows if entry.metric == metric.name and entry.figure.value is not None]
        values = [entry.figure.value for entry in own if entry.figure.value is not None]
        if len(values) >= FEWEST_FOR_HISTOGRAM:
            alone = len({entry.of for entry in own}) == len(own)
            return histogram(f"Distribution: {metric.title}", values, metric.unit, "classes" if alone else "figures")
    return None


def _curves(series: Sequence[Series]) -> list[SeriesPlot]:
    """One plot for each name: that of all classes, or of the first class where there is none of all."""
    found = []
    for name in dict.fromkeys(own.name for own in series):
        of_name = [own for own in series if own.name == name]
        shown = next((own for own in of_name if own.of is None), of_name[0])
        single = any(own.of is not None for own in of_name)
        found.append(SeriesPlot(name if single else None, curve(shown, of_name)))
    return found
