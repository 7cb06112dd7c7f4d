"""The panel's audits leave no measurement out."""

from __future__ import annotations

import pytest

from jobs.audit_request import AuditRequest
from jobs.audit_subjects import Own
from jobs.counts import Counts
from jobs.measurements import measurements
from jobs.reduction import find
from jobs.sections import Section
from models.bank import Bank
from models.bank_folders import find_banks
from models.classifiers import open_classifier
from models.classifiers.spec import ClassifierSpec
from models.planted.scenes import CLASSES
from models.shipped import PLANTED_FAMILY
from tests.truth.audits import ASKED, WITHOUT, audit
from tests.truth.cue_pictures import audited, drawn, spurious_only
from tests.truth.members import Member, note_findings, note_section

SEED = 91
NAMES = "balloon", "beetle"
IN_FINDINGS = {"region-noise": "core_accuracy", "cue-swaps": "swap_gap"}
"""Measurements without a section, and a figure of each."""


@pytest.fixture(scope="module")
def audit_of_one() -> tuple[Member, list[Section]]:
    """What an audit says of the most reliant classifier of the family, on few pictures."""
    spec = ClassifierSpec.model_validate_json((PLANTED_FAMILY / "planted-5.spec.json").read_text())
    classifier = open_classifier(PLANTED_FAMILY / "planted-5.onnx", spec, features=True)
    assert classifier.head is not None
    own = Own(classifier.look, classifier.head)
    bank = Bank.load(find_banks()["planted"])
    wanted = {name: ASKED.get(name, {}) for name in measurements() if name not in WITHOUT}
    request = AuditRequest(classifier="panel", dataset="planted", measurements=wanted)
    samples = drawn(audited(NAMES, 24, SEED))
    second = drawn([scene for scene in spurious_only(SEED) if scene.label in NAMES][::3])
    table, sections = audit(classifier, spec, bank, bank.backbone(threads=1), samples, CLASSES, request, own, second)
    found = Member("planted-5", {})
    note_findings(found, find(Counts.of(bank, [table]), bank, request.seed))
    for section in sections:
        note_section(found, section)
    return found, sections


def test_every_measurement_is_in_it(audit_of_one: tuple[Member, list[Section]]) -> None:
    member, sections = audit_of_one
    assert IN_FINDINGS.keys() | {section.name for section in sections} == measurements().keys() - WITHOUT
    assert member.means.keys() >= set(IN_FINDINGS.values())


def test_every_figure_says_which_direction_speaks_for_reliance(audit_of_one: tuple[Member, list[Section]]) -> None:
    member, _ = audit_of_one
    assert member.worse.keys() == member.means.keys()
    assert member.worse["spurious-only.average_precision"] == "lower"
    assert member.worse["noise-sweep.core_accuracy[0.25]"] == member.worse["core_accuracy"] == "lower"


def test_pictures_with_the_cue_alone_are_taken_for_the_class(audit_of_one: tuple[Member, list[Section]]) -> None:
    """planted-5 goes by backgrounds, whatever the object."""
    member, _ = audit_of_one
    assert member.flagged["spurious-only.false_trigger_excess"] == list(NAMES)
