"""From counts to findings: every figure with its interval, and which classes are flagged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import erfc, isnan, sqrt

import numpy as np

from jobs.counts import Counts
from jobs.figures import MINIMUM_PICTURES, Estimate, less, mean, percent
from jobs.findings import ClassFindings, FeatureFindings, Findings, Means, Overall, Verdict
from jobs.measures import (
    CLASS_MEASURES,
    CORE_EVIDENCE,
    FEATURE_MEASURES,
    SPURIOUS_EVIDENCE,
    Measure,
    evidence_balance,
    reliance,
    with_cues,
    without_cues,
)
from models.bank import Bank
from models.bank import Feature as LabelledFeature
from models.statistics import benjamini_hochberg, more_often_right

ERROR_RATE = 0.025
"""Largest adjusted one-sided p-value of a flagged class; it matches a 95 % interval that lies above 0."""

LARGEST_OVERLAP = 0.5
"""With more of the mask than this covered by its control too, the absence of a difference shows nothing."""

ALL, AVERAGE = "of all classes together", "of a class on average"


@dataclass(frozen=True)
class Tests:
    """What speaks for reliance in one class: one-sided p-values, None where there are too few pictures.

    Attributes:
        accuracy: that the control is right more often than the tested spurious mask (exact McNemar test).
        evidence: that noise on the spurious features takes evidence beyond its control, and more of it than noise on
            the core features does beyond its own (normal tests, both must hold). Not made where the control could
            not get away from the tested mask: evidence is so fine a measure that its few other places show.
    """

    accuracy: float | None
    evidence: float | None

    @property
    def p_value(self) -> float | None:
        """Of both tests together (Bonferroni), None where neither could be made."""
        made = [p for p in (self.accuracy, self.evidence) if p is not None]
        return min(1.0, len(made) * min(made)) if made else None


def find(counts: Counts, bank: Bank, seed: int) -> Findings:
    """All figures of an audit.

    Args:
        counts: of all its shards.
        bank: the labels.
        seed: of the intervals' bootstrap; equal counts and seed give equal findings.
    """
    audited = [c for c in bank.labelled_classes if counts.pictures([counts.whole(c)])]
    estimates = {c: _estimates(counts, c, seed) for c in audited}
    p_values = {c: p for c in audited if (p := _tests(counts, c, estimates[c]).p_value) is not None}
    adjusted = dict(zip(p_values, benjamini_hochberg(list(p_values.values())), strict=True))
    classes = [_class(counts, bank, c, estimates[c], p_values.get(c), adjusted.get(c), seed) for c in audited]
    return Findings(
        overall=_overall(counts, estimates, seed),
        classes=classes,
        without_pictures=[bank.classes[c] for c in bank.labelled_classes if c not in estimates],
        skipped=dict(sorted(counts.skipped.items())),
    )


def _tests(counts: Counts, class_index: int, estimates: dict[str, Estimate]) -> Tests:
    spurious, core = estimates[SPURIOUS_EVIDENCE], estimates[CORE_EVIDENCE]
    accuracy = evidence = None
    if spurious.enough:
        accuracy = more_often_right(counts.outcomes([counts.spurious(class_index)], "control", "tested"))
    got_away = counts.mean([counts.spurious(class_index)], "overlap") <= LARGEST_OVERLAP
    if spurious.enough and core.enough and got_away:
        evidence = max(_above_zero(spurious), _above_zero(less(spurious, core)))
    return Tests(accuracy, evidence)


def _above_zero(estimate: Estimate) -> float:
    """One-sided p-value that an estimate of normal error lies above 0."""
    error = float(estimate.draws.std())
    return 0.5 * erfc(estimate.value / error / sqrt(2)) if error > 0 else float(estimate.value <= 0)


def _estimates(counts: Counts, class_index: int, seed: int) -> dict[str, Estimate]:
    return {
        measure.name: _estimate(counts, measure, [getattr(counts, measure.of)(class_index)], seed)
        for measure in CLASS_MEASURES
    }


def _estimate(counts: Counts, measure: Measure, keys: Sequence[int], seed: int) -> Estimate:
    """Each figure has draws of its own, whatever else is reported beside it."""
    name = int.from_bytes(measure.name.encode(), "little")
    return measure.estimate(counts, keys, np.random.default_rng([seed, name, len(keys), *keys[:1]]))


def _overall(counts: Counts, estimates: dict[int, dict[str, Estimate]], seed: int) -> Overall:
    together: dict[str, Estimate] = {}
    by_class: dict[str, Estimate] = {}
    for measure in CLASS_MEASURES:
        keys = [getattr(counts, measure.of)(c) for c in estimates]
        together[measure.name] = _estimate(counts, measure, keys, seed)
        by_class[measure.name] = mean([own[measure.name] for own in estimates.values()])
    figures = {
        measure.name: Means(
            sample_mean=measure.figure(together[measure.name], ALL),
            class_mean=measure.figure(by_class[measure.name], AVERAGE),
        )
        for measure in CLASS_MEASURES
    }
    balance = Means(
        sample_mean=evidence_balance(together[SPURIOUS_EVIDENCE], together[CORE_EVIDENCE], ALL),
        class_mean=evidence_balance(by_class[SPURIOUS_EVIDENCE], by_class[CORE_EVIDENCE], AVERAGE),
    )
    cued = [c for c in estimates if counts.pictures([counts.spurious(c)])]
    headline = Means(
        sample_mean=reliance(less(*_with_and_without(counts, cued, seed)), ALL),
        class_mean=reliance(mean([less(*_with_and_without(counts, [c], seed)) for c in cued]), AVERAGE),
    )
    return Overall(reliance=headline, evidence_balance=balance, **figures)


def _with_and_without(counts: Counts, class_indices: Sequence[int], seed: int) -> tuple[Estimate, Estimate]:
    generator = np.random.default_rng([seed, len(class_indices), *class_indices[:1]])
    return with_cues(counts, class_indices, generator), without_cues(counts, class_indices, generator)


def _class(
    counts: Counts,
    bank: Bank,
    class_index: int,
    estimates: dict[str, Estimate],
    p_value: float | None,
    adjusted: float | None,
    seed: int,
) -> ClassFindings:
    name = bank.classes[class_index]
    overlap = counts.mean([counts.spurious(class_index)], "overlap")
    verdict, reading = _verdict(name, bool(bank.spurious(class_index)), estimates, adjusted, overlap)
    figures = {m.name: m.figure(estimates[m.name], f"of {name}") for m in CLASS_MEASURES}
    return ClassFindings(
        name=name,
        index=class_index,
        verdict=verdict,
        reliance=reliance(less(*_with_and_without(counts, [class_index], seed)), f"of {name}"),
        evidence_balance=evidence_balance(estimates[SPURIOUS_EVIDENCE], estimates[CORE_EVIDENCE], f"of {name}"),
        reading=reading,
        p_value=p_value,
        adjusted_p_value=adjusted,
        spurious_overlap=_known(overlap),
        core_overlap=_known(counts.mean([counts.core(class_index)], "overlap")),
        features=[_feature(counts, feature, name, seed) for feature in bank.features(class_index)],
        **figures,
    )


def _feature(counts: Counts, feature: LabelledFeature, class_name: str, seed: int) -> FeatureFindings:
    key = counts.feature(feature.class_index, feature.feature_index)
    figures = {m.name: m.figure(_estimate(counts, m, [key], seed), f"of {class_name}") for m in FEATURE_MEASURES}
    return FeatureFindings(
        feature=feature.feature_index,
        rank=feature.rank,
        label=feature.label,
        kind=feature.kind,
        votes=feature.votes,
        importance=feature.importance,
        overlap=_known(counts.mean([key], "overlap")),
        energy=_known(counts.mean([key], "energy")),
        control_energy=_known(counts.mean([key], "control_energy")),
        **figures,
    )


def _verdict(
    name: str, has_spurious: bool, estimates: dict[str, Estimate], adjusted: float | None, overlap: float
) -> tuple[Verdict, str]:
    if not has_spurious:
        return "no_spurious_features", f"The bank knows no spurious feature of {name}."
    difference = estimates["spurious_control_difference"]
    if adjusted is None:
        return "cannot_tell", (
            f"Nothing can be said about {name}: only {difference.n} pictures show its spurious features "
            f"clearly, at least {MINIMUM_PICTURES} are needed."
        )
    if adjusted <= ERROR_RATE and difference.interval.low > 0:
        return "relies", (
            f"The classifier relies on spurious features of {name}: noise on them costs more accuracy than the same "
            f"noise elsewhere on the same pictures."
        )
    if overlap > LARGEST_OVERLAP:
        return "cannot_tell", (
            f"Nothing can be said about {name}: its spurious features fill so much of the picture that their control "
            f"covers {percent(overlap)} of the same place."
        )
    spurious = estimates[SPURIOUS_EVIDENCE]
    balance = less(spurious, estimates[CORE_EVIDENCE])
    if adjusted <= ERROR_RATE and balance.enough and min(spurious.interval.low, balance.interval.low) > 0:
        return "relies", (
            f"The classifier relies on spurious features of {name}: noise on them takes more evidence for the class "
            f"than noise on its core features does."
        )
    return "not_shown", f"No reliance on the spurious features of {name} was shown."


def _known(value: float) -> float | None:
    return None if isnan(value) else value
