"""Findings of an audit that left out measurements they rest on: what is missing says so, and gives no false reason."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from jobs.figures import Figure
from jobs.findings import ClassFindings, FeatureFindings, Findings, Means, Model
from jobs.measurements import cue_swaps, region_noise
from jobs.measures import CLASS_MEASURES, FEATURE_MEASURES

NOISE, SWAPS = region_noise.MEASUREMENT.name, cue_swaps.MEASUREMENT.name
_BY_KIND = {"spurious": NOISE, "core": NOISE, "feature": NOISE, "swap": SWAPS, "pull": SWAPS}
_NEEDED: Mapping[str, str] = {
    **{own.name: _BY_KIND[own.of] for own in (*CLASS_MEASURES, *FEATURE_MEASURES) if own.of in _BY_KIND},
    "evidence_balance": NOISE,
}
"""Measurement that a figure rests on, by the figure's field."""


def explained(findings: Findings, measured: Collection[str]) -> Findings:
    """The findings with the true reason wherever a figure or a verdict is missing for want of a measurement.

    Args:
        findings: of all tables.
        measured: names of the measurements that were made.
    """
    missing = [name for name in (NOISE, SWAPS) if name not in measured]
    if not missing:
        return findings
    overall = {
        name: Means(sample_mean=_told(means.sample_mean, need), class_mean=_told(means.class_mean, need))
        for name, need in _NEEDED.items()
        if need in missing and (means := getattr(findings.overall, name, None)) is not None
    }
    return findings.model_copy(
        update={
            "overall": findings.overall.model_copy(update=overall),
            "classes": [_class(own, missing) for own in findings.classes],
        }
    )


def _class(own: ClassFindings, missing: Collection[str]) -> ClassFindings:
    update = _figures(own, missing) | {"features": [_feature(feature, missing) for feature in own.features]}
    if own.verdict == "cannot_tell" and own.p_value is None:
        update["reading"] = f"Nothing can be said about {own.name}: {_reason(missing)}."
    return own.model_copy(update=update)


def _feature(own: FeatureFindings, missing: Collection[str]) -> FeatureFindings:
    return own.model_copy(update=_figures(own, missing))


def _figures(own: Model, missing: Collection[str]) -> dict[str, object]:
    fields = type(own).model_fields
    return {
        name: _told(getattr(own, name), need) for name, need in _NEEDED.items() if need in missing and name in fields
    }


def _told(figure: Figure, need: str) -> Figure:
    reason = _reason([need])
    return figure.model_copy(update={"withheld": reason, "reading": f"Withheld: {reason}."})


def _reason(missing: Collection[str]) -> str:
    return f"{' and '.join(missing)} {'was' if len(missing) == 1 else 'were'} not measured"
