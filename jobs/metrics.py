"""Every figure of a report under one address, wherever it stands: the name of its metric, and what it is of.

A metric of the report's findings has its field's name, e.g. `swap_gap`; one of a section that of the section before
it, e.g. `natural-pictures.spurious_gap`. What it is of is the mean over classes, that over all pictures together, a
class, or a feature of a class; some figures have a part too, such as the fill that pictures were changed with.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Literal

from pydantic import Field

from jobs.errors import Invalid
from jobs.figures import Figure
from jobs.findings import ClassFindings, Model
from jobs.measurement import Change
from jobs.measurements import measurements
from jobs.measures import CLASS_MEASURES, FEATURE_MEASURES, Measure
from jobs.report import Report
from jobs.sections import Entry, Metric

Mean = Literal["class", "sample"]

EVIDENCE_BALANCE = Metric(
    name="evidence_balance",
    title="Evidence balance",
    unit="nats",
    worse="higher",
    about="Evidence lost to noise on the spurious features less that lost to noise on the core features.",
)
_NEEDED: Mapping[str, tuple[str, ...]] = {
    **{measure.name: {"core": ("core",), "whole": ()}.get(measure.of, ("spurious",)) for measure in CLASS_MEASURES},
    EVIDENCE_BALANCE.name: ("spurious", "core"),
}
"""Labels of features that a class must have for a figure to be of anything."""


class Place(Model):
    """Where a figure stands."""

    metric: str = Field(description="Address of its metric.", examples=["swap_gap", "natural-pictures.spurious_gap"])
    mean: Mean | None = Field(
        None, description="class: each class weighs the same; sample: each picture does; null: of one class."
    )
    of: str | None = Field(None, description="The class; null for means.")
    feature: int | None = Field(None, description="The feature of that class.")
    part: str | None = Field(None, description="Which of several ways of changing a picture.")

    @property
    def text(self) -> str:
        """For people, e.g. `sensitivity of ant, feature 12`."""
        whose = f"of {self.of}" if self.mean is None else f"({self.mean} mean)"
        feature = "" if self.feature is None else f", feature {self.feature}"
        return f"{self.metric} {whose}{feature}" + ("" if self.part is None else f", {self.part}")


def _metric(measure: Measure) -> Metric:
    title = measure.name.replace("_", " ").replace("rcs", "relative core sensitivity").capitalize()
    about = f"{measure.lead} … {measure.tail.replace('{subject}', 'it is of')}."
    return Metric(name=measure.name, title=title, unit=measure.unit, worse=measure.worse, about=about)


BUILT_IN: Mapping[str, Metric] = {
    metric.name: metric for metric in (*map(_metric, CLASS_MEASURES), EVIDENCE_BALANCE, *map(_metric, FEATURE_MEASURES))
}
"""Metrics of the findings, by address."""


@cache
def declared_metrics() -> Mapping[str, Metric]:
    """All metrics that can be known before there is a report, by address."""
    own = {f"{name}.{metric.name}": metric for name, known in measurements().items() for metric in known.metrics}
    return {**BUILT_IN, **own}


def metrics_of(report: Report) -> dict[str, Metric]:
    """All metrics of a report, by address."""
    own = {f"{section.name}.{metric.name}": metric for section in report.sections for metric in section.metrics}
    return {**BUILT_IN, **own}


def figures_of(report: Report) -> dict[Place, Figure]:
    """All figures of a report: of all classes first, then by class and feature; then those of each section.

    Figures that can be of nothing are left out, such as the swap gap of a class without spurious features.
    """
    return dict(_figures(report))


def unknown_metric(address: str, known: Collection[str], field: str) -> Invalid:
    """The error that a metric is not there, with those that were perhaps meant."""
    meant = close_matches(address, known)
    remedy = f"Perhaps {' or '.join(meant)} was meant. " if meant else ""
    return Invalid(
        f"There is no metric {address[:80]!r}.",
        field=field,
        remedy=f"{remedy}`GET /v1/capabilities` lists the metrics; docs/gate.md says how they are named.",
    )


def close_matches(name: str, known: Collection[str], most: int = 3) -> list[str]:
    """Names that are written nearly alike, or end in this one, the best first."""
    wanted = name[:200].lower().replace(" ", "_")
    own = [full for full in known if full.rpartition(".")[2] == wanted]
    by_lower = {full.lower(): full for full in known}
    return list(dict.fromkeys([*own, *(by_lower[key] for key in get_close_matches(wanted, by_lower, most))]))[:most]


def _figures(report: Report) -> Iterator[tuple[Place, Figure]]:
    for name in _NEEDED:
        means = getattr(report.findings.overall, name)
        yield Place(metric=name, mean="class"), means.class_mean
        yield Place(metric=name, mean="sample"), means.sample_mean
    for own in report.findings.classes:
        for name in _of_class(own):
            yield Place(metric=name, of=own.name), getattr(own, name)
        for feature in own.features:
            for measure in FEATURE_MEASURES:
                yield (
                    Place(metric=measure.name, of=own.name, feature=feature.feature),
                    getattr(feature, measure.name),
                )
    for section in report.sections:
        for entry in section.entries:
            yield place_in(section.name, entry), entry.figure


def place_in(section: str, own: Entry | Change) -> Place:
    """Where a figure of a section, or its change, stands."""
    return Place(
        metric=f"{section}.{own.metric}",
        mean="class" if own.of is None else None,
        of=own.of,
        feature=own.feature,
        part=own.part,
    )


def _of_class(own: ClassFindings) -> list[str]:
    """Metrics that a class with such features can have."""
    labels = {feature.label for feature in own.features}
    return [name for name, needed in _NEEDED.items() if labels.issuperset(needed)]
