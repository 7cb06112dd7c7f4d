"""The report of a mitigation as a self-contained page and as Markdown, for a pull request."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from jobs import markdown
from jobs.comparison import Difference
from jobs.mitigation_fit import ClassFit
from jobs.mitigation_report import ACCURACY, GAP, MitigationReport, found_of
from jobs.units import of_difference, show

MOST_ROWS = 200
"""Classes shown; `mitigation.json` has them all."""

HEAD = ("mean over classes", "before", "after", "change", "95 % interval", "pictures")
CLASS_HEAD = ("class", "swap gap before", "after", "change", "accuracy before", "after", "change", "done")


def render_html(report: MitigationReport) -> str:
    """The page; whatever comes from users is escaped."""
    environment = Environment(
        loader=PackageLoader("jobs"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["commas"] = "{:,}".format
    context: dict[str, Any] = {
        "report": report,
        "head": HEAD,
        "means": rows_of_means(report),
        "class_head": CLASS_HEAD,
        "classes": rows_of_classes(report),
    }
    return environment.get_template("mitigation.html.j2").render(context)


def render_markdown(report: MitigationReport) -> str:
    """The same as Markdown."""
    name = report.before.name or report.before.id[:12]
    return "\n".join(
        [
            f"## Mitigation of {markdown.escaped(name)}: {report.parameters.method}",
            "",
            markdown.escaped(report.answer),
            "",
            markdown.table(HEAD, rows_of_means(report)),
            markdown.table(CLASS_HEAD, rows_of_classes(report)),
            f"Fitted on {report.fitted:,} pictures, judged by {report.judged:,} others. Changed classifier: "
            f"`{report.after.id}`, file `{report.patched}`.",
            "",
        ]
    )


def rows_of_means(report: MitigationReport) -> list[tuple[str, ...]]:
    """Rows of a table of the figures' means over classes, as text."""
    rows: list[tuple[str, ...]] = []
    for found in report.comparison.differences:
        if found.mean == "class":
            metric = report.comparison.metrics[found.metric]
            worse = "" if metric.worse == "neither" else f" ({metric.worse} is worse)"
            figure, unit = found.figure, of_difference(metric.unit)
            ends = [show(end, unit) for end in (figure.low, figure.high) if end is not None]
            rows.append((f"{metric.title}{worse}", *_cells(report, found), " to ".join(ends), f"{figure.n:,}"))
    return rows


def rows_of_classes(report: MitigationReport) -> list[tuple[str, ...]]:
    """Rows of a table by class, those whose swap gap changed most first."""
    done = {own.name: own for own in report.classes}
    audited = [found.of for found in report.comparison.differences if found.metric == GAP and found.of is not None]
    rows = []
    for name in audited:
        gap, accuracy = found_of(report.comparison, GAP, name), found_of(report.comparison, ACCURACY, name)
        change = abs((gap and gap.figure.value) or 0.0)
        cells = [*_cells(report, gap), *_cells(report, accuracy)]
        rows.append((-change, name, (name, *cells, _done(done.get(name)))))
    return [row for *_, row in sorted(rows)[:MOST_ROWS]]


def _cells(report: MitigationReport, found: Difference | None) -> tuple[str, str, str]:
    """Before, after and the change."""
    if found is None or found.figure.value is None:
        return ("withheld",) * 3
    unit = report.comparison.metrics[found.metric].unit
    before, after = ("withheld" if value is None else show(value, unit) for value in (found.baseline, found.audit))
    return before, after, show(found.figure.value, of_difference(unit))


def _done(own: ClassFit | None) -> str:
    if own is None:
        return "nothing"
    return f"nothing: {own.left_out}" if own.left_out else f"fitted on {own.pictures:,} pictures"
