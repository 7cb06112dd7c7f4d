"""What an audit found as a fragment of a model card: Markdown to be pasted under "Bias, risks and limitations"."""

from __future__ import annotations

from jobs import markdown
from jobs.figures import Figure
from jobs.report import Report
from jobs.sections import Metric, Section, Unit
from jobs.units import show

MOST_NAMES = 20

_FIGURES: tuple[tuple[str, str, Unit], ...] = (
    ("swap_gap", "Swap gap, the headline (higher is worse)", "points"),
    ("swap_pull", "Swap pull (higher is worse)", "points"),
    ("clean_accuracy", "Accuracy on unchanged pictures (lower is worse)", "share"),
    ("core_accuracy", "Accuracy with noise on the spurious features (lower is worse)", "share"),
    ("spurious_control_accuracy", "Accuracy with that noise elsewhere, the control", "share"),
)


def model_card(report: Report) -> str:
    """The fragment; whatever comes from users is escaped."""
    name = " ".join(filter(None, (report.classifier.name or report.classifier.id[:12], report.classifier.version)))
    escaped = markdown.escaped
    return "\n".join(
        [
            "## Reliance on spurious features",
            "",
            f"**{escaped(report.answer)}** {escaped(report.headline.reading)}",
            "",
            "### What was audited",
            "",
            f"- Classifier: {escaped(name)}, `sha256:{report.classifier.file}`",
            f"- Data set: {escaped(report.dataset.name or 'without a name')}, {report.dataset.pictures:,} pictures of "
            f"{report.dataset.classes:,} classes, `sha256:{report.dataset.id}`",
            f"- Feature bank: {escaped(report.bank.title)}, labelled by {escaped(report.bank.labeller)}, "
            f"`{report.bank.digest}`",
            f"- Audit: `{report.audit}`, seed {report.parameters.seed}, noise of σ = {report.parameters.sigma:g}, "
            f"Cuecheck {escaped(report.code_version)}",
            "",
            "### What was found",
            "",
            markdown.table(("mean over classes", "value", "95 % interval", "pictures"), _rows(report)),
            f"- Flagged classes: {_names(report.flagged)}.",
            f"- Classes about which nothing can be said: {_names(report.unjudged)}.",
            *[f"- {escaped(section.title)}: {escaped(_said(section))}" for section in report.sections],
            "",
            "### What this cannot say",
            "",
            *[f"- {escaped(sentence)}" for sentence in report.reservations],
            "",
        ]
    )


def _rows(report: Report) -> list[tuple[str, ...]]:
    rows = [_row(title, getattr(report.findings.overall, name).class_mean, unit) for name, title, unit in _FIGURES]
    for section in report.sections:
        first = _first(section)
        if first is not None:
            metric, figure = first
            rows.append(_row(f"{section.title}: {metric.title} ({metric.worse} is worse)", figure, metric.unit))
    return rows


def _row(title: str, figure: Figure, unit: Unit) -> tuple[str, ...]:
    if figure.value is None or figure.low is None or figure.high is None:
        return title, "withheld", figure.withheld or "", f"{figure.n:,}"
    return title, show(figure.value, unit), f"{show(figure.low, unit)} to {show(figure.high, unit)}", f"{figure.n:,}"


def _first(section: Section) -> tuple[Metric, Figure] | None:
    """The first metric of which a direction is worse and that has one figure over all classes, and that figure."""
    for metric in (metric for metric in section.metrics if metric.worse != "neither"):
        own = [entry for entry in section.entries if entry.metric == metric.name and entry.of is None]
        if len(own) == 1:
            return metric, own[0].figure
    return None


def _said(section: Section) -> str:
    return section.withheld or section.answer


def _names(names: list[str]) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
    return ", ".join(map(markdown.escaped, names[:MOST_NAMES])) + more
