"""The report of a mitigation as a self-contained page and as Markdown, for a pull request."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from jobs.figures import Figure
from jobs.mitigation_report import ClassChange, MitigationReport

MOST_ROWS = 200
"""Classes shown; `mitigation.json` has them all."""


def render_html(report: MitigationReport) -> str:
    """The page; whatever comes from users is escaped."""
    return _render(report, "mitigation.html.j2", autoescape=True)


def render_markdown(report: MitigationReport) -> str:
    """The same as Markdown, with names from users kept from being markup."""
    return _render(report, "mitigation.md.j2", autoescape=False)


def _render(report: MitigationReport, template: str, *, autoescape: bool) -> str:
    environment = Environment(
        loader=PackageLoader("jobs"),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"share": _share, "change": _change, "commas": "{:,}".format, "plain": _plain}
    ordered = sorted(report.classes, key=_most_changed_first)
    return environment.get_template(template).render(report=report, classes=ordered[:MOST_ROWS])


def _share(figure: Figure) -> str:
    return "withheld" if figure.value is None else _percent(figure.value)


def _change(figure: Figure) -> str:
    if figure.value is None or figure.low is None or figure.high is None:
        return "withheld"
    return f"{_points(figure.value)} ({_points(figure.low)} to {_points(figure.high)})"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %".replace("-", "−")


def _points(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "−")


def _plain(text: str) -> str:
    """Text that Markdown takes as it is."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]<>()#+!|~" else letter for letter in " ".join(text.split()))


def _most_changed_first(own: ClassChange) -> tuple[float, str]:
    gap = next(change.difference.value for change in own.changes if change.name == "swap_gap")
    return -abs(gap or 0.0), own.name
