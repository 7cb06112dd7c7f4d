"""The gate: whether an audit satisfies some rules, judged on intervals and not on values.

A rule is passed where the whole interval satisfies it and failed where the whole interval breaks it; otherwise it is
undecided, as it is where a figure rests on too few pictures. A rule that looks at several figures has their intervals
widened until all of them together hold at 95 % (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal

from pydantic import Field

from jobs.comparison import Comparison
from jobs.errors import Invalid
from jobs.figures import MINIMUM_PICTURES, Figure
from jobs.findings import Model
from jobs.gate_rules import Operator, Rule, refused
from jobs.metrics import Place, close_matches, declared_metrics, figures_of, metrics_of, unknown_metric
from jobs.report import Report
from jobs.robustness import name_of
from jobs.sections import Metric, Unit
from jobs.units import of_difference, parse, show
from models.statistics import NORMAL_95, wilson

Verdict = Literal["pass", "fail", "undecided"]

GRAVEST: tuple[Verdict, ...] = ("fail", "undecided", "pass")

MOST_PICTURES = 10**9
"""Of an estimate of the pictures needed; more is as good as never."""


class Judged(Model):
    """What one rule says of one figure; of the worst class, of the figures of all classes together."""

    rule: int = Field(description="Its number in the file, from 1.")
    title: str = Field(description="The rule's name, or its check.")
    check: str = Field(description="What was held against what, in full.")
    place: Place
    verdict: Verdict
    value: float | None = Field(description="In the metric's unit; null where withheld.")
    low: float | None = Field(description="Lower end of the interval, corrected where the rule has several figures.")
    high: float | None = Field(description="Upper end.")
    n: int = Field(description="Pictures the figure rests on.")
    figures: int = Field(description="That the rule looks at together, for which the interval is corrected.")
    paired: bool | None = Field(None, description="Against a baseline: whether picture was compared with picture.")
    reading: str = Field(description="The verdict and its reason, in one sentence.")
    needed: int | None = Field(
        None, description="Undecided: about how many pictures would decide it, if the value stays as it is."
    )


class Gate(Model):
    """What all rules say of an audit."""

    schema_version: Literal[1] = 1
    audit: str = Field(description="Id.")
    classifier: str = Field(description="Its name and version, or the start of its id.")
    baseline: str | None = Field(description="Id of the audit that changes are taken from.")
    verdict: Verdict = Field(description="fail where any rule is failed; else undecided where any is; else pass.")
    answer: str = Field(description="The verdict in one sentence.")
    judged: tuple[Judged, ...]

    def to_json(self) -> bytes:
        """Equal verdicts give equal bytes."""
        return self.model_dump_json(indent=1).encode() + b"\n"


@dataclass(frozen=True)
class _Case:
    """A figure with what it is held against."""

    place: Place
    figure: Figure
    paired: bool | None


@dataclass(frozen=True)
class _Bound:
    """What a value must be.

    Attributes:
        operator, value: in the unit.
        unit: of the figures.
        tests: figures that are held against it together.
    """

    operator: Operator
    value: float
    unit: Unit
    tests: int

    @property
    def upper(self) -> bool:
        """Whether large values break it."""
        return self.operator in ("<", "<=")

    def interval(self, figure: Figure) -> tuple[float, float, float] | None:
        """The figure's value and its interval at the level of so many tests; None where it is withheld.

        Ends are moved away from the value in proportion to the normal quantile; of shares also at least as far as
        Wilson's interval reaches at that level.
        """
        if figure.known is None or self.tests == 1:
            return figure.known
        value, low, high = figure.known
        quantile = NormalDist().inv_cdf(1 - 0.025 / self.tests)
        low, high = (value + (end - value) * quantile / NORMAL_95 for end in (low, high))
        if self.unit == "share":
            score = wilson(value * figure.n, figure.n, quantile)
            low, high = max(0.0, min(low, score.low)), min(1.0, max(high, score.high))
        return value, low, high

    def verdict(self, low: float, high: float) -> Verdict:
        """What the whole interval says."""
        satisfied = {
            "<=": (high <= self.value, low > self.value),
            "<": (high < self.value, low >= self.value),
            ">=": (low >= self.value, high < self.value),
            ">": (low > self.value, high <= self.value),
        }[self.operator]
        return "pass" if satisfied[0] else "fail" if satisfied[1] else "undecided"

    def needed(self, value: float, low: float, high: float, n: int) -> int | None:
        """About how many pictures would bring the end of the interval to the bound; None where no number does.

        Intervals shrink with the root of the number: n * (width / distance)^2, the width being that on the side of the
        bound.
        """
        distance = abs(self.value - value)
        width = high - value if self.value > value else value - low
        if distance * math.sqrt(MOST_PICTURES) <= width * math.sqrt(n):
            return None
        return max(n + 1, math.ceil(n * (width / distance) ** 2))


def judge(report: Report, rules: Sequence[Rule], comparison: Comparison | None = None) -> Gate:
    """Hold an audit against rules.

    Args:
        report: of the audit.
        rules: as `read_rules` gives them.
        comparison: of the audit with its baseline, where there is one.

    Raises:
        Invalid: A rule names a metric, class, feature or part that the audit has not, has a value in another unit, or
            asks for a baseline where there is none; it says which rule, and what to do.
    """
    own = {place: _Case(place, figure, None) for place, figure in figures_of(report).items()}
    changes = None if comparison is None else {case.place: case for case in _changes(comparison)}
    judged = [one for number, rule in enumerate(rules, 1) for one in _judge(number, rule, report, own, changes)]
    verdicts = [one.verdict for one in judged]
    verdict = min(verdicts, key=GRAVEST.index)
    return Gate(
        audit=report.audit,
        classifier=name_of(report),
        baseline=None if comparison is None else comparison.baseline,
        verdict=verdict,
        answer=_answer(verdict, judged),
        judged=tuple(judged),
    )


def check_rules(
    rules: Sequence[Rule], measured: Collection[str] | None = None, with_baseline: bool | None = None
) -> None:
    """Find out before there is an audit what can be known to be wrong with rules.

    Args:
        rules: of a gate.
        measured: measurements of the audit to come, where they are known.
        with_baseline: whether there is one, where that is known.

    Raises:
        Invalid: A rule names a metric that no audit has or this one will not have, a value in another unit, or a
            baseline where there is none.
    """
    known = declared_metrics()
    for number, rule in enumerate(rules, 1):
        _bound(number, rule, known)
        metric = rule.parts[0]
        if measured is not None and "." in metric and metric.partition(".")[0] not in measured:
            raise _not_measured(number, rule, metric)
        if with_baseline is False and rule.against is not None:
            raise _no_baseline(number, rule)


def _bound(number: int, rule: Rule, metrics: Mapping[str, Metric]) -> _Bound:
    """What the rule asks of values of a metric that must be among these."""
    metric, operator, written = rule.parts
    if metric not in metrics:
        error = unknown_metric(metric, {**metrics, **declared_metrics()}, "rules")
        raise refused(number, rule, error.message.rstrip("."), error.remedy)
    unit = metrics[metric].unit if rule.against is None else of_difference(metrics[metric].unit)
    try:
        return _Bound(operator, parse(written, unit, change=rule.against is not None), unit, 1)
    except ValueError as error:
        raise refused(number, rule, str(error)) from error


def _no_baseline(number: int, rule: Rule) -> Invalid:
    remedy = "Name a baseline: an audit, or its report.json."
    return refused(number, rule, "it is held against a baseline, and none is given", remedy)


def _not_measured(number: int, rule: Rule, metric: str) -> Invalid:
    remedy = f"Audit with `--measure {metric.partition('.')[0]}`."
    return refused(number, rule, f"this audit does not measure {metric}", remedy)


def _changes(comparison: Comparison) -> Iterator[_Case]:
    for found in comparison.differences:
        place = Place(**{name: getattr(found, name) for name in Place.model_fields})
        yield _Case(place, found.figure, found.paired)


def _judge(
    number: int,
    rule: Rule,
    report: Report,
    own: Mapping[Place, _Case],
    changes: Mapping[Place, _Case] | None,
) -> list[Judged]:
    metric, operator, _ = rule.parts
    metrics = metrics_of(report)
    if metric not in metrics and metric in declared_metrics():
        raise _not_measured(number, rule, metric)
    bound = _bound(number, rule, metrics)
    if rule.against is None:
        known = own
    elif changes is not None:
        known = changes
    else:
        raise _no_baseline(number, rule)
    cases = [case for place, case in known.items() if place.metric == metric and _chosen(place, rule)]
    if not cases:
        raise _nothing(number, rule, [place for place in known if place.metric == metric])
    bound = replace(bound, tests=len(cases))
    against = "" if rule.against is None else " against the baseline"
    check = f"{metric} {operator} {show(bound.value, bound.unit)}{against}"
    judged = [_one(number, rule, check, case, bound) for case in cases]
    return [_worst(judged, bound)] if rule.of == "worst class" else judged


def _chosen(place: Place, rule: Rule) -> bool:
    if rule.class_name is not None:
        right = place.of == rule.class_name
    elif rule.of in ("every class", "worst class"):
        right = place.of is not None
    else:
        right = place.mean == ("sample" if rule.of == "sample mean" else "class")
    return right and rule.feature in (None, place.feature) and rule.part in (None, place.part)


def _nothing(number: int, rule: Rule, places: Sequence[Place]) -> Exception:
    """Why a rule finds no figure of a metric that there is."""
    classes = list(dict.fromkeys(place.of for place in places if place.of is not None))
    if rule.class_name is not None and rule.class_name not in classes:
        meant = close_matches(rule.class_name, classes) or classes[:8]
        remedy = f"Classes with such figures are {', '.join(meant)}." if meant else "It has figures of means alone."
        return refused(number, rule, f"no figure of {rule.class_name[:60]!r} is there", remedy)
    parts = sorted({place.part for place in places if place.part is not None})
    if rule.part is not None and rule.part not in parts:
        remedy = f"Parts are {', '.join(parts[:20])}." if parts else "The metric has no parts: leave `part` out."
        return refused(number, rule, f"there is no part {rule.part[:60]!r}", remedy)
    of = {
        "class mean": any(place.mean == "class" for place in places),
        "sample mean": any(place.mean == "sample" for place in places),
        "every class": bool(classes),
        "worst class": bool(classes),
    }
    there = [name for name, is_there in of.items() if is_there]
    ways = f"Write `of` as one of {', '.join(there)}, or `class`." if there else None
    return refused(number, rule, "the audit has no such figure", ways)


def _one(number: int, rule: Rule, check: str, case: _Case, bound: _Bound) -> Judged:
    figure, known = case.figure, bound.interval(case.figure)
    verdict: Verdict = "undecided"
    needed: int | None = None
    if known is None:
        reason = f"the figure is withheld: {figure.withheld}"
        needed = MINIMUM_PICTURES if figure.n < MINIMUM_PICTURES else None
    elif figure.n < rule.min:
        reason = f"it rests on {figure.n:,} pictures, and the rule asks for {rule.min:,}"
        needed = rule.min
    else:
        value, low, high = known
        verdict = bound.verdict(low, high)
        reason = _interval(value, low, high, figure.n, bound)
        if verdict == "undecided":
            needed = bound.needed(value, low, high, figure.n)
            reason += f"; {_estimate(needed)}"
    return Judged(
        rule=number,
        title=rule.title,
        check=check,
        place=case.place,
        verdict=verdict,
        value=None if known is None else known[0],
        low=None if known is None else known[1],
        high=None if known is None else known[2],
        n=figure.n,
        figures=bound.tests,
        paired=case.paired,
        reading=f"{verdict.capitalize()}: {case.place.text}: {reason}.",
        needed=needed,
    )


def _worst(every: Sequence[Judged], bound: _Bound) -> Judged:
    """The figure that decides a rule on every class: the worst by value of those with the gravest verdict.

    Which class is worst is itself not known for sure, so this is passed only where every class passes.
    """

    def gravest(one: Judged) -> tuple[int, bool, float]:
        value = one.value or 0.0
        return GRAVEST.index(one.verdict), one.value is None, -value if bound.upper else value

    shown = min(every, key=gravest)
    return shown.model_copy(update={"reading": f"{shown.reading[:-1]}; the worst of {len(every):,} figures."})


def _interval(value: float, low: float, high: float, n: int, bound: _Bound) -> str:
    ends = f"{show(low, bound.unit)} to {show(high, bound.unit)}"
    level = "95 % interval" if bound.tests == 1 else f"interval that holds for all {bound.tests:,} figures at 95 %"
    return f"{show(value, bound.unit)} ({level} {ends}, {n:,} pictures)"


def _estimate(needed: int | None) -> str:
    if needed is None:
        return "the value lies on the bound, and no number of pictures is likely to decide it"
    return f"about {needed:,} pictures would decide it if the value stays as it is"


def _answer(verdict: Verdict, judged: Sequence[Judged]) -> str:
    rules = {one.rule for one in judged}
    if verdict == "pass":
        return f"Pass: {'the rule is' if len(rules) == 1 else f'all {len(rules)} rules are'} satisfied."
    stopping = {one.rule: one.title for one in judged if one.verdict == verdict}
    word = "failed" if verdict == "fail" else "undecided"
    return f"{verdict.capitalize()}: {len(stopping)} of {len(rules)} rules {word}: {'; '.join(stopping.values())}."
