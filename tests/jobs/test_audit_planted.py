"""On classifiers whose reliance on cues is known by intervention, the audit finds it."""

from __future__ import annotations

import io
import json
import os
from itertools import combinations

import pytest
from PIL import Image

from jobs.audit import audit_shard
from jobs.audit_request import AuditRequest
from jobs.audit_subjects import Subjects
from jobs.class_map import map_classes
from jobs.counts import Counts
from jobs.datasets import Sample
from jobs.findings import Findings
from jobs.reduction import find
from models.bank import Bank
from models.bank_folders import find_banks
from models.classifiers import open_classifier
from models.classifiers.spec import ClassifierSpec
from models.planted.rendering import render
from models.planted.scenes import CLASSES, draw_scene
from models.shipped import PLANTED_FAMILY
from models.training.recipes import PLANTED_TEST_RATES
from tests.jobs import world
from tests.truth.audits import remembering

PER_CLASS = 100
SEED = 77
"""Of pictures that played no part in choosing the measure, which was done on those of seed 51."""


@pytest.fixture(scope="module")
def true_reliance() -> dict[str, float]:
    """Accuracy with own cues less accuracy with swapped cues, by member."""
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
def findings(bank: Bank, samples: list[Sample], true_reliance: dict[str, float]) -> dict[str, Findings]:
    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    backbone = remembering(bank.backbone(threads=threads))
    found = {}
    for name in true_reliance:
        spec = ClassifierSpec.model_validate_json((PLANTED_FAMILY / f"{name}.spec.json").read_text())
        classifier = open_classifier(PLANTED_FAMILY / f"{name}.onnx", spec, threads=threads)
        classes = map_classes(bank, CLASSES, spec.classes)
        subjects = Subjects(
            bank=bank,
            backbone=backbone,
            predict=classifier.forward,
            preprocessing=spec.preprocessing,
            classes=classes,
            pictures=world.pictures(samples),
            provider=classifier.provider,
        )
        request = AuditRequest(classifier=name, dataset="planted")
        table = audit_shard(samples, subjects, request, 10**6, lambda done: None)
        found[name] = find(Counts.of(bank, [table]), bank, request.seed)
    return found


def flagged(found: Findings) -> list[str]:
    return [own.name for own in found.classes if own.verdict == "relies"]


@pytest.mark.timeout(1200)  # drawing a thousand pictures and six audits of them: a minute on an idle machine
def test_the_audit_orders_classifiers_by_their_true_reliance(
    findings: dict[str, Findings], true_reliance: dict[str, float]
) -> None:
    """Members come by rising reliance; two whose truth is the same within a hundredth may come in either order."""
    measured = {name: findings[name].overall.swap_gap.class_mean for name in true_reliance}
    for lower, higher in combinations(true_reliance, 2):
        if true_reliance[higher] - true_reliance[lower] > 0.01:
            assert measured[lower].value < measured[higher].value, (lower, higher)


def test_object_reliant_classifiers_are_not_flagged(
    findings: dict[str, Findings], true_reliance: dict[str, float]
) -> None:
    """What the masks miss of a donor's object is pasted too, so the gap of an object-reliant classifier is not 0."""
    object_reliant = [name for name, reliance in true_reliance.items() if reliance < 0.02]
    reliant = [name for name, reliance in true_reliance.items() if reliance > 0.1]
    assert object_reliant
    for name in object_reliant:
        gap = findings[name].overall.swap_gap.class_mean
        assert flagged(findings[name]) == []
        assert gap.value < 0.05
        assert all(gap.high < findings[other].overall.swap_gap.class_mean.low for other in reliant)


def test_the_most_cue_reliant_classifier_is_flagged(
    findings: dict[str, Findings], true_reliance: dict[str, float]
) -> None:
    most = max(true_reliance, key=true_reliance.__getitem__)
    assert flagged(findings[most])
    assert findings[most].overall.swap_gap.class_mean.low > 0.3
