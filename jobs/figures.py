"""One figure of a report: a value, its 95 % interval, the pictures behind it and what it says in one sentence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from models.statistics import (
    DRAWS,
    NORMAL_95,
    Interval,
    mean_of_classes,
    paired_difference,
    paired_rcs,
    smoothed_draws,
    spanned,
    wilson,
)

MINIMUM_PICTURES = 20
"""Fewer pictures than this give an interval of some 40 points, which says nothing: the figure is withheld."""


class Figure(BaseModel):
    """A measured figure; value and interval are null where it is withheld."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float | None = Field(description="Accuracies in [0, 1]; differences and RCS in [-1, 1]; evidence in nats.")
    low: float | None = Field(description="Lower end of the 95 % interval.")
    high: float | None = Field(description="Upper end of the 95 % interval.")
    n: int = Field(ge=0, description="Pictures it rests on.")
    classes: int | None = Field(None, description="Classes averaged over, for means over classes.")
    withheld: str | None = Field(None, description="Why no value is given.")
    reading: str = Field(description="The figure as one sentence.")

    @property
    def known(self) -> tuple[float, float, float] | None:
        """Value, lower and upper end of the interval; None where it is withheld."""
        if self.value is None or self.low is None or self.high is None:
            return None
        return self.value, self.low, self.high


@dataclass(frozen=True)
class Estimate:
    """A figure before it is put into words.

    Attributes:
        value, interval: the plain estimate and its 95 % interval.
        n: pictures.
        draws: float64 [DRAWS], bootstrap draws, for means over classes.
        lowest: of the range: 0 for shares, -1 for differences and RCS, none for evidence.
        classes: classes averaged over, or None.
    """

    value: float
    interval: Interval
    n: int
    draws: NDArray[np.float64]
    lowest: float
    classes: int | None = None

    @property
    def enough(self) -> bool:
        """Whether it rests on pictures enough to be shown."""
        return self.n >= MINIMUM_PICTURES

    def figure(self, lead: str, tail: str, show: Callable[[float], str]) -> Figure:
        """The figure and its reading "`lead` value `tail` (95 % interval ..., n pictures)."."""
        if not self.enough:
            reason = too_few(self.n, self.classes)
            return Figure(
                value=None,
                low=None,
                high=None,
                n=self.n,
                classes=self.classes,
                withheld=reason,
                reading=f"Withheld: {reason}.",
            )
        low, high = self.interval.low, self.interval.high
        over = f"{self.n:,} pictures" + (f" of {counted(self.classes)}" if self.classes is not None else "")
        said = " ".join(filter(None, (lead, show(self.value), tail)))
        return Figure(
            value=self.value,
            low=low,
            high=high,
            n=self.n,
            classes=self.classes,
            reading=f"{said} (95 % interval {show(low)} to {show(high)}, {over}).",
        )


def too_few(n: int, classes: int | None = None) -> str:
    """Why a figure on n pictures is withheld; `classes` where it is a mean over those with pictures enough."""
    if classes == 0:
        return f"too few pictures, no class has {MINIMUM_PICTURES} for it"
    have = "1 picture is too few" if n == 1 else f"{n} pictures are too few"
    return f"{have}, at least {MINIMUM_PICTURES} are needed"


def generator_of(seed: int, *names: object) -> np.random.Generator:
    """The generator of one figure's draws, the same whatever else is reported beside it."""
    return np.random.default_rng([seed, int.from_bytes("/".join(map(str, names)).encode(), "little")])


def percent(value: float) -> str:
    """A share as people read it."""
    return f"{100 * value:.1f} %"


def points(value: float) -> str:
    """A difference of two shares, with a true minus sign; what rounds to nothing has none."""
    return f"{100 * value:.1f} points".replace("-0.0 ", "0.0 ").replace("-", "−")


def index(value: float) -> str:
    """A number in [-1, 1]."""
    return f"{value:+.2f}".replace("-", "−")


def nats(value: float) -> str:
    """A difference of log-odds."""
    return f"{value:.2f} nats".replace("-0.00", "0.00").replace("-", "−")


def counted(classes: int) -> str:
    """A number of classes as people say it."""
    return "1 class" if classes == 1 else f"{classes:,} classes"


def share(outcomes: NDArray[np.int64], generator: np.random.Generator) -> Estimate:
    """A proportion from int64 [2] counts (wrong, right), with Wilson's interval."""
    return replace(proportion(outcomes), draws=smoothed_draws(outcomes, generator)[:, 1])


def proportion(outcomes: NDArray[np.int64]) -> Estimate:
    """The same without draws, for figures that nothing is made of."""
    right, n = int(outcomes[1]), int(outcomes.sum())
    return Estimate(right / n if n else 0.0, wilson(right, n), n, np.empty(0), lowest=0)


def difference(table: NDArray[np.int64], generator: np.random.Generator) -> Estimate:
    """First less second accuracy from paired outcomes, int64 [2, 2]."""
    return _paired(table, paired_difference, generator)


def relative_core_sensitivity(table: NDArray[np.int64], generator: np.random.Generator) -> Estimate:
    """RCS from paired outcomes, int64 [2, 2]: first under noise outside the core, second under noise on it."""
    return _paired(table, paired_rcs, generator)


def change(
    table: NDArray[np.int64] | NDArray[np.float64],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    generator: np.random.Generator,
) -> Estimate:
    """A paired figure of one classifier less that of another on the same pictures.

    To each joint count so much is added that either classifier's own table has the 1/2 of its own figure: 1/8 where
    that has four counts.

    Args:
        table: counts [..., ...]: the outcomes under the first classifier, then those under the second, alike.
        statistic: of one classifier's table, with draws before its axes.
        generator: of the bootstrap's draws.
    """
    n = round(float(table.sum()))
    draws = _less_second(smoothed_draws(table, generator, 0.5 / sqrt(table.size)), statistic, table.ndim // 2)
    value = float(_less_second(table.astype(np.float64), statistic, table.ndim // 2)) if n else 0.0
    return Estimate(value, spanned(value, draws), n, draws, lowest=-np.inf)


def _less_second(
    table: NDArray[np.float64], statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]], axes: int
) -> NDArray[np.float64]:
    first, second = tuple(range(-2 * axes, -axes)), tuple(range(-axes, 0))
    return statistic(table.sum(axis=second)) - statistic(table.sum(axis=first))


def evidence(mean: float, mean_square: float, n: int, generator: np.random.Generator) -> Estimate:
    """A mean of paired differences in log-odds, in nats, with the normal interval of its standard error."""
    if n < 2:
        return Estimate(0.0, Interval(0.0, 0.0), n, np.zeros(DRAWS), lowest=-np.inf)
    error = sqrt(max(0.0, mean_square - mean**2) / (n - 1))
    draws = generator.normal(mean, error, DRAWS)
    return Estimate(mean, Interval(mean - NORMAL_95 * error, mean + NORMAL_95 * error), n, draws, lowest=-np.inf)


def average(total: float, squares: float, n: int, lowest: float, generator: np.random.Generator) -> Estimate:
    """A mean of values in [lowest, 1] from their sum and the sum of their squares, with a normal interval."""
    plain = evidence(total / max(n, 1), squares / max(n, 1), n, generator)
    low, high = max(lowest, plain.interval.low), min(1.0, plain.interval.high)
    return Estimate(plain.value, Interval(low, high), n, plain.draws, lowest)


def less(first: Estimate, second: Estimate) -> Estimate:
    """The difference of two estimates, taken as independent."""
    value, draws = first.value - second.value, first.draws - second.draws
    interval = spanned(value, draws) if first.enough and second.enough else Interval(value, value)
    classes = None if first.classes is None or second.classes is None else min(first.classes, second.classes)
    return Estimate(value, interval, min(first.n, second.n), draws, lowest=-np.inf, classes=classes)


def mean(estimates: Sequence[Estimate]) -> Estimate:
    """The unweighted mean over classes of those estimates that rest on pictures enough."""
    usable = [estimate for estimate in estimates if estimate.enough]
    if not usable:
        return Estimate(0.0, Interval(0.0, 0.0), 0, np.zeros(DRAWS), lowest=0, classes=0)
    lowest = usable[0].lowest
    value, interval, draws = mean_of_classes([e.value for e in usable], [e.draws for e in usable], lowest)
    return Estimate(value, interval, sum(e.n for e in usable), draws, lowest, classes=len(usable))


def _paired(
    table: NDArray[np.int64],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    generator: np.random.Generator,
) -> Estimate:
    n = int(table.sum())
    draws = statistic(smoothed_draws(table, generator))
    value = float(statistic(table.astype(np.float64))) if n else 0.0
    return Estimate(value, spanned(value, draws), n, draws, lowest=-1)
