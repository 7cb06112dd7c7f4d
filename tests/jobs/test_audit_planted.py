"""On classifiers whose reliance on cues is known by intervention, the audit finds it."""

from __future__ import annotations

import io
import json
import os
from itertools import combinations

import pytest
import torch
from PIL import Image

from jobs.audit import AuditRequest, Subjects, audit_shard
from jobs.class_map import map_classes
from jobs.counts import Counts
from jobs.datasets import Sample
from jobs.findings import Findings
from jobs.reduction import find
from models.bank import Bank, find_banks
from models.classifiers import open_classifier
from models.classifiers.spec import ClassifierSpec
from models.planted.rendering import render
from models.planted.scenes import CLASSES, draw_scene
from models.shipped import PLANTED_FAMILY
from models.training.recipes import PLANTED_TEST_RATES

PER_CLASS = 140
SEED = 51
MEMBERS = ("planted-0", "planted-3", "planted-4", "planted-6")
CLEARLY = 0.1
"""Members whose true reliance differs by less than this may come in any order."""


@pytest.fixture(scope="module")
def true_reliance() -> dict[str, float]:
    family = json.loads((PLANTED_FAMILY / "family.json").read_text())
    return {member["name"]: member["reliance"] for member in family["members"]}


@pytest.fixture(scope="module")
def bank() -> Bank:
    return Bank.load(find_banks()["planted"])


@pytest.fixture(scope="module")
def samples(bank: Bank) -> list[Sample]:
    """Pictures of the classes for which the bank knows spurious features; none of them was met in training."""
    found: list[Sample] = []
    for label, name in enumerate(CLASSES):
        for index in range(PER_CLASS if bank.spurious(bank.class_index(name)) else 0):
            stream = io.BytesIO()
            Image.fromarray(render(draw_scene(name, SEED, index, PLANTED_TEST_RATES)).image).save(stream, "BMP")
            found.append(Sample(len(found), f"{name}/{index}", label, stream.getvalue()))
    return found


@pytest.fixture(scope="module")
def findings(bank: Bank, samples: list[Sample]) -> dict[str, Findings]:
    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    torch.set_num_threads(threads)
    backbone = bank.backbone(threads=threads)
    found = {}
    for name in MEMBERS:
        spec = ClassifierSpec.model_validate_json((PLANTED_FAMILY / f"{name}.spec.json").read_text())
        classifier = open_classifier(PLANTED_FAMILY / f"{name}.onnx", spec, threads=threads)
        classes = map_classes(bank, CLASSES, spec.classes)
        subjects = Subjects(bank, backbone, classifier.forward, spec.preprocessing, classes, classifier.provider)
        request = AuditRequest(classifier=name, dataset="planted")
        table = audit_shard(samples, subjects, request, 10**6, lambda done: None)
        found[name] = find(Counts.of(bank, [table]), bank, request.seed)
    return found


@pytest.mark.timeout(900)
def test_the_audit_orders_classifiers_by_their_true_reliance(
    findings: dict[str, Findings], true_reliance: dict[str, float]
) -> None:
    measured = {name: found.overall.reliance.class_mean.value for name, found in findings.items()}
    for first, second in combinations(MEMBERS, 2):
        if abs(true_reliance[first] - true_reliance[second]) >= CLEARLY:
            less, more = sorted((first, second), key=true_reliance.__getitem__)
            assert measured[less] < measured[more], (measured, true_reliance)


def test_the_object_reliant_classifier_is_not_flagged(
    findings: dict[str, Findings], true_reliance: dict[str, float]
) -> None:
    assert true_reliance["planted-0"] < 0.02
    assert [own.name for own in findings["planted-0"].classes if own.verdict == "relies"] == []


def test_the_cue_reliant_classifier_is_flagged(
    findings: dict[str, Findings], true_reliance: dict[str, float]
) -> None:
    assert true_reliance["planted-6"] > 0.8
    assert len([own.name for own in findings["planted-6"].classes if own.verdict == "relies"]) >= 2


def test_the_object_reliant_classifier_needs_the_core_more_and_the_cue_reliant_one_the_cues(
    findings: dict[str, Findings],
) -> None:
    assert findings["planted-0"].overall.reliance.class_mean.high < 0
    assert findings["planted-6"].overall.reliance.class_mean.low > 0
