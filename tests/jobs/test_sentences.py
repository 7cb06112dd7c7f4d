"""The sentences of a report: every figure says in one whole sentence what it is, how sure, and which way is worse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from jobs.audit import audit_shard
from jobs.audit_request import AuditRequest
from jobs.audit_subjects import Own, Subjects, scope_of
from jobs.counts import Counts
from jobs.datasets import Sample
from jobs.figures import Figure, mean, percent, share
from jobs.findings import Findings, Model
from jobs.measurements import measurements
from jobs.metrics import declared_metrics
from jobs.readings import flagged_in_words
from jobs.reduction import find
from jobs.sections import Entry, Section
from models.bank import Bank
from models.classifiers.linear_head import LinearHead
from tests.jobs import world
from tests.jobs.test_own_head import CUE, look

HEAD = LinearHead(CUE.weight, np.array([0, 30], np.float32))
"""Hens without their cue are taken for owls."""

FURTHER = "0" * 64
SENTENCE = re.compile(r"([^ ]+ )+\(95 % interval [^()]+ to [^()]+, [\d,]+ pictures( of (1 class|\d+ classes))?\)\.")
DIRECTION = re.compile(r"(higher|lower|neither direction) is worse|negative where the feature misleads|far from 0")
BESIDE = ("control_score",)
"""Read beside another figure, which says the direction."""


def seen(batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    _, features = look(batch)
    return HEAD.scores(features), features


@pytest.fixture(scope="module")
def bank() -> Bank:
    """Green is spurious for hens and core for owls."""
    return world.bank(
        world.feature(0, 0, 1, "core"), world.feature(0, 1, 2, "spurious"), world.feature(1, 1, 1, "core")
    )


@pytest.fixture(scope="module")
def subjects(bank: Bank) -> Subjects:
    """A classifier of hens that goes by their cue, with its own head, and pictures enough for every figure."""
    items = world.samples(260, 40, cue=lambda i: i % 3 != 0)
    made = world.subjects(lambda batch: seen(batch)[0], bank, dataset=items)
    return replace(made, own=Own(seen, HEAD), further={"spurious-only": made.classes})


@pytest.fixture(scope="module")
def request_of_all() -> AuditRequest:
    """Everything measured."""
    chosen: dict[str, dict[str, object]] = {name: {} for name in measurements()}
    return AuditRequest(
        classifier="c", dataset="d", bank="world", measurements=chosen | {"spurious-only": {"dataset": FURTHER}}
    )


@pytest.fixture(scope="module")
def table(subjects: Subjects, request_of_all: AuditRequest) -> pa.Table:
    """All rows."""
    items = list(subjects.pictures.read(range(300)))
    cue = world.png(world.picture(world.BLUE, (4, 4), (40, 28)))
    cues = [Sample(i, f"hen/{i}.png", 0, cue) for i in range(30)]
    return audit_shard(items, subjects, request_of_all, 10**6, lambda done: None, {"spurious-only": cues})


@pytest.fixture(scope="module")
def sections(subjects: Subjects, request_of_all: AuditRequest, table: pa.Table) -> dict[str, Section]:
    """What every measurement says."""
    scope = scope_of(subjects.bank, subjects.classes, subjects.pictures, seed=0)
    found: dict[str, Section] = {}
    for measurement, parameters in request_of_all.chosen():
        tally = measurement.tally(scope, parameters)
        if tally is None:
            continue
        tally.add(table)
        while tally.again():
            tally.add(table)
        found[measurement.name] = tally.section()
    return found


@pytest.fixture(scope="module")
def findings(bank: Bank, table: pa.Table) -> Findings:
    """What is found without a section."""
    return find(Counts.of(bank, [table]), bank, 0)


def figures_in(found: object) -> Iterator[Figure]:
    if isinstance(found, Figure):
        yield found
    elif isinstance(found, Model):
        for name in type(found).model_fields:
            yield from figures_in(getattr(found, name))
    elif isinstance(found, list | tuple):
        for own in found:
            yield from figures_in(own)


def check(figure: Figure, *, directed: bool = True) -> None:
    said = figure.reading
    assert said[0].isupper(), said
    assert "{" not in said, said
    if figure.value is None:
        assert figure.withheld, said
        assert said == f"Withheld: {figure.withheld}."
        return
    assert SENTENCE.fullmatch(said), said
    assert not directed or DIRECTION.search(said), said


def test_the_figures_of_the_findings_say_which_way_is_worse(findings: Findings) -> None:
    found = list(figures_in(findings))
    assert sum(figure.value is not None for figure in found) > 40
    for figure in found:
        check(figure)
    hen = findings.classes[0]
    core, spurious = hen.features
    assert (core.label, spurious.label) == ("core", "spurious")
    assert "lower is worse" in core.evidence.reading
    assert "higher is worse" in spurious.evidence.reading


def test_the_figures_of_every_section_say_which_way_is_worse(sections: dict[str, Section]) -> None:
    for name, section in sections.items():
        assert section.withheld is None, name
        assert any(entry.figure.value is not None for entry in section.entries), name
        for entry in section.entries:
            check(entry.figure, directed=entry.metric not in BESIDE)
        for series in section.series:
            for point in series.points:
                check(point.figure, directed=False)


@pytest.mark.parametrize(
    ("section", "metric", "part", "says"),
    [
        ("failure-modes", "error_rate", None, r"Of the pictures of hen that were drawn [\d.]+ % are classified wrong"),
        ("failure-modes", "mode_error_rate", "feature", r"Where feature 1 is up to [\d.]+, [\d.]+ % of the pictures"),
        ("overlap", "whole_spurious_region_accuracy", None, r"With noise on the whole spurious region, [\d.]+ % of"),
        ("own-head", "loading", "own feature 1", r"Own feature 1 enters .* with [+−][\d.]+ of its length; neither"),
    ],
)
def test_sentences_that_were_none(
    sections: dict[str, Section], section: str, metric: str, part: str | None, says: str
) -> None:
    found = [
        e
        for e in sections[section].entries
        if (e.metric, e.of) == (metric, "hen") and (e.part or "").startswith(part or "")
    ]
    assert re.match(says, found[0].figure.reading), found[0].figure.reading


def test_the_point_of_a_curve_is_read_as_a_sentence(sections: dict[str, Section]) -> None:
    (own,) = (series for series in sections["natural-pictures"].series if series.of == "hen")
    assert re.match(r"Of these pictures of hen [\d.]+ % are classified right \(", own.points[0].figure.reading)


def test_more_flagged_classes_than_a_sentence_holds_are_counted() -> None:
    figure = Figure(value=0.2, low=0.1, high=0.3, n=30, reading="It is.")
    entries = [Entry(metric="gap", of=f"bird {i}", figure=figure, p_value=0.0, flagged=True) for i in range(10)]
    said = flagged_in_words(entries, "gap", "It costs")
    assert said.startswith("It costs in 10 of 10 classes tested: bird 0, bird 1")
    assert said.endswith("bird 7 and 2 more.")


def test_what_is_withheld_says_why_in_words() -> None:
    one, none = (share(np.array([0, n]), np.random.default_rng(0)) for n in (1, 0))
    assert one.figure("", "", percent).withheld == "1 picture is too few, at least 20 are needed"
    assert mean([one, none]).figure("", "", percent).withheld == "too few pictures, no class has 20 for it"


def test_a_share_of_the_score_is_never_surely_more_than_all_of_it(sections: dict[str, Section]) -> None:
    shares = [entry.figure for entry in sections["own-head"].entries if entry.metric == "cue_share"]
    assert shares
    for figure in shares:
        assert figure.value is not None
        assert figure.high is not None
        assert figure.high <= max(1.0, figure.value)


def test_sections_have_the_metrics_that_their_measurement_declares(sections: dict[str, Section]) -> None:
    """Rules can be written before there is a report, and a metric that was not measured is told from one unknown."""
    for name, section in sections.items():
        assert section.metrics == measurements()[name].metrics, name
        assert {f"{name}.{metric.name}" for metric in section.metrics} <= set(declared_metrics())
        assert {entry.metric for entry in section.entries} <= {metric.name for metric in section.metrics}
