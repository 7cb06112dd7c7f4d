"""A comparison for people: a page without scripts, and Markdown."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from jobs import markdown
from jobs.comparison import Comparison, Difference
from jobs.figures import Figure
from jobs.sections import Unit
from jobs.units import of_difference, show

MOST_ROWS = 100
"""Classes shown, by the size of the headline's change; the JSON has all figures."""

HEADLINE = "swap_gap"


def comparison_html(comparison: Comparison) -> str:
    """One self-contained page; whatever comes from users is escaped."""
    environment = Environment(
        loader=PackageLoader("jobs"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("comparison.html.j2").render(_context(comparison))


def comparison_markdown(comparison: Comparison) -> str:
    """The same as Markdown."""
    context = _context(comparison)
    lines = [f"## Comparison: {markdown.escaped(context['title'])}", "", markdown.escaped(comparison.answer), ""]
    lines += [f"- {markdown.escaped(note)}" for note in comparison.notes]
    lines += ["", markdown.table(context["head"], context["means"])]
    lines += [markdown.table(context["class_head"], context["classes"])] if context["classes"] else []
    if context["more"]:
        lines.append(f"{context['more']:,} more classes are in the JSON.\n")
    if context["standings"]:
        lines.append(markdown.table(context["standing_head"], context["standings"]))
    elif comparison.effective_robustness is not None:
        lines.append(f"Effective robustness: {markdown.escaped(comparison.effective_robustness.withheld or '')}\n")
    return "\n".join(lines)


def rows_of_means(comparison: Comparison) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows of a table of the means over classes, as text."""
    means = [found for found in comparison.differences if found.mean == "class"]
    head = ("mean over classes", "audit", "baseline", "change", "95 % interval", "pictures")
    return head, [_row(_title(comparison, found), found, comparison.metrics[found.metric].unit) for found in means]


def _context(comparison: Comparison) -> dict[str, Any]:
    head, means = rows_of_means(comparison)
    headline = comparison.metrics[HEADLINE]
    classes = [d for d in comparison.differences if d.metric == HEADLINE and d.of is not None]
    classes.sort(key=lambda found: -abs(found.figure.value or 0))
    robustness = comparison.effective_robustness
    standings = [] if robustness is None else list(robustness.classifiers)
    return {
        "comparison": comparison,
        "title": f"{_called(comparison, True)} against {_called(comparison, False)}",
        "head": head,
        "means": means,
        "class_head": (f"{headline.title} of", *head[1:]),
        "classes": [_row(found.of or "", found, headline.unit) for found in classes[:MOST_ROWS]],
        "more": max(0, len(classes) - MOST_ROWS),
        "standing_head": ("classifier", "with cues", "without cues", "effective robustness", "95 % interval"),
        "standings": [
            (
                own.classifier,
                _value(own.highest.value, "share"),
                _value(own.lowest.value, "share"),
                _value(own.effective_robustness.value, "points"),
                _interval(own.effective_robustness, "points"),
            )
            for own in standings
        ],
    }


def _row(title: str, found: Difference, unit: Unit) -> tuple[str, ...]:
    change = of_difference(unit)
    interval = _interval(found.figure, change)
    return (
        title,
        _value(found.audit, unit),
        _value(found.baseline, unit),
        _value(found.figure.value, change),
        interval if found.paired or not interval else f"{interval}, not paired",
        f"{found.figure.n:,}",
    )


def _title(comparison: Comparison, found: Difference) -> str:
    metric = comparison.metrics[found.metric]
    worse = "" if metric.worse == "neither" else f" ({metric.worse} is worse)"
    return metric.title + ("" if found.part is None else f", {found.part}") + worse


def _called(comparison: Comparison, own: bool) -> str:
    subject = comparison.classifier if own else comparison.baseline_classifier
    return f"{subject.name} {subject.version}".strip() or subject.id[:12]


def _value(value: float | None, unit: Unit) -> str:
    return "withheld" if value is None else show(value, unit)


def _interval(figure: Figure, unit: Unit) -> str:
    return "" if figure.low is None or figure.high is None else f"{show(figure.low, unit)} to {show(figure.high, unit)}"
