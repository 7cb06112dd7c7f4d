"""Two classifiers on the same pictures: what differs between their audits, with intervals.

Figures are compared pair by pair, as far as they can be: what one classifier made of a picture with what the other did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Literal

import numpy as np
from pydantic import Field

from jobs.audit_pairs import AuditPairs
from jobs.comparability import check_comparable
from jobs.figures import Estimate, Figure, less, mean
from jobs.findings import Model
from jobs.measures import CLASS_MEASURES, CORE_EVIDENCE, FEATURE_MEASURES, SPURIOUS_EVIDENCE
from jobs.metrics import EVIDENCE_BALANCE, Place, figures_of, metrics_of
from jobs.pairing import Pairing
from jobs.report import ClassifierSubject, Report
from jobs.robustness import EffectiveRobustness
from jobs.sections import Metric, Unit
from jobs.units import of_difference, show
from models.bank import Bank
from models.statistics import DRAWS, Interval, independent_difference

METHOD = (
    "A difference is the figure of the audit less that of the baseline. Where it is paired, both classifiers are "
    "compared on each picture that both audits have, under the same noise, with the same swaps and fills: by a "
    "smoothed bootstrap of how often each pair of outcomes occurs "
    f"({DRAWS:,} draws, within classes for means over classes), or by the normal interval of the mean difference per "
    "picture, its variance smoothed so that pictures which all agree do not make the interval 0 wide.",
    "Other differences have the interval of two independent samples (variance estimates recovery, Zou & Donner 2008), "
    "which on the same pictures is wider than it need be as a rule: of what each audit finds for itself, such as "
    "failure modes.",
    "Intervals are 95 % each: of twenty that are looked at, one excludes 0 by chance. A gate corrects for that.",
)


class Difference(Place):
    """One figure of both audits."""

    audit: float | None = Field(description="In the audit; null where withheld.")
    baseline: float | None = Field(description="In the baseline; null where withheld.")
    paired: bool = Field(description="Whether picture was compared with picture.")
    figure: Figure = Field(description="The audit's less the baseline's; of shares in points.")


class Comparison(Model):
    """Two audits of the same pictures."""

    schema_version: Literal[1] = 1
    code_version: str
    audit: str = Field(description="Id.")
    baseline: str = Field(description="Id of the audit it is compared with.")
    classifier: ClassifierSubject
    baseline_classifier: ClassifierSubject
    bank: str = Field(description="Digest of both audits' bank.")
    dataset: str = Field(description="Id of both audits' data set.")
    answer: str = Field(description="What became of the headline, in plain words.")
    pictures: int | None = Field(description="That both audits have; null where the rows of one are not at hand.")
    notes: tuple[str, ...] = Field(description="What else to know.")
    metrics: dict[str, Metric] = Field(description="By address.")
    differences: tuple[Difference, ...] = Field(description="Means first, then by class and feature.")
    effective_robustness: EffectiveRobustness | None = Field(
        None, description="Of all classifiers named, where there are at least three."
    )
    method: tuple[str, ...] = METHOD

    def to_json(self) -> bytes:
        """Equal comparisons give equal bytes."""
        return self.model_dump_json(indent=1).encode() + b"\n"


def compare(
    first: Report,
    second: Report,
    pairing: Pairing | None,
    code_version: str,
    alive: Callable[[], None] = lambda: None,
) -> Comparison:
    """What differs from the second audit, the baseline, to the first.

    Args:
        first, second: their reports.
        pairing: of their pictures, all taken in; None where the rows of one are not at hand, and all intervals are
            those of independent samples.
        code_version: as in reports.
        alive: called before each figure; what it raises ends the comparison.

    Raises:
        Invalid: They cannot be compared.
    """
    check_comparable(first, second, "baseline")
    own, other = figures_of(first), figures_of(second)
    metrics = {address: metric for address, metric in metrics_of(first).items() if address in metrics_of(second)}
    shared = [place for place in own if place in other]
    changes: dict[Place, Estimate] = {}
    if pairing is not None:
        found_changes = chain(_changes(pairing.pairs, pairing.bank, first.parameters.seed), pairing.sections())
        for place, estimate in found_changes:
            alive()
            changes[place] = replace(estimate, draws=np.empty(0))  # which take 16 KiB each
    found = [
        _difference(place, metrics[place.metric], own[place], other[place], changes.get(place)) for place in shared
    ]
    pairs = None if pairing is None else pairing.pairs
    return Comparison(
        code_version=code_version,
        audit=first.audit,
        baseline=second.audit,
        classifier=first.classifier,
        baseline_classifier=second.classifier,
        bank=first.bank.digest,
        dataset=first.dataset.id,
        answer=_answer(found),
        pictures=None if pairs is None else pairs.pictures([pairs.whole(c) for c in range(pairs.classes)]),
        notes=tuple(_notes(first, second, len(own) - len(shared), len(other) - len(shared), pairing)),
        metrics={address: metric for address, metric in metrics.items() if any(d.metric == address for d in found)},
        differences=tuple(found),
    )


def _changes(pairs: AuditPairs, bank: Bank, seed: int) -> Iterator[tuple[Place, Estimate]]:
    """Every figure of the findings in the first audit less that in the second, as far as pairs can tell."""
    audited = [c for c in bank.labelled_classes if pairs.pictures([pairs.whole(c)])]
    names = [bank.classes[c] for c in audited]
    evidence: dict[str, tuple[Estimate, list[Estimate]]] = {}
    for measure in CLASS_MEASURES:
        keys = [getattr(pairs, measure.of)(c) for c in audited]
        together = measure.estimator.change(pairs, keys, measure.generator(seed, keys))
        own = [measure.estimator.change(pairs, [key], measure.generator(seed, [key])) for key in keys]
        if measure.name in (SPURIOUS_EVIDENCE, CORE_EVIDENCE):
            evidence[measure.name] = together, own
        yield from _placed(measure.name, mean(own), together, own, names)
    (spurious, of_spurious), (core, of_core) = evidence[SPURIOUS_EVIDENCE], evidence[CORE_EVIDENCE]
    balances = list(map(less, of_spurious, of_core))
    of_means = less(mean(of_spurious), mean(of_core))  # as reports have it: of all classes that have either
    yield from _placed(EVIDENCE_BALANCE.name, of_means, less(spurious, core), balances, names)
    for feature in bank.manifest.features:
        keys = [pairs.feature(feature.class_index, feature.feature_index)]
        for measure in FEATURE_MEASURES:
            place = Place(metric=measure.name, of=bank.classes[feature.class_index], feature=feature.feature_index)
            yield place, measure.estimator.change(pairs, keys, measure.generator(seed, keys))


def _placed(
    metric: str, of_classes: Estimate, together: Estimate, by_class: Sequence[Estimate], names: Sequence[str]
) -> Iterator[tuple[Place, Estimate]]:
    yield Place(metric=metric, mean="class"), of_classes
    yield Place(metric=metric, mean="sample"), together
    for name, own in zip(names, by_class, strict=True):
        yield Place(metric=metric, of=name), own


def _difference(place: Place, metric: Metric, own: Figure, other: Figure, change: Estimate | None) -> Difference:
    worse = "" if metric.worse == "neither" else f"; {metric.worse} is worse"
    lead = f"{metric.title} {place.text.removeprefix(place.metric).strip()} changes by"
    tail = f"from the baseline{worse}"
    unit = of_difference(metric.unit)
    if change is not None:
        figure = change.figure(lead, tail, lambda value: show(value, unit))
    else:
        figure = _independent(own, other, lead, tail, unit)
    return Difference(**dict(place), audit=own.value, baseline=other.value, paired=change is not None, figure=figure)


def _independent(own: Figure, other: Figure, lead: str, tail: str, unit: Unit) -> Figure:
    """The difference of two figures as if of different pictures."""
    n = min(own.n, other.n)
    if own.known is None or other.known is None:
        reason = own.withheld or other.withheld
        return Figure(value=None, low=None, high=None, n=n, withheld=reason, reading=f"Withheld: {reason}.")
    (first, *of_first), (second, *of_second) = own.known, other.known
    interval = independent_difference(first, Interval(*of_first), second, Interval(*of_second))
    low, high = show(interval.low, unit), show(interval.high, unit)
    return Figure(
        value=first - second,
        low=interval.low,
        high=interval.high,
        n=n,
        classes=own.classes,
        reading=f"{lead} {show(first - second, unit)} {tail} (95 % interval {low} to {high}, not paired, "
        f"{n:,} pictures).",
    )


def _answer(found: Sequence[Difference]) -> str:
    """What became of the headline, the mean of the classes' swap gaps."""
    gap = next(d.figure for d in found if (d.metric, d.mean) == ("swap_gap", "class"))
    if gap.low is None or gap.high is None:
        return f"Nothing can be said about the swap gap: {gap.withheld}."
    if gap.low > 0:
        first = "The classifier relies more on spurious features than the baseline."
    elif gap.high < 0:
        first = "The classifier relies less on spurious features than the baseline."
    else:
        first = "No change of the reliance on spurious features was shown."
    return f"{first} {gap.reading}"


def _notes(first: Report, second: Report, own: int, other: int, pairing: Pairing | None) -> Iterator[str]:
    if pairing is None:
        yield "The rows of one audit are not at hand, so nothing is paired and intervals are wider than need be."
    elif pairing.scopes is None:
        yield "A classifier or the data set was deleted since, so figures of sections are not paired."
    if first.code_version != second.code_version:
        yield f"The audits were made by different versions: {first.code_version} and {second.code_version}."
    if first.ran_on != second.ran_on:
        yield "The audits ran on different devices or providers, which may change single answers."
    for number, whose in ((own, "audit"), (other, "baseline")):
        if number:
            yield f"{number:,} figures are in the {whose} alone."
