"""From counts to findings: every figure with its interval, and which classes are flagged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import erfc, isnan, sqrt

from jobs.counts import Counts
from jobs.figures import MINIMUM_PICTURES, Estimate, less, mean, percent, points
from jobs.findings import ClassFindings, FeatureFindings, Findings, Means, Overall, Verdict
from jobs.measures import (
    CLASS_MEASURES,
    CORE_EVIDENCE,
    FEATURE_MEASURES,
    SPURIOUS_EVIDENCE,
    Measure,
    evidence_balance,
)
from jobs.sections import ERROR_RATE, Worse
from models.bank import Bank
from models.bank import Feature as LabelledFeature
from models.statistics import benjamini_hochberg, more_often_right

LARGEST_OVERLAP = 0.5
"""With more of the mask than this covered by its control too, the absence of a difference shows nothing."""

HARMLESS = 0.05
"""A swap gap or pull surely above this is no sign of soundness, though what was pasted along may explain it: of the
gap, classifiers that go by the object alone have .01 to .03 on most planted classes, .21 on one."""

ALL, AVERAGE = "of all classes together", "of a class on average"


@dataclass(frozen=True)
class Test:
    """One of the ways in which a class can be shown to be relied on for spurious features.

    Attributes:
        p_value: one-sided.
        above: whether the 95 % intervals of the differences it tests lie above 0.
        reading: what it shows, after "relies on spurious features of ...: ".
    """

    p_value: float
    above: bool
    reading: str


def find(counts: Counts, bank: Bank, seed: int) -> Findings:
    """All figures of an audit.

    Args:
        counts: of all its shards.
        bank: the labels.
        seed: of the intervals' bootstrap; equal counts and seed give equal findings.
    """
    audited = [c for c in bank.labelled_classes if counts.pictures([counts.whole(c)])]
    estimates = {c: _estimates(counts, c, seed) for c in audited}
    tests = {c: made for c in audited if (made := _tests(counts, c, estimates[c]))}
    p_values = {c: min(1.0, len(made) * min(test.p_value for test in made)) for c, made in tests.items()}  # Bonferroni
    adjusted = dict(zip(p_values, benjamini_hochberg(list(p_values.values())), strict=True))
    strongest = {c: min(made, key=lambda test: test.p_value) for c, made in tests.items()}
    classes = [
        _class(counts, bank, c, estimates[c], p_values.get(c), adjusted.get(c), strongest.get(c), seed) for c in audited
    ]
    return Findings(
        overall=_overall(counts, estimates, seed),
        classes=classes,
        without_pictures=[bank.classes[c] for c in bank.labelled_classes if c not in estimates],
        skipped=dict(sorted(counts.skipped.items())),
    )


def _tests(counts: Counts, class_index: int, estimates: dict[str, Estimate]) -> list[Test]:
    """What speaks for reliance in one class; a test that too few pictures allow is not made."""
    tests = []
    spurious, core = estimates[SPURIOUS_EVIDENCE], estimates[CORE_EVIDENCE]
    gap, pull = estimates["swap_gap"], estimates["swap_pull"]
    if spurious.enough:
        p_value = more_often_right(counts.outcomes([counts.spurious(class_index)], "control", "tested"))
        above = estimates["spurious_control_difference"].interval.low > 0
        reading = "noise on them costs more accuracy than the same noise elsewhere on the same pictures."
        tests.append(Test(p_value, above, reading))
    if spurious.enough and core.enough and counts.mean([counts.spurious(class_index)], "overlap") <= LARGEST_OVERLAP:
        # evidence is so fine a measure that the few other places of a control that could not get away would show
        balance = less(spurious, core)
        p_value = max(_above_zero(spurious), _above_zero(balance))
        above = min(spurious.interval.low, balance.interval.low) > 0
        reading = "noise on them takes more evidence for the class than noise on its core features does."
        tests.append(Test(p_value, above, reading))
    if gap.enough:
        # pasted along with its cue, a part of the donor's object costs some answers, but not most of them
        lost, kept = counts.outcomes([counts.swap(class_index)], "control", "tested")[1]
        p_value = more_often_right([[0, kept], [lost, 0]])
        reading = "with those of another class instead of its own it is wrong on most pictures it was right on."
        tests.append(Test(p_value, gap.interval.low > 0, reading))
    if pull.enough:
        p_value = more_often_right(counts.outcomes([counts.pull(class_index)], "tested", "control"))
        reading = "pictures of other classes are taken for it more often once they show them."
        tests.append(Test(p_value, pull.interval.low > 0, reading))
    return tests


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
    return measure.estimator.estimate(counts, keys, measure.generator(seed, keys))


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
    return Overall(evidence_balance=balance, **figures)


def _class(
    counts: Counts,
    bank: Bank,
    class_index: int,
    estimates: dict[str, Estimate],
    p_value: float | None,
    adjusted: float | None,
    strongest: Test | None,
    seed: int,
) -> ClassFindings:
    name = bank.classes[class_index]
    overlap = counts.mean([counts.spurious(class_index)], "overlap")
    shown = estimates["spurious_control_difference"].n
    swaps = estimates["swap_gap"], estimates["swap_pull"]
    verdict, reading = _verdict(name, bool(bank.spurious(class_index)), shown, adjusted, strongest, overlap, *swaps)
    figures = {m.name: m.figure(estimates[m.name], f"of {name}") for m in CLASS_MEASURES}
    return ClassFindings(
        name=name,
        index=class_index,
        verdict=verdict,
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
    worse: Worse = "higher" if feature.label == "spurious" else "lower"
    figures = {m.name: m.figure(_estimate(counts, m, [key], seed), f"of {class_name}", worse) for m in FEATURE_MEASURES}
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
    name: str,
    has_spurious: bool,
    shown: int,
    adjusted: float | None,
    strongest: Test | None,
    overlap: float,
    gap: Estimate,
    pull: Estimate,
) -> tuple[Verdict, str]:
    if not has_spurious:
        return "no_spurious_features", f"The bank knows no spurious feature of {name}."
    if adjusted is None or strongest is None:
        return "cannot_tell", (
            f"Nothing can be said about {name}: only {shown} pictures show its spurious features clearly, "
            f"at least {MINIMUM_PICTURES} are needed."
        )
    if adjusted <= ERROR_RATE and strongest.above:
        return "relies", f"The classifier relies on spurious features of {name}: {strongest.reading}"
    costs = f"spurious features of another class cost {points(gap.value)} of accuracy"
    draws = f"its spurious features draw {points(pull.value)} of the pictures of other classes"
    for estimate, does in ((gap, costs), (pull, draws)):
        if estimate.enough and estimate.interval.low > HARMLESS:
            return "cannot_tell", (
                f"Nothing can be said about {name}: {does}, which is no sign of soundness, but parts of objects that "
                "are pasted along may do as much."
            )
    if overlap > LARGEST_OVERLAP:
        return "cannot_tell", (
            f"Nothing can be said about {name}: its spurious features fill so much of the picture that their control "
            f"covers {percent(overlap)} of the same place."
        )
    return "not_shown", f"No reliance on the spurious features of {name} was shown."


def _known(value: float) -> float | None:
    return None if isnan(value) else value
