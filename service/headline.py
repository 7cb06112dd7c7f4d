"""A report in a few lines for the terminal: the answer, the figures over all classes, and each class's verdict."""

from __future__ import annotations

from rich.text import Text

from jobs.figures import Figure
from jobs.report import Report
from service.console import out, table

STYLES = {"relies": "red", "not_shown": "green", "cannot_tell": "yellow", "no_spurious_features": "dim"}
WORDS = {
    "relies": "relies on spurious features",
    "not_shown": "no reliance shown",
    "cannot_tell": "cannot tell",
    "no_spurious_features": "no spurious features known",
}


def print_headline(report: Report) -> None:
    """Print what a report opens with."""
    out.print()
    out.print(Text(report.answer, style=f"bold {STYLES[report.verdict]}"))
    out.print(Text(report.headline.reading))
    overall = report.findings.overall
    if overall.swap_pull.class_mean.value is not None:
        out.print(Text(overall.swap_pull.class_mean.reading))
    out.print()
    figures = table("over all classes", "mean", "95 % interval", "pictures")
    for name, figure in {
        "swap gap (accuracy lost to spurious features of other classes)": report.headline,
        "swap pull (pictures of other classes taken for a class with its features)": overall.swap_pull.class_mean,
        "clean accuracy": overall.clean_accuracy.class_mean,
        "core accuracy (noise on spurious features)": overall.core_accuracy.class_mean,
        "spurious accuracy (noise on core features)": overall.spurious_accuracy.class_mean,
        "cost of noise on spurious features beyond its control": overall.spurious_control_difference.class_mean,
        "relative core sensitivity": overall.rcs.class_mean,
    }.items():
        figures.add_row(name, _value(figure), _interval(figure), f"{figure.n:,}")
    out.print(figures)
    out.print()
    classes = table("class", "swap gap", "95 % interval", "swap pull", "clean", "core", "pictures", "verdict")
    for found in report.findings.classes:
        classes.add_row(
            found.name,
            _value(found.swap_gap),
            _interval(found.swap_gap),
            _value(found.swap_pull),
            _value(found.clean_accuracy),
            _value(found.core_accuracy),
            f"{found.clean_accuracy.n:,}",
            Text(WORDS[found.verdict], STYLES[found.verdict]),
        )
    out.print(classes)
    if skipped := sum(report.findings.skipped.values()):
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in report.findings.skipped.items())
        out.print(f"[yellow]skipped {skipped:,}:[/] {reasons}")


def _value(figure: Figure) -> str:
    return "withheld" if figure.value is None else f"{figure.value:.3f}"


def _interval(figure: Figure) -> str:
    return "" if figure.low is None or figure.high is None else f"{figure.low:.3f} to {figure.high:.3f}"
