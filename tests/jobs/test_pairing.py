"""Figures of all measurements compared picture by picture, on audits of classifiers whose reliance is known."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from PIL import Image

from jobs.audit import audit_shard
from jobs.audit_request import AuditRequest
from jobs.audit_subjects import Subjects, scope_of
from jobs.class_map import map_classes
from jobs.comparison import Comparison, Difference, compare
from jobs.counts import Counts
from jobs.datasets import Sample
from jobs.gate import judge
from jobs.gate_rules import read_rules
from jobs.measurement import Scope
from jobs.pairing import Pairing
from jobs.reduction import find
from jobs.report import Report, make_report
from models.bank import Bank
from models.bank_folders import find_banks
from models.classifiers import open_classifier
from models.classifiers.spec import ClassifierSpec
from models.planted.rendering import render
from models.planted.scenes import CLASSES, draw_scene
from models.shipped import PLANTED_FAMILY
from models.training.recipes import PLANTED_TEST_RATES
from tests.jobs import world
from tests.jobs.large_report import classifier, dataset
from tests.truth.audits import remembering

SHOWN = {"robot": 60, "balloon": 42}
"""How many pictures of each: enough that half of a class, and a third of the robots, are enough for a figure. Cues of
robots are core for balloons."""

MEASUREMENTS: dict[str, dict[str, Any]] = {
    "ablations": {"fills": ["grey"]},
    "artefacts": {"artefacts": ["tag"]},
    "class-leaks": {"ends": 0.5},
    "cue-swaps": {},
    "failure-modes": {"pictures": 100, "permutations": 99},
    "natural-pictures": {"ends": 0.5},
    "noise-sweep": {"sigmas": [0.5], "draws": 2},
    "overlap": {},
    "region-noise": {},
    "spurious-only": {"dataset": "0" * 64},
}
OF_MODES = {
    "failure-modes.held_out_lift",
    "failure-modes.mode_coverage",
    "failure-modes.mode_error_rate",
}
"""Figures of what each audit finds for itself, which is not the same in both."""


@dataclass(frozen=True)
class Audited:
    """An audit: its rows, what it was asked, and what it found."""

    table: pa.Table
    request: AuditRequest
    scope: Scope
    report: Report


def summed_up(table: pa.Table, request: AuditRequest, scope: Scope) -> Audited:
    tallies = [tally for own, asked in request.chosen() if (tally := own.tally(scope, asked)) is not None]
    waiting = tallies
    while waiting:
        for tally in waiting:
            tally.add(table)
        waiting = [tally for tally in tallies if tally.again()]
    counts = Counts.of(scope.bank, [table])
    sections = [tally.section() for tally in tallies]
    findings, pictures = find(counts, scope.bank, request.seed), dataset("planted", CLASSES, len(scope.of_row))
    subject = classifier(request.classifier, CLASSES)
    report = make_report("a" * 32, "1", request, subject, pictures, scope.bank, counts, findings, sections)
    return Audited(table, request, scope, report)


@pytest.fixture(scope="module")
def audits() -> dict[str, Audited]:
    """Of the one that goes by the object and of one that goes by cues."""
    bank = Bank.load(find_banks()["planted"])
    items = list(drawn(SHOWN, 77))
    cues = [item._replace(label=CLASSES.index(tuple(SHOWN)[item.row % 2])) for item in drawn({"kite": 42}, 6)]
    backbone, found = remembering(bank.backbone(runtime="torch")), {}
    for name in ("planted-1", "planted-4"):
        spec = ClassifierSpec.model_validate_json((PLANTED_FAMILY / f"{name}.spec.json").read_text())
        opened = open_classifier(PLANTED_FAMILY / f"{name}.onnx", spec, threads=1)
        classes, pictures = map_classes(bank, CLASSES, spec.classes), world.pictures(items)
        subjects = Subjects(
            bank=bank,
            backbone=backbone,
            predict=opened.forward,
            preprocessing=spec.preprocessing,
            classes=classes,
            pictures=pictures,
            provider=opened.provider,
            further={"spurious-only": classes},
        )
        request = AuditRequest(classifier=name, dataset="planted", measurements=MEASUREMENTS)
        table = audit_shard(items, subjects, request, 10**6, lambda done: None, {"spurious-only": cues})
        found[name] = summed_up(table, request, scope_of(bank, classes, pictures, request.seed))
    return found


def drawn(pictures: Mapping[str, int], seed: int) -> Iterator[Sample]:
    row = count()
    for name, number in pictures.items():
        for index in range(number):
            stream = io.BytesIO()
            Image.fromarray(render(draw_scene(name, seed, index, PLANTED_TEST_RATES)).image).save(stream, "BMP")
            yield Sample(next(row), f"{name}/{index}", CLASSES.index(name), stream.getvalue())


def compared(first: Audited, second: Audited, cuts: Sequence[int] = ()) -> Comparison:
    """Both read side by side, cut after some of the second's pictures."""
    pairing = Pairing(first.scope.bank, (first.request, second.request), (first.scope, second.scope))
    rows = second.table["row"].to_numpy()
    ends = [0, *cuts, 10**9]

    def tables(columns: Sequence[str]) -> Iterator[tuple[pa.Table, pa.Table]]:
        for start, stop in pairwise(ends):
            yield first.table.select(columns), second.table.select(columns).filter((rows >= start) & (rows < stop))

    pairing.take_in(tables)
    return compare(first.report, second.report, pairing, "1")


def known(comparison: Comparison) -> list[Difference]:
    return [found for found in comparison.differences if found.figure.value is not None]


@pytest.fixture(scope="module")
def comparison(audits: dict[str, Audited]) -> Comparison:
    return compared(audits["planted-4"], audits["planted-1"])


def test_every_figure_of_the_same_pictures_is_paired(comparison: Comparison) -> None:
    """Else a section would have intervals that are wider than need be, and nobody would know why."""
    assert {found.metric for found in known(comparison) if not found.paired} <= OF_MODES
    paired = {found.metric for found in known(comparison) if found.paired}
    assert paired == {found.metric for found in known(comparison)} - OF_MODES
    assert {metric.partition(".")[0] for metric in paired if "." in metric} == set(MEASUREMENTS) - {
        "cue-swaps",
        "region-noise",
    }


def test_the_change_is_the_audits_figure_less_the_baselines(comparison: Comparison) -> None:
    changed = 0
    for found in known(comparison):
        assert found.audit is not None
        assert found.baseline is not None
        assert found.figure.value == pytest.approx(found.audit - found.baseline, abs=1e-9), found
        changed += found.paired and abs(found.audit - found.baseline) > 0.01
    assert changed > 30, "classifiers so unlike that most figures differ"


def test_an_audit_compared_with_itself_has_no_change_and_some_doubt(audits: dict[str, Audited]) -> None:
    own = audits["planted-4"]
    found = [difference for difference in known(compared(own, own)) if difference.paired]
    assert len(found) > 100
    for difference in found:
        value, low, high = difference.figure.known or (np.nan,) * 3
        assert value == 0
        assert low < 0 < high, difference
    assert np.median(ratios(own, own)) < 0.7


def ratios(first: Audited, second: Audited) -> list[float]:
    """How wide paired intervals are, those of two independent samples being 1."""
    apart = compare(first.report, second.report, None, "1").differences
    together = compared(first, second).differences
    widths = [
        [known[2] - known[1] for own in pair if (known := own.figure.known) is not None]
        for pair in zip(together, apart, strict=True)
        if pair[0].paired
    ]
    return [found[0] / found[1] for found in widths if len(found) == 2 and found[1] > 0]


def test_pairs_are_mostly_surer_than_two_samples(audits: dict[str, Audited]) -> None:
    """Even of classifiers as unlike as these."""
    assert np.median(ratios(audits["planted-4"], audits["planted-1"])) < 1


def test_how_audits_were_cut_changes_nothing(audits: dict[str, Audited], comparison: Comparison) -> None:
    again = compared(audits["planted-4"], audits["planted-1"], cuts=(20, 21, 60))
    for own, other in zip(comparison.differences, again.differences, strict=True):
        assert own.figure.n == other.figure.n
        assert (own.figure.known is None) == (other.figure.known is None)
        assert own.figure.known is None or own.figure.known == pytest.approx(other.figure.known, abs=1e-6), own


def test_without_a_classifier_that_was_deleted_findings_are_still_paired(audits: dict[str, Audited]) -> None:
    first, second = audits["planted-4"], audits["planted-1"]
    pairing = Pairing(first.scope.bank, (first.request, second.request), None)
    pairing.take_in(lambda columns: [(first.table.select(columns), second.table.select(columns))])
    found = compare(first.report, second.report, pairing, "1")
    assert all(own.paired == ("." not in own.metric) for own in known(found))
    assert any("deleted since" in note for note in found.notes)


def test_pictures_that_one_audit_has_under_another_class_are_no_pairs(audits: dict[str, Audited]) -> None:
    """Maps of class names may differ: a picture's class is a part of what it is compared by."""
    first, second = audits["planted-4"], audits["planted-1"]
    bank = first.scope.bank
    robot, balloon = (bank.class_index(name) for name in SHOWN)
    kept = second.table.filter(pc.invert(pc.starts_with(second.table["variant"], "feature")))
    classes = kept["class"].to_numpy()
    moved = pa.array(np.where(classes == robot, balloon, classes), pa.int32())
    found = compared(first, replace(second, table=kept.set_column(2, kept.schema.field("class"), moved)))
    assert found.pictures == SHOWN["balloon"]
    of_robots = {own.metric for own in found.differences if own.paired and own.of == "robot" and own.figure.n}
    assert of_robots <= {"artefacts.spurious_score", "artefacts.control_score", "artefacts.score_difference"}


def test_a_gate_judges_sections_by_their_paired_changes(audits: dict[str, Audited], comparison: Comparison) -> None:
    rules = read_rules('[[rule]]\ncheck = "natural-pictures.accuracy_lowest <= 0 points"\nagainst = "baseline"\n')
    (one,) = judge(audits["planted-4"].report, rules, comparison).judged
    assert (one.paired, one.verdict) == (True, "pass")
    change = next(d for d in known(comparison) if (d.metric, d.mean) == ("natural-pictures.accuracy_lowest", "class"))
    assert (one.value, one.low, one.high) == change.figure.known
