"""How the figures of a report's sections become one figure of a classifier and one of each class."""

from __future__ import annotations

import pytest

from jobs.figures import Figure
from jobs.sections import Entry, Metric, Section
from tests.truth.members import ROBUSTNESS, Member, note_section, with_robustness


def figure(value: float | None) -> Figure:
    return Figure(value=value, low=value, high=value, n=40, reading="As measured.")


def section(name: str, metric: str, entries: list[Entry]) -> Section:
    own = Metric(name=metric, title=metric, unit="points", worse="lower", about="One.")
    return Section(name=name, title=name, answer="One.", method=(), metrics=(own,), entries=tuple(entries))


def noted(*sections: Section) -> Member:
    member = Member("one", {"ant": 0.5, "bee": 0.0})
    for own in sections:
        note_section(member, own)
    return member


def test_parts_are_measures_of_their_own() -> None:
    def entry(part: str, of: str | None, value: float) -> Entry:
        return Entry(metric="difference", part=part, of=of, figure=figure(value), p_value=0.01, flagged=of == "ant")

    entries = [entry(part, of, value) for part, value in (("grey", 0.2), ("blur", 0.4)) for of in (None, "ant", "bee")]
    member = noted(section("ablations", "difference", entries))
    assert member.means == {"ablations.difference[grey]": 0.2, "ablations.difference[blur]": 0.4}
    assert member.classes["ablations.difference[blur]"] == {"ant": 0.4, "bee": 0.4}
    assert member.flagged["ablations.difference[grey]"] == ["ant"]
    assert member.worse == {"ablations.difference[grey]": "lower", "ablations.difference[blur]": "lower"}


def test_figures_of_single_features_are_averaged_by_class_and_the_classes_then() -> None:
    def entry(of: str, feature: int, part: str, value: float, p_value: float, *, flagged: bool = False) -> Entry:
        return Entry(
            metric="leak", of=of, feature=feature, part=part, figure=figure(value), p_value=p_value, flagged=flagged
        )

    entries = [
        entry("ant", 1, "bee", 0.1, 0.2),
        entry("ant", 2, "bee", 0.3, 0.001, flagged=True),
        entry("bee", 1, "ant", 0.6, 0.2),
    ]
    member = noted(section("class-leaks", "leak", entries))
    assert member.classes["class-leaks.leak"] == pytest.approx({"ant": 0.2, "bee": 0.6})
    assert member.means["class-leaks.leak"] == pytest.approx(0.4)
    assert member.flagged["class-leaks.leak"] == ["ant"]


def test_a_mean_of_classes_stands_in_where_a_section_has_none() -> None:
    entries = [Entry(metric="error_rate", of=of, figure=figure(value)) for of, value in (("ant", 0.2), ("bee", 0.4))]
    assert noted(section("failure-modes", "error_rate", entries)).means["failure-modes.error_rate"] == (
        pytest.approx(0.3)
    )


def test_a_withheld_mean_stays_withheld() -> None:
    entries = [Entry(metric="worst", figure=figure(None)), Entry(metric="worst", of="ant", figure=figure(0.4))]
    member = noted(section("natural-pictures", "worst", entries))
    assert member.means["natural-pictures.worst"] is None
    assert "natural-pictures.worst" not in member.flagged


def test_effective_robustness_is_what_is_left_beside_the_line_through_all() -> None:
    """Worked by hand: through (0, 0), (1, 0) and (2, 3) goes y = 1.5 x - 0.5."""
    ends = ("natural-pictures.accuracy_highest", "natural-pictures.accuracy_lowest")
    members = [
        Member(name, {}, dict(zip(ends, pair, strict=True)))
        for name, pair in (("a", (0.0, 0.0)), ("b", (1.0, 0.0)), ("c", (2.0, 3.0)))
    ]
    found = [own.means[ROBUSTNESS] for own in with_robustness(members)]
    assert found == pytest.approx([0.5, -1.0, 0.5])
