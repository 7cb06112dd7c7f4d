"""The report as one self-contained HTML page that asks for nothing: readable on a phone, printed, light and dark.

The first rows of its tables stand in it as HTML; a script (`templates/report.js`) sorts, filters and
turns pages of all rows, from numbers that the page carries once (`jobs/report_data.py`). The policy in its head names
that script and the style by their digests, so that nothing else can run, whatever a name from a user holds.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from jobs.examples import Exhibit, SwapExhibit
from jobs.figures import counted, nats, percent, points
from jobs.findings import ClassFindings, Findings
from jobs.metrics import BUILT_IN
from jobs.model_card import model_card
from jobs.plots import Axis, Dot, Plot, histogram, scatter, written
from jobs.report import Report
from jobs.report_data import MEASURES, SCALES, page_data
from jobs.report_sections import FEWEST_FOR_HISTOGRAM, Scale, views
from jobs.units import show

MOST_ROWS, MOST_ROWS_OF_SECTIONS = 100, 25
"""Rows of classes and of sections that stand in the page as HTML; the latter are what the script shows first, too."""

VERDICTS = {
    "relies": "relies",
    "not_shown": "not shown",
    "cannot_tell": "cannot tell",
    "no_spurious_features": "none known",
}
_ORDER = list(VERDICTS)


def render_html(report: Report, exhibits: Sequence[Exhibit], swaps: Sequence[SwapExhibit]) -> str:
    """The page; whatever comes from users is escaped.

    Args:
        report: everything it says.
        exhibits: pictures of the worst features.
        swaps: pictures that lose most to a swap.
    """
    environment = Environment(
        loader=PackageLoader("jobs"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "points": points,
        "nats": nats,
        "show": show,
        "written": written,
        "commas": "{:,}".format,
        "counted": counted,
    }
    ordered = sorted(report.findings.classes, key=_worst_first)
    evidence = Scale.around(
        figure for own in ordered for figure in (own.spurious_evidence, own.core_evidence, own.evidence_balance)
    )
    sections = views(report.sections)
    data, data_of_sections = page_data(ordered, sections, evidence)
    style, script, card = _asset("plots.css") + _asset("report.css"), _asset("report.js"), model_card(report)
    context: dict[str, Any] = {
        "report": report,
        "exhibits": exhibits,
        "swaps": swaps,
        "classes": ordered[:MOST_ROWS],
        "sections": sections,
        "most_rows": MOST_ROWS_OF_SECTIONS,
        "measures": MEASURES,
        "directions": {name: metric.worse for name, metric in BUILT_IN.items()},
        "scales": {**SCALES, "nats": None},
        "verdicts": VERDICTS,
        "scale": evidence,
        "plots": _plots(report.findings),
        "audited": report.findings.overall.clean_accuracy.sample_mean.n,
        "style": style,
        "script": script,
        "policy": (
            f"default-src 'none'; img-src data:; style-src {_digest(style)}; script-src {_digest(script)}; "
            "base-uri 'none'; form-action 'none'"
        ),
        "data": data,
        "data_of_sections": data_of_sections,
        "card": card,
        "card_uri": f"data:text/markdown;charset=utf-8,{quote(card)}",
    }
    return environment.get_template("report.html.j2").render(context)


def _plots(findings: Findings) -> list[Plot]:
    """How the headline is distributed over classes, and accuracy with and without noise on spurious features."""
    gaps = [own.swap_gap.value for own in findings.classes if own.swap_gap.value is not None]
    dots = [
        Dot(own.name, own.clean_accuracy.value, own.core_accuracy.value, own.verdict == "relies")
        for own in findings.classes
        if own.clean_accuracy.value is not None and own.core_accuracy.value is not None
    ]
    plots = [histogram("Distribution: swap gap", gaps, "points")] if len(gaps) >= FEWEST_FOR_HISTOGRAM else []
    if dots:
        clean, core = Axis("Clean accuracy", 0, 1, "share"), Axis("Core accuracy", 0, 1, "share")
        plots.append(scatter("Accuracy without and with noise on spurious features, by class", dots, clean, core))
    return plots


def _asset(name: str) -> str:
    return files("jobs").joinpath("templates", name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """As a content security policy names what stands within an element."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _worst_first(own: ClassFindings) -> tuple[int, float, str]:
    return _ORDER.index(own.verdict), -(own.swap_gap.value or 0), own.name
