"""Mitigations: what is fitted and on what, a whole job of both methods by real processes, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pytest
import torch
from onnx import helper
from pydantic import ValidationError
from safetensors.torch import save_file

from jobs.classifiers import ClassifierRecord, get_classifier, import_classifier
from jobs.errors import Invalid
from jobs.isolation import IsolatedClassifier
from jobs.mitigation_fit import choose_pictures, fit_spufix, refit_head
from jobs.mitigation_look import SCHEMA
from jobs.mitigation_report import ACCURACY, FORMER, MitigationReport, found_of
from jobs.mitigation_request import MitigationRequest
from jobs.mitigation_split import MitigationPlan, split
from jobs.records import JobState
from models import architectures
from models.classifiers.linear_head import LinearHead
from models.classifiers.spec import ClassifierSpec
from tests import networks
from tests.jobs import world
from tests.jobs.installation import Installation, work

OUTPUTS = np.array([0, 1], dtype=np.int32)
ASKED = MitigationRequest(classifier="c", dataset="d", bank="world", method="head-refit", lowest=10)


def looked(hens: int, owls: int) -> pa.Table:
    """Hens show their cue ever more, which is what own feature 0 sees; feature 1 sees the object; owls have no cue."""
    strength = np.linspace(0, 1, hens)
    rows = [
        {"row": i, "class": 0, "activation": [strength[i]], "features": [strength[i], 1.0, 0.0]} for i in range(hens)
    ]
    rows += [{"row": hens + i, "class": 1, "activation": [], "features": [0.5, 0.0, 1.0]} for i in range(owls)]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def test_a_split_takes_its_share_of_every_class_and_leaves_the_rest() -> None:
    labels = np.repeat(np.arange(3, dtype=np.int32), [10, 4, 6])
    first, second = split(labels, 0.5, seed=3)
    assert np.bincount(labels[first]).tolist() == [5, 2, 3]
    assert sorted([*first, *second]) == list(range(20))
    assert not set(first) & set(second)
    assert first.tolist() != split(labels, 0.5, seed=4)[0].tolist()
    assert first.tolist() != [0, 1, 2, 3, 4, 10, 11, 14, 15, 16], "drawn, not cut"


def test_shards_hold_every_row_once() -> None:
    plan, rows = MitigationPlan.of(7, 5, 3), np.arange(100, 107)
    assert (plan.fitted, plan.judged) == ([3, 3, 1], [3, 2])
    assert [row for shard in range(3) for row in plan.rows(rows, shard)] == rows.tolist()


def test_a_head_is_fitted_on_the_least_spurious_pictures_from_their_own_end() -> None:
    """The released rankings took what they called the highest from the lowest end."""
    half = looked(30, 8)
    chosen, classes = choose_pictures(lambda: [half.slice(0, 20), half.slice(20)], OUTPUTS, world.bank(), ASKED)
    assert sorted(chosen[0]) == list(range(10))
    assert set(chosen[1]) <= set(range(30, 38))
    assert [own.pictures for own in classes] == [10, 8]
    assert classes[0].spuriosity == pytest.approx(np.mean([(i - 14.5) for i in range(10)]) / np.std(range(30)))
    many = ASKED.model_copy(update={"lowest": 100})
    chosen, _ = choose_pictures(lambda: [half], OUTPUTS, world.bank(), many)
    assert sorted(chosen[0]) == list(range(15)), "at most half of a class"


def test_a_refitted_head_counts_the_object_and_less_the_cue() -> None:
    cue = LinearHead(np.array([[4.0, 0, 0], [0, 0, 0], [0, 0, 7]], np.float32), np.array([-2.0, 0, -3], np.float32))
    fit = refit_head(lambda: [looked(40, 20)], cue, np.array([0, 1, -1], np.int32), world.bank(), ASKED)
    after = LinearHead(fit.arrays["weight"], fit.arrays["bias"])
    cueless_hen, owl_with_cue = np.array([[0, 1, 0], [1, 0, 1]], np.float32)
    assert cue.scores(np.stack([cueless_hen, owl_with_cue]))[:, :2].argmax(axis=1).tolist() == [1, 0]
    assert after.scores(np.stack([cueless_hen, owl_with_cue]))[:, :2].argmax(axis=1).tolist() == [0, 1]
    np.testing.assert_array_equal(after.weight[2], cue.weight[2])
    assert after.bias[2] == cue.bias[2], "an output without pictures keeps its weights"


def test_spufix_acts_on_all_outputs_of_a_class_and_says_what_it_left_out() -> None:
    head = LinearHead(np.array([[2.0, 1, 0], [0, 1, 1], [3.0, 0, 0]], np.float32), np.zeros(3, np.float32))
    both = np.array([0, 1, 0], np.int32)  # the first and the last output stand for hens
    fit = fit_spufix(lambda: [looked(30, 30)], head, both, [0], world.bank(), 0.05)
    assert fit.arrays["outputs"].tolist() == [0, 2]
    np.testing.assert_allclose(fit.arrays["weight"], [[2, 0, 0], [3, 0, 0]], atol=1e-9)
    np.testing.assert_allclose(fit.arrays["offset"], [1, 1.5], atol=1e-6)
    assert fit.classes[0].features == [1]
    with pytest.raises(Invalid, match="No class has a spurious feature that varies") as refused:
        fit_spufix(lambda: [looked(19, 0)], head, both, [0], world.bank(), 0.05)
    assert refused.value.field == "dataset"


def test_what_is_fitted_on_is_not_what_is_judged() -> None:
    with pytest.raises(ValidationError, match="held_out is the data set that is fitted on"):
        MitigationRequest(classifier="c", dataset="d", method="spufix", held_out="d")
    with pytest.raises(ValidationError, match="method"):
        MitigationRequest.model_validate({"classifier": "c", "dataset": "d", "method": "prayer"})


def test_a_classifier_without_a_linear_head_is_refused_before_anything_is_queued(
    in_process: Installation, tmp_path: Path
) -> None:
    path = networks.pooled(
        tmp_path / "p.onnx", after=[helper.make_node("Softmax", ["linear"], ["scores"], name="last")]
    )
    queue = in_process.queue
    record = import_classifier(queue.store, path, networks.spec(), in_process.settings)
    request = MitigationRequest(classifier=record.id, dataset=in_process.request.dataset, bank="tiny", method="spufix")
    with pytest.raises(Invalid, match="no linear head: its graph ends in Softmax") as refused:
        queue.submit(request)
    assert refused.value.field == "classifier"
    assert "logits" in (refused.value.remedy or "")
    assert queue.page().jobs == []


def test_a_mitigation_changes_a_classifier_and_says_what_that_brought(in_process: Installation) -> None:
    """Of noise nobody can tell a cue, so the figures say little; what is checked is that they are of these files."""
    queue, audit = in_process.queue, in_process.request
    before = get_classifier(queue.store, audit.classifier)
    request = MitigationRequest(
        classifier=audit.classifier,
        dataset=audit.dataset,
        bank="tiny",
        method="spufix",
        measurements={"cue-swaps": {}},
        fit_share=0.75,
    )
    job = queue.submit(request).id
    tasks = work(queue)
    record = queue.get(job)
    assert record.state is JobState.SUCCEEDED, record.message
    assert tasks.count("reduce") == 2
    assert {"mitigation.json", "mitigation.html", "mitigation.md", "patched.onnx"} <= set(record.artefacts)
    assert record.done == record.total

    report = MitigationReport.model_validate_json(queue.store.read_bytes(f"mitigations/{job}/mitigation.json"))
    assert report.fitted == 2 * 98
    assert report.judged in (64, 65), "one picture is broken"
    assert {own.name for own in report.classes} == {"cat", "dog"}
    told = {}
    assert all(own.left_out is None for own in report.classes)
    changed = get_classifier(queue.store, report.after.id)
    assert changed.spec.version == f"{before.spec.version}+spufix.{job[:12]}"
    for part, own in (("before", report.before), ("after", report.after)):
        audited = json.loads(queue.store.read_bytes(f"mitigations/{job}/audit-{part}.json"))
        assert audited["classifier"]["id"] == own.id
        told[part] = audited["findings"]["overall"]["clean_accuracy"]["class_mean"]["value"]
    cost = found_of(report.comparison, ACCURACY)
    assert cost is not None
    assert (cost.baseline, cost.audit) == (told["before"], told["after"])
    assert cost.paired
    assert cost.figure.value == pytest.approx(told["after"] - told["before"])

    content = queue.store.read_bytes(f"mitigations/{job}/patched.onnx")
    assert content == queue.store.read_bytes(f"blobs/{changed.blob}")
    onnx.checker.check_model(onnx.load_from_string(content))
    batch = networks.pictures(5)
    scores = [predicted(in_process, one, batch) for one in (before, changed)]
    bird = networks.CLASSES.index("bird")
    np.testing.assert_array_equal(scores[0][:, bird], scores[1][:, bird])
    assert (scores[0] != scores[1])[:, :bird].any()
    assert queue.submit(request).id == job, "the same inputs are the same job"


def test_spufix_of_a_network_in_safetensors_leaves_an_onnx_file(in_process: Installation, tmp_path: Path) -> None:
    queue, audit = in_process.queue, in_process.request
    torch.manual_seed(0)
    arguments = {"blocks": [1, 1, 1, 1], "widths": [4, 4, 8, 8]}
    path = tmp_path / "network.safetensors"
    save_file(architectures.build("small_resnet", 3, arguments).state_dict(), path)
    declared = networks.spec(
        format="safetensors",
        architecture="small_resnet",
        arguments=arguments,
        preprocessing={"size": 32, "mean": (0.4, 0.5, 0.6)},
        version="2",
    )
    before = import_classifier(queue.store, path, declared, in_process.settings)
    fields = {"bank": "tiny", "method": "spufix", "measurements": {"cue-swaps": {}}}
    request = MitigationRequest(classifier=before.id, dataset=audit.dataset, **fields)
    job = queue.submit(request).id
    work(queue)
    record = queue.get(job)
    assert record.state is JobState.SUCCEEDED, record.message
    assert "patched.onnx" in record.artefacts
    report = MitigationReport.model_validate_json(queue.store.read_bytes(f"mitigations/{job}/mitigation.json"))
    assert report.patched == "patched.onnx"
    changed = get_classifier(queue.store, report.after.id)
    told = ClassifierSpec.model_validate_json(queue.store.read_bytes(f"mitigations/{job}/patched.spec.json"))
    assert told == changed.spec == declared.exported().model_copy(update={"version": f"2+spufix.{job[:12]}"})
    batch = networks.pictures(6, 32)
    first, second = (predicted(in_process, one, batch) for one in (before, changed))
    np.testing.assert_allclose(first[:, 2], second[:, 2], atol=1e-5)
    assert np.abs(first - second)[:, :2].max() > 1e-3


def test_a_mitigated_classifier_can_be_mitigated_again_by_either_method(in_process: Installation) -> None:
    """Of a classifier with SpuFix both methods make what they make of the one it was made from."""
    queue, audit = in_process.queue, in_process.request
    fields = {"dataset": audit.dataset, "bank": "tiny", "measurements": {"cue-swaps": {}, "own-head": {}}, "lowest": 10}

    def mitigated(classifier: str, method: str) -> MitigationReport:
        job = queue.submit(MitigationRequest(classifier=classifier, method=method, **fields)).id
        work(queue)
        assert queue.get(job).state is JobState.SUCCEEDED, queue.get(job).message
        return MitigationReport.model_validate_json(queue.store.read_bytes(f"mitigations/{job}/mitigation.json"))

    first = mitigated(audit.classifier, "spufix")
    batch = networks.pictures(5)
    for method in ("spufix", "head-refit"):
        once = first if method == "spufix" else mitigated(audit.classifier, method)
        again = mitigated(first.after.id, method)
        told, expected = (
            predicted(in_process, get_classifier(queue.store, one.after.id), batch) for one in (again, once)
        )
        np.testing.assert_allclose(told, expected, atol=1e-5)
        assert set(again.method) - set(once.method) == set(FORMER[method])
        sections = json.loads(queue.store.read_bytes(f"mitigations/{again.mitigation}/audit-before.json"))["sections"]
        (own_head,) = (one for one in sections if one["name"] == "own-head")
        assert "SpuFix stands behind the classifier's linear head" in own_head["withheld"]


def predicted(installation: Installation, record: ClassifierRecord, batch: np.ndarray) -> np.ndarray:
    """Scores of a kept classifier."""
    with (
        installation.queue.store.local_copy(f"blobs/{record.blob}") as path,
        IsolatedClassifier(path, record.spec, installation.settings) as isolated,
    ):
        return isolated.predict(batch)
