"""Gates: what rules may say, how intervals decide, and what a verdict leaves for other programs."""

from __future__ import annotations

import math
import re
from typing import Any, get_args
from xml.etree import ElementTree

import pytest

from jobs.comparison import Comparison, compare
from jobs.errors import Invalid
from jobs.figures import Figure
from jobs.gate import Gate, Judged, check_rules, judge
from jobs.gate_files import junit, summary
from jobs.gate_rules import LARGEST_FILE, MOST_RULES, read_rules
from jobs.metrics import BUILT_IN, Place, close_matches, figures_of, metrics_of
from jobs.report import Report
from jobs.sections import Entry, Metric, Section, Unit
from jobs.units import NOTATIONS, parse, show
from models.statistics import wilson
from tests.jobs import world
from tests.jobs.audited import audited
from tests.jobs.test_comparison import hens, outcomes

BANK = world.bank()


def figure(value: float, low: float, high: float, n: int = 400) -> Figure:
    return Figure(value=value, low=low, high=high, n=n, reading="")


def withheld(n: int) -> Figure:
    return Figure(value=None, low=None, high=None, n=n, withheld=f"{n} pictures are too few", reading="")


SECTION = Section(
    name="tags",
    title="Tags",
    answer="",
    method=(),
    metrics=(
        Metric(name="gap", title="Gap", unit="points", worse="higher", about=""),
        Metric(name="accuracy", title="Accuracy", unit="share", worse="lower", about=""),
    ),
    entries=(
        Entry(metric="gap", part="red", figure=figure(0.03, 0.01, 0.05)),
        Entry(metric="gap", part="blue", figure=figure(0.30, 0.25, 0.35)),
        Entry(metric="gap", of="hen", part="red", figure=figure(0.04, 0.01, 0.07, 100)),
        Entry(metric="gap", of="owl", part="red", figure=figure(0.08, 0.02, 0.14, 100)),
        Entry(metric="gap", of="elk", part="red", figure=withheld(7)),
        Entry(metric="accuracy", of="hen", figure=figure(1.0, wilson(40, 40).low, 1.0, 40)),
        Entry(metric="accuracy", of="owl", figure=figure(0.95, wilson(38, 40).low, wilson(38, 40).high, 40)),
    ),
)


@pytest.fixture(scope="module")
def report() -> Report:
    """Of hens alone, and a section whose figures are written down above."""
    return audited([hens(outcomes(50, 1))], BANK).model_copy(update={"sections": (SECTION,)})


@pytest.fixture(scope="module")
def comparison(report: Report) -> Comparison:
    """With itself, unpaired."""
    return compare(report, report, None, "1")


def rule(check: str, **keys: object) -> str:
    lines = [f"{name} = {value}" if isinstance(value, int) else f'{name} = "{value}"' for name, value in keys.items()]
    return "\n".join(["[[rule]]", f'check = "{check}"', *lines, ""])


def verdicts(report: Report, check: str, comparison: Comparison | None = None, **keys: object) -> list[Judged]:
    return list(judge(report, read_rules(rule(check, **keys)), comparison).judged)


# --- Addresses


def test_every_figure_of_a_report_has_one_address(report: Report) -> None:
    figures = figures_of(report)
    assert figures[Place(metric="core_accuracy", mean="class")] == report.findings.overall.core_accuracy.class_mean
    (hen,) = report.findings.classes
    assert figures[Place(metric="core_accuracy", of="hen")] == hen.core_accuracy
    assert figures[Place(metric="sensitivity", of="hen", feature=1)] == hen.features[1].sensitivity
    assert figures[Place(metric="tags.gap", of="owl", part="red")].value == 0.08
    assert figures[Place(metric="tags.gap", mean="class", part="blue")].value == 0.30
    assert {place.metric for place in figures} == set(metrics_of(report))
    in_overall = set(type(report.findings.overall).model_fields)
    assert in_overall < set(BUILT_IN)


def test_a_class_without_spurious_features_has_no_figure_of_them(report: Report) -> None:
    (hen,) = report.findings.classes
    cores = [feature for feature in hen.features if feature.label == "core"]
    findings = report.findings.model_copy(update={"classes": [hen.model_copy(update={"features": cores})]})
    places = figures_of(report.model_copy(update={"findings": findings}))
    of_hen = {place.metric for place in places if place.of == "hen" and place.feature is None}
    assert "clean_accuracy" in of_hen
    assert "rcs" in of_hen
    assert not of_hen & {"swap_gap", "core_accuracy", "spurious_evidence", "evidence_balance"}


def test_every_unit_can_be_written_and_shown() -> None:
    assert set(NOTATIONS) == set(get_args(Unit))
    for unit, notation in NOTATIONS.items():
        value = parse(notation.example, unit)
        number = re.findall(r"[\d.]+", show(value, unit))[0]
        assert float(number) == pytest.approx(float(notation.example.split()[0]))


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [("5 points", "points", 0.05), ("-1.5points", "points", -0.015), ("80 %", "share", 0.8), ("80%", "share", 0.8)],
)
def test_values_are_in_their_unit(text: str, unit: Unit, value: float) -> None:
    assert parse(text, unit) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("5", "points"),
        ("5 %", "points"),
        ("0.8", "share"),
        ("120 %", "share"),
        ("-3 %", "share"),
        ("101 points", "points"),
        ("nan nats", "nats"),
        ("1e9 nats", "nats"),
        ("0.2 points", "nats"),
        ("0.1 nats", "index"),
        ("", "index"),
    ],
)
def test_values_in_another_unit_or_none_are_refused_with_an_example(text: str, unit: Unit) -> None:
    with pytest.raises(ValueError, match=re.escape(NOTATIONS[unit].example)):
        parse(text, unit)


def test_close_matches() -> None:
    known = ["swap_gap", "natural-pictures.spurious_gap", "clean_accuracy"]
    assert close_matches("spurious_gap", known)[0] == "natural-pictures.spurious_gap"
    assert close_matches("Swap gap", known)[0] == "swap_gap"
    assert close_matches("x" * 10_000, known) == []


# --- Rules


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no rules"),
        ("rule = []", "no rules"),
        ("rule = 3", "no rules"),
        ("rule = [1]", "no rules"),
        ("not toml", "no TOML"),
        ("a = " + "[" * 30_000, "no TOML"),
        (rule("swap_gap <= 5 points") + f"min = {'9' * 5000}", "no TOML"),
        (rule("swap_gap <= 5 points", name="\ud800"), "no TOML"),
        ("#" * (LARGEST_FILE + 1), "larger than 64 KiB"),
        (rule("swap_gap <= 5 points") * (MOST_RULES + 1), "more than 200"),
        ("limit = 1\n" + rule("swap_gap <= 5 points"), "unknown keys: 'limit'"),
        (rule("swap_gap <= 5 points") + rule("swap_gap"), "Rule 2: 'swap_gap' is no check"),
        (rule("swap_gap =< 5 points"), "Rule 1: '=<' is no operator; known are <=, <, >=, >"),
        (rule("swap_gap <= 5 points", name="mine", of="hen", **{"class": "hen"}), "Rule 1: of: "),
        (rule("swap_gap <= 5 points", of="every class", **{"class": "hen"}), "exclude each other"),
        (rule("swap_gap <= 5 points", against="yesterday"), "Rule 1: against: "),
        (rule("swap_gap <= 5 points", min=-1), "Rule 1: min: "),
        (rule("swap_gap <= 5 points", severity="high"), "Rule 1: severity: "),
        (rule("x" * 400), "Rule 1: check: "),
    ],
)
def test_rules_that_cannot_be_read_are_refused_by_number(text: str, why: str) -> None:
    with pytest.raises(Invalid, match=re.escape(why)) as refused:
        read_rules(text)
    assert refused.value.field == "rules"


@pytest.mark.parametrize(
    ("check", "keys", "why", "remedy"),
    [
        ("swap_gp <= 5 points", {}, "no metric 'swap_gp'", "swap_gap"),
        ("gap <= 5 points", {}, "no metric 'gap'", "tags.gap"),
        ("spurious-only.auroc >= 90 %", {}, "does not measure spurious-only.auroc", "--measure spurious-only"),
        ("tags.gap <= 0.05", {"name": "few"}, "Rule 1 ('few'): '0.05' is not a value in points", None),
        ("swap_gap <= 5 points", {"class": "crow"}, "no figure of 'crow'", "hen"),
        ("tags.gap <= 5 points", {"part": "green"}, "no part 'green'", "blue, red"),
        ("tags.gap <= 5 points", {"of": "sample mean"}, "no such figure", "class mean"),
        ("swap_gap <= 5 points", {"against": "baseline"}, "none is given", "Name a baseline"),
        ("clean_accuracy >= 80 %", {"against": "baseline"}, "'80 %' is not a value in points", None),
    ],
)
def test_rules_that_do_not_fit_the_audit_are_refused_with_a_remedy(
    report: Report, comparison: Comparison, check: str, keys: dict[str, Any], why: str, remedy: str | None
) -> None:
    with pytest.raises(Invalid, match=re.escape(why)) as refused:
        verdicts(report, check, comparison if "%" in check else None, **keys)
    assert remedy is None or remedy in (refused.value.remedy or "")


def test_what_can_be_known_beforehand_is_refused_beforehand() -> None:
    for check in ("swap_gp <= 5 points", "swap_gap <= 5 %", "nowhere.gap <= 5 points", "noise-sweep.new <= 0.1"):
        with pytest.raises(Invalid, match="Rule 1"):
            check_rules(read_rules(rule(check)))
    rules = read_rules(rule("swap_gap <= 5 points") + rule("noise-sweep.rcs >= 0.1"))
    check_rules(rules)
    check_rules(rules, ["noise-sweep", "region-noise"])
    with pytest.raises(Invalid, match="Rule 2: this audit does not measure") as refused:
        check_rules(rules, ["region-noise"])
    assert "--measure noise-sweep" in (refused.value.remedy or "")
    against = read_rules(rule("swap_gap <= 5 points", against="baseline"))
    check_rules(against, with_baseline=True)
    with pytest.raises(Invalid, match="none is given"):
        check_rules(against, with_baseline=False)


def test_a_value_that_no_figure_reaches_is_refused_where_it_would_let_everything_pass() -> None:
    changes = rule("swap_gap <= 150 points", against="baseline") + rule("rcs >= -1.5", against="baseline")
    check_rules(read_rules(changes))
    for check in ("swap_gap <= 150 points", "rcs >= -1.5"):
        with pytest.raises(Invalid, match="more than there can be"):
            check_rules(read_rules(rule(check)))


# --- Verdicts


@pytest.mark.parametrize(
    ("check", "verdict"),
    [  # the figure is 3 points, 1 to 5
        ("tags.gap <= 5 points", "pass"),
        ("tags.gap < 5 points", "undecided"),
        ("tags.gap <= 4 points", "undecided"),
        ("tags.gap <= 2 points", "undecided"),
        ("tags.gap <= 1 points", "undecided"),
        ("tags.gap < 1 points", "fail"),
        ("tags.gap <= 0.9 points", "fail"),
        ("tags.gap >= 1 points", "pass"),
        ("tags.gap > 1 points", "undecided"),
        ("tags.gap >= 5 points", "undecided"),
        ("tags.gap > 5 points", "fail"),
    ],
)
def test_the_interval_decides_and_not_the_value(report: Report, check: str, verdict: str) -> None:
    (one,) = verdicts(alone(report), check)
    assert one.verdict == verdict
    assert one.figures == 1


def alone(report: Report) -> Report:
    """With the figure of red tags over all classes as the section's only one."""
    section = SECTION.model_copy(update={"entries": SECTION.entries[:1]})
    return report.model_copy(update={"sections": (section,)})


def test_how_many_pictures_would_decide(report: Report) -> None:
    # 3 points, 1 to 5, on 400 pictures; the bound is 1 point away and the interval reaches 2: four times as many
    (one,) = verdicts(alone(report), "tags.gap <= 4 points")
    assert one.needed == 1600
    assert "about 1,600 pictures" in one.reading
    (never,) = verdicts(alone(report), "tags.gap <= 3 points")
    assert never.needed is None
    assert "lies on the bound" in never.reading


def test_too_few_pictures_decide_nothing(report: Report) -> None:
    (one,) = verdicts(report, "tags.gap <= 99 points", **{"class": "elk"})
    assert (one.verdict, one.needed) == ("undecided", 20)
    assert "7 pictures are too few" in one.reading
    (rested,) = verdicts(report, "tags.gap <= 99 points", min=500, part="red")
    assert (rested.verdict, rested.needed) == ("undecided", 500)
    assert "asks for 500" in rested.reading


def test_intervals_of_several_figures_are_widened_until_all_hold(report: Report) -> None:
    every = verdicts(report, "tags.gap <= 10 points", of="every class")
    assert [one.place.of for one in every] == ["hen", "owl", "elk"]
    hen = every[0]
    wider = 2.3940 / 1.9600  # quantiles of 1 - .025 / 3 and of .975
    assert hen.figures == 3
    assert (hen.low, hen.high) == (
        pytest.approx(0.04 - 0.03 * wider, abs=1e-5),
        pytest.approx(0.04 + 0.03 * wider, abs=1e-5),
    )
    assert [one.verdict for one in every] == ["pass", "undecided", "undecided"]
    assert verdicts(report, "tags.gap <= 7 points", **{"class": "hen"})[0].verdict == "pass"
    assert verdicts(report, "tags.gap <= 7 points", of="every class")[0].verdict == "undecided"


def test_widened_shares_reach_as_far_as_wilsons_interval_at_that_level(report: Report) -> None:
    hen, owl = verdicts(report, "tags.accuracy >= 50 %", of="every class")
    z = 2.2414  # quantile of 1 - .025 / 2
    assert hen.low == pytest.approx(40 / (40 + z**2), abs=1e-4)
    assert hen.high == 1
    assert owl.low is not None
    assert owl.low <= wilson(38, 40, z).low


def test_the_worst_class_is_passed_only_where_every_class_is(report: Report) -> None:
    for bound, verdict, worst in ((0, "fail", "owl"), (10, "undecided", "owl"), (99, "undecided", "elk")):
        (one,) = verdicts(report, f"tags.gap <= {bound} points", of="worst class")
        every = verdicts(report, f"tags.gap <= {bound} points", of="every class")
        assert one.verdict == verdict == min((e.verdict for e in every), key=("fail", "undecided", "pass").index)
        assert one.place.of == worst
        assert "worst of 3" in one.reading
    (lowest,) = verdicts(report, "tags.accuracy >= 10 %", of="worst class")
    assert (lowest.verdict, lowest.place.of) == ("pass", "owl")


def test_changes_from_a_baseline_are_judged_by_their_own_intervals(report: Report, comparison: Comparison) -> None:
    (one,) = verdicts(alone(report), "tags.gap <= 3 points", comparison, against="baseline", part="red")
    # 3 points less 3 points, each give or take 2: give or take sqrt(8)
    assert (one.value, one.high) == (0, pytest.approx(math.sqrt(8) / 100))
    assert one.verdict == "pass"
    assert one.paired is False
    assert "against the baseline" in one.check
    assert verdicts(alone(report), "tags.gap <= 2.7 points", comparison, against="baseline", part="red")[0].verdict == (
        "undecided"
    )


def test_the_gravest_verdict_is_the_gates(report: Report) -> None:
    good, unsure, bad = (rule(f"tags.gap <= {bound} points", part="red") for bound in (5, 4, 0))
    for rules, verdict in ((good, "pass"), (good + unsure, "undecided"), (good + unsure + bad, "fail")):
        gate = judge(report, read_rules(rules))
        assert gate.verdict == verdict
        assert gate.answer.lower().startswith(verdict)


# --- What it leaves

HOSTILE = "</system-out><script>alert(1)</script> | [x](javascript:y) @team `` \\u0000 ]]>"


@pytest.fixture(scope="module")
def hostile(report: Report) -> Gate:
    rules = "".join(rule(f"tags.gap <= {bound} points", name=HOSTILE, part="red") for bound in (5, 4, 0))
    return judge(report, read_rules(rules))


def test_junit_has_a_case_for_every_figure(hostile: Gate) -> None:
    root = ElementTree.fromstring(junit(hostile))
    assert_fits_the_schema(root)
    assert {name: root.get(name) for name in ("tests", "failures", "errors")} == {
        "tests": "3",
        "failures": "1",
        "errors": "1",
    }
    cases = root.findall("./testsuite/testcase")
    assert [[child.tag for child in case] for case in cases] == [["system-out"], ["error"], ["failure"]]
    assert "<script>alert(1)</script>" in (cases[0].get("classname") or "")  # as text
    assert root.find(".//script") is None


ALLOWED = {  # element: (required attributes, further attributes, children), of the schema of Jenkins' JUnit plugin
    "testsuites": (set(), {"name", "time", "tests", "failures", "errors", "disabled"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests"},
        {"failures", "errors", "time", "skipped", "timestamp", "hostname", "id", "package"},
        {"properties", "testcase", "system-out", "system-err"},
    ),
    "properties": (set(), set(), {"property"}),
    "property": ({"name", "value"}, set(), set()),
    "testcase": (
        {"name"},
        {"classname", "time", "status", "assertions"},
        {"failure", "error", "skipped", "system-out"},
    ),
    "failure": (set(), {"type", "message"}, set()),
    "error": (set(), {"type", "message"}, set()),
    "system-out": (set(), set(), set()),
}


def assert_fits_the_schema(element: ElementTree.Element) -> None:
    required, further, children = ALLOWED[element.tag]
    assert required <= set(element.attrib) <= required | further, element.tag
    for child in element:
        assert child.tag in children, (element.tag, child.tag)
        assert_fits_the_schema(child)


def test_markdown_shows_names_as_they_are_and_acts_on_nothing(hostile: Gate) -> None:
    text = summary(hostile)
    assert "<script" not in text
    assert "[x](" not in text
    assert " @team" not in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + 3
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 5 for row in rows)
    assert rows[1].startswith("| ❌ fail")


def test_a_verdict_is_read_as_it_was_written(hostile: Gate) -> None:
    read = Gate.model_validate_json(hostile.to_json())
    assert (read.to_json(), junit(read)) == (hostile.to_json(), junit(hostile))
