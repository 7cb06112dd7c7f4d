"""The numbers of a report's page, once, for the scripts that draw its tables: compact, and safe within HTML."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import isfinite
from typing import Any

from jobs.figures import Figure
from jobs.findings import ClassFindings, FeatureFindings
from jobs.report_sections import Scale, SectionView
from jobs.sections import Entry, Unit

DIGITS = 7
"""Significant digits of a number; `report.json` has all."""

MEASURES: tuple[tuple[str, str, Unit, bool], ...] = (
    ("clean_accuracy", "Clean accuracy", "share", False),
    ("swap_gap", "Swap gap: accuracy lost to spurious features of another class", "points", True),
    ("swap_same_accuracy", "… accuracy with those of another picture of the class", "share", True),
    ("swap_other_accuracy", "… accuracy with those of another class", "share", True),
    ("swap_evidence", "… evidence lost", "nats", True),
    ("swap_pull", "Swap pull: pictures of other classes taken for it with its features", "points", True),
    ("core_accuracy", "Core accuracy (noise on spurious features)", "share", True),
    ("spurious_control_accuracy", "… its control (the same noise elsewhere)", "share", True),
    ("spurious_control_difference", "… accuracy lost beyond the control", "points", True),
    ("spurious_drop", "… accuracy lost against the clean picture", "points", True),
    ("spurious_evidence", "… evidence lost beyond the control", "nats", True),
    ("spurious_accuracy", "Spurious accuracy (noise on core features)", "share", False),
    ("core_control_accuracy", "… its control (the same noise elsewhere)", "share", False),
    ("core_control_difference", "… accuracy lost beyond the control", "points", False),
    ("core_evidence", "… evidence lost beyond the control", "nats", False),
    ("evidence_balance", "Evidence lost to noise on the spurious features less on the core", "nats", True),
    ("rcs", "Relative core sensitivity (RCS)", "index", False),
)
"""Figures of a class: field of `ClassFindings` and `Overall`, title, unit, whether a spurious feature is needed."""

FEATURE_MEASURES: tuple[tuple[str, str, Unit], ...] = (
    ("sensitivity", "Accuracy lost", "points"),
    ("control_difference", "… beyond the control", "points"),
    ("evidence", "Evidence lost beyond the control", "nats"),
)
"""Figures of a feature: field of `FeatureFindings`, title, unit."""

SCALES = {"share": Scale(0, 1), "points": Scale(-1, 1), "index": Scale(-1, 1)}
"""Of those units whose range is known."""


def page_data(
    classes: Sequence[ClassFindings], sections: Sequence[SectionView], evidence: Scale
) -> tuple[str, list[str]]:
    """JSON of the classes and, each on its own so that it is read when it is needed, of the sections.

    No `<`, `>` or `&` is left in it, so that it can stand in a <script> element as it is.

    Args:
        classes: in the order they are shown in first.
        sections: as shown.
        evidence: scale of the classes' figures in nats.
    """
    data = _Data(classes, sections, evidence)
    return _json(data.page()), data.sections


class _Data:
    """Texts that recur are written once; figures and rows are lists, whose places `report.js` names."""

    def __init__(self, classes: Sequence[ClassFindings], sections: Sequence[SectionView], evidence: Scale) -> None:
        self._texts: dict[str, int] = {}
        names = dict.fromkeys(own.name for own in classes)
        for view in sections:
            named = (*(entry.of for entry in view.rows), *(series.of for series in view.section.series))
            names |= dict.fromkeys(of for of in named if of is not None)
        self._of_class = {name: index for index, name in enumerate(names)}
        scales = {**SCALES, "nats": evidence}
        self._page = {
            "measures": [
                (name, title, unit, _ends(scales[unit]), spurious) for name, title, unit, spurious in MEASURES
            ],
            "featureMeasures": [(title, unit) for _, title, unit in FEATURE_MEASURES],
            "classes": [self._class(own) for own in classes],
            "sections": [view.section.name for view in sections],
            "names": list(names),
        }
        self.sections = [_json(self._section(view)) for view in sections]

    def page(self) -> dict[str, Any]:
        """All but the sections."""
        return {**self._page, "texts": list(self._texts)}

    def _text(self, text: str) -> int:
        return self._texts.setdefault(text, len(self._texts))

    def _figure(self, figure: Figure) -> list[Any]:
        """[value, low, high, n], or [null, null, null, n, place of the reason]."""
        numbers = [_short(figure.value), _short(figure.low), _short(figure.high), figure.n]
        return numbers if figure.withheld is None else [*numbers, self._text(figure.withheld)]

    def _class(self, own: ClassFindings) -> dict[str, Any]:
        return {
            "verdict": own.verdict,
            "reading": own.reading,
            "p": _short(own.p_value),
            "adjusted": _short(own.adjusted_p_value),
            "figures": [self._figure(getattr(own, name)) for name, *_ in MEASURES],
            "features": [self._feature(feature) for feature in own.features],
        }

    def _feature(self, own: FeatureFindings) -> list[Any]:
        label = f"{own.label}, {own.kind.replace('_', ' ')}" if own.label == "spurious" else own.label
        figures = [self._figure(getattr(own, name)) for name, *_ in FEATURE_MEASURES]
        return [own.feature, self._text(label), _short(own.overlap), figures]

    def _section(self, view: SectionView) -> dict[str, Any]:
        metrics = list(view.metrics)
        series: dict[str, dict[int, list[Any]]] = {}
        for own in view.section.series:
            if own.of is not None:
                points = [[_short(point.x), self._figure(point.figure)] for point in own.points]
                series.setdefault(own.name, {})[self._of_class[own.of]] = points
        return {
            "title": view.section.title,
            "metrics": [
                {"name": m.name, "title": m.title, "unit": m.unit, "about": m.about, "scale": _ends(view.scales[name])}
                for name, m in view.metrics.items()
            ],
            "parts": view.parts,
            "features": view.with_features,
            "tested": view.tested,
            "entries": [self._entry(entry, metrics, view.parts) for entry in view.rows],
            "series": series,
        }

    def _entry(self, entry: Entry, metrics: Sequence[str], parts: Sequence[str]) -> list[Any]:
        return [
            metrics.index(entry.metric),
            None if entry.of is None else self._of_class[entry.of],
            entry.feature,
            None if entry.part is None else parts.index(entry.part),
            _short(entry.p_value),
            _short(entry.adjusted_p_value),
            int(entry.flagged),
            self._figure(entry.figure),
        ]


def _json(found: dict[str, Any]) -> str:
    text = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _short(value: float | None) -> float | int | None:
    """A number with few digits; whole ones without a point. JSON knows finite ones only."""
    if value is None or not isfinite(value):
        return None
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 2**53 else short


def _ends(scale: Scale) -> tuple[float, float]:
    return scale.low, scale.high
