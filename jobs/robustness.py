"""Effective robustness of several audited classifiers: how each stands to the line through all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from jobs.figures import Figure, points
from jobs.findings import Model
from jobs.metrics import Place, figures_of
from jobs.report import Report
from models.effective_robustness import FEWEST_CLASSIFIERS, effective_robustness
from models.statistics import DRAWS, NORMAL_95, Floats, spanned

HIGHEST = Place(metric="natural-pictures.accuracy_highest", mean="class")
LOWEST = Place(metric="natural-pictures.accuracy_lowest", mean="class")


class Standing(Model):
    """One classifier among the others."""

    audit: str
    classifier: str = Field(description="Its name and version, or the start of its id.")
    highest: Figure = Field(description="Accuracy on the pictures of highest spuriosity.")
    lowest: Figure = Field(description="Accuracy on those of lowest spuriosity.")
    effective_robustness: Figure = Field(description="The latter less what the line through all of them says, points.")


class EffectiveRobustness(Model):
    """All classifiers named, and the line through them."""

    classifiers: tuple[Standing, ...]
    slope: float | None = None
    intercept: float | None = None
    withheld: str | None = Field(None, description="Why nothing can be said, where nothing can.")


def robustness_of(reports: Sequence[Report]) -> EffectiveRobustness:
    """The classifiers' effective robustness: lower is worse; the line is fitted to all of them.

    Intervals come from draws of every accuracy within its own interval, each time with a line of its own. Accuracies
    are taken as independent.

    Args:
        reports: of audits that may be compared.
    """
    figures = [figures_of(report) for report in reports]
    pairs = [(own.get(HIGHEST), own.get(LOWEST)) for own in figures]
    known = [(high, low) for high, low in pairs if high and low and high.known and low.known]
    without = [name_of(report) for report, pair in zip(reports, pairs, strict=True) if pair not in known]
    if without:
        return EffectiveRobustness(
            classifiers=(),
            withheld=f"{', '.join(without)}: no accuracy over spuriosity; audit with `--measure natural-pictures`.",
        )
    if len(reports) < FEWEST_CLASSIFIERS:
        return EffectiveRobustness(classifiers=(), withheld=f"at least {FEWEST_CLASSIFIERS} classifiers are needed.")
    try:
        fit = effective_robustness(*(_values([pair[i] for pair in known])[0] for i in (0, 1)))
        generator = np.random.default_rng(reports[0].parameters.seed)
        drawn = effective_robustness(*(_draws([pair[i] for pair in known], generator) for i in (0, 1))).residuals
    except ValueError as error:
        return EffectiveRobustness(classifiers=(), withheld=f"{error}.")
    standings = [
        Standing(
            audit=report.audit,
            classifier=name_of(report),
            highest=pair[0],
            lowest=pair[1],
            effective_robustness=_figure(float(own), drawn[:, i], min(figure.n for figure in pair)),
        )
        for i, (report, pair, own) in enumerate(zip(reports, known, fit.residuals, strict=True))
    ]
    return EffectiveRobustness(classifiers=tuple(standings), slope=float(fit.slope), intercept=float(fit.intercept))


def name_of(report: Report) -> str:
    """A classifier as people know it."""
    return f"{report.classifier.name} {report.classifier.version}".strip() or report.classifier.id[:12]


def _values(figures: Sequence[Figure]) -> Floats:
    """Values and the lower and upper ends of their intervals, float64 [3, M]."""
    return np.array([figure.known for figure in figures], dtype=np.float64).T


def _draws(figures: Sequence[Figure], generator: np.random.Generator) -> Floats:
    values, low, high = _values(figures)
    return generator.normal(values, (high - low) / (2 * NORMAL_95), (DRAWS, len(figures)))


def _figure(value: float, draws: Floats, n: int) -> Figure:
    interval = spanned(value, draws)
    return Figure(
        value=value,
        low=interval.low,
        high=interval.high,
        n=n,
        reading=f"On pictures without cues the classifier is {points(value)} more often right than the line through "
        f"all classifiers says (95 % interval {points(interval.low)} to {points(interval.high)}, {n:,} pictures); "
        "lower is worse.",
    )
