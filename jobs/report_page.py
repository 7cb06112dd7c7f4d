"""The report as one self-contained HTML page: no scripts, no requests, readable on a phone, printed, light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from jobs.examples import Exhibit, SwapExhibit
from jobs.figures import Figure, counted, index, nats, percent, points
from jobs.findings import ClassFindings
from jobs.report import Report

MOST_ROWS = 100
"""Classes in the overview; a page with many thousand rows is slow, and `report.json` has them all."""

MOST_DETAILS = 30
"""Classes with all their figures."""

VERDICTS = {
    "relies": "relies",
    "not_shown": "not shown",
    "cannot_tell": "cannot tell",
    "no_spurious_features": "none known",
}
_ORDER = list(VERDICTS)


@dataclass(frozen=True)
class Scale:
    """A horizontal axis from `low` to `high`, drawn 0 to 100 wide."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Where a value lies, 0 to 100."""
        return round(100 * (value - self.low) / (self.high - self.low), 2)

    @classmethod
    def around(cls, figures: Sequence[Figure]) -> Scale:
        """From -x to x in tenths, just wide enough for some differences and their intervals."""
        ends = [abs(end) for figure in figures for end in (figure.low, figure.high) if end is not None]
        reach = math.ceil(10 * max([0.1, *ends]) - 1e-9) / 10
        return cls(-reach, reach)


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
        "index": index,
        "nats": nats,
        "commas": "{:,}".format,
        "counted": counted,
    }
    ordered = sorted(report.findings.classes, key=_worst_first)
    compared = [
        figure
        for own in ordered[:MOST_ROWS]
        for figure in (own.spurious_evidence, own.core_evidence, own.evidence_balance)
    ]
    context: dict[str, Any] = {
        "report": report,
        "exhibits": exhibits,
        "swaps": swaps,
        "classes": ordered[:MOST_ROWS],
        "details": ordered[:MOST_DETAILS],
        "verdicts": VERDICTS,
        "scale": Scale.around(compared),
        "share": Scale(0, 1),
        "signed": Scale(-1, 1),
        "audited": report.findings.overall.clean_accuracy.sample_mean.n,
    }
    return environment.get_template("report.html.j2").render(context)


def _worst_first(own: ClassFindings) -> tuple[int, float, str]:
    return _ORDER.index(own.verdict), -(own.swap_gap.value or 0), own.name
