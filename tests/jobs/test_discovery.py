"""Discovery as a job: what the draft says is what a plain look at all features says, however the work was cut."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from jobs.classifiers import import_classifier
from jobs.datasets import Skipped, read_samples
from jobs.discovery_request import DiscoveryRequest
from jobs.errors import Invalid, NotFound
from jobs.pictures import PictureError, decode
from jobs.queue import JobQueue
from jobs.records import JobState
from jobs.subjects import find_bank
from models.backbone import Backbone
from models.components import Components
from models.draft import Draft, DraftClass
from models.geometry import prepare
from tests import networks
from tests.jobs.installation import Installation, work

CAT, DOG = 2, 3
TILE = 32


@pytest.fixture
def request_(in_process: Installation) -> DiscoveryRequest:
    """A small discovery of channels and components over the noisy pictures, by label: the network knows nothing."""
    return DiscoveryRequest(
        dataset=in_process.request.dataset,
        encoder="bank:tiny",
        grouping="label",
        channels=3,
        components=2,
        component_candidates=4,
        exemplars=4,
        attack_steps=3,
        prototype_steps=3,
        tile=TILE,
        descriptions={"cat": "It purrs."},
    )


def run(queue: JobQueue, request: DiscoveryRequest) -> str:
    job = queue.submit(request).id
    work(queue)
    record = queue.get(job, "discovery")
    assert record.state is JobState.SUCCEEDED, record.message
    assert record.done == record.total
    return job


def files(queue: JobQueue, job: str) -> dict[str, bytes]:
    """Everything that users see of a discovery, by name."""
    store, folder = queue.store, f"discoveries/{job}"
    names = [f"{part}/{name}" for part in ("classes", "panels", "strips") for name in store.list(f"{folder}/{part}")]
    return {name: store.read_bytes(f"{folder}/{name}") for name in [*names, "draft.json", "components.safetensors"]}


def described(queue: JobQueue, job: str, index: int) -> DraftClass:
    return DraftClass.model_validate_json(queue.store.read_bytes(f"discoveries/{job}/classes/{index}.json"))


class Plain:
    """All features of all pictures in one array, the way one would look without any of this."""

    def __init__(self, installation: Installation) -> None:
        self.backbone = find_bank(installation.settings, "tiny").backbone(runtime="torch")
        rows, labels, pixels = [], [], []
        for sample in read_samples(installation.queue.store, installation.request.dataset, 0, 261):
            if isinstance(sample.content, Skipped):
                continue
            try:
                pixels.append(prepare(decode(sample.content), self.backbone.preprocessing))
            except PictureError:
                continue
            rows.append(sample.row)
            labels.append(sample.label + CAT)
        self.rows, self.labels = np.array(rows), np.array(labels)
        self.phi = self.backbone.forward(torch.stack(pixels)).phi.numpy().astype(np.float64)
        self.predicted = self.backbone.forward(torch.stack(pixels)).logits.argmax(1).numpy()
        self.weight = self.backbone.weight.numpy().astype(np.float64)


def test_the_draft_says_what_a_plain_look_says(in_process: Installation, request_: DiscoveryRequest) -> None:
    job = run(in_process.queue, request_)
    plain = Plain(in_process)
    draft = Draft.model_validate_json(in_process.queue.store.read_bytes(f"discoveries/{job}/draft.json"))
    assert [c.name for c in draft.classes] == ["cat", "dog"]
    assert draft.grouping == "label"
    assert draft.pictures == 260
    assert draft.skipped == {"not_a_picture": 1}
    assert draft.accuracy == pytest.approx((plain.predicted == plain.labels).mean(), abs=1e-4)
    importances = {index: plain.phi[plain.labels == index].mean(axis=0) * plain.weight[index] for index in (CAT, DOG)}
    tops = {index: [j for j in np.argsort(-all_)[:3] if all_[j] > 0] for index, all_ in importances.items()}
    for index, other in ((CAT, DOG), (DOG, CAT)):
        own = plain.labels == index
        phi, values = plain.phi[own], importances[index]
        found = described(in_process.queue, job, index)
        channels = [c for c in found.candidates if c.component is None]
        assert [c.feature_index for c in channels] == tops[index]
        for candidate in channels:
            assert candidate.tops == ((other,) if candidate.feature_index in tops[other] else ())
            activation = phi[:, candidate.feature_index]
            assert candidate.importance == pytest.approx(values[candidate.feature_index], rel=1e-4)
            assert candidate.statistics.std == pytest.approx(activation.std(), rel=1e-3)
            assert candidate.statistics.valid_from == pytest.approx(np.quantile(activation, 0.8), rel=1e-4)
            best = plain.rows[own][np.argsort(-activation, kind="stable")[:4]]
            assert [e.row for e in candidate.exemplars] == best.tolist()
            assert all(e.attacked >= e.activation - 1e-4 for e in candidate.exemplars)
        assert (found.pictures, found.group) == (own.sum(), own.sum())
        assert found.description == ("It purrs." if index == CAT else "")


def test_components_of_a_draft_are_features_of_a_bank(in_process: Installation, request_: DiscoveryRequest) -> None:
    job = run(in_process.queue, request_)
    plain = Plain(in_process)
    with in_process.queue.store.local_copy(f"discoveries/{job}/components.safetensors") as path:
        components = Components.load(path)
    alphas = components.alphas(torch.from_numpy(plain.phi).float()).numpy()
    for index in (CAT, DOG):
        own = plain.labels == index
        found = [c for c in described(in_process.queue, job, index).candidates if c.component is not None]
        assert len(found) == 2
        assert found[0].prototype is not None
        assert found[0].prototype.probability >= found[1].prototype.probability
        for candidate in found:
            alpha = alphas[own, candidate.feature_index - plain.phi.shape[1]]
            assert alpha.mean() == pytest.approx(0, abs=1e-4 * max(1.0, np.abs(alpha).max()))
            best = plain.rows[own][np.argsort(-alpha, kind="stable")[:4]]
            assert [e.row for e in candidate.exemplars] == best.tolist()


def test_panels_are_whole_pictures_of_tiles(in_process: Installation, request_: DiscoveryRequest) -> None:
    job = run(in_process.queue, request_)
    for candidate in described(in_process.queue, job, CAT).candidates:
        panel = Image.open(io.BytesIO(in_process.queue.store.read_bytes(f"discoveries/{job}/{candidate.panel}")))
        assert panel.size == (TILE * (4 + (candidate.component is not None)), TILE * 3)
        pixels = np.asarray(panel).astype(int)
        picture, heat = pixels[:TILE, :TILE], pixels[TILE : 2 * TILE, :TILE]
        assert np.abs(picture - heat).mean() > 10


def test_the_cut_of_the_work_changes_nothing(
    in_process: Installation, request_: DiscoveryRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = files(in_process.queue, run(in_process.queue, request_))
    in_process.queue.store.delete("discoveries")
    in_process.queue.ledger.client.flushall()
    monkeypatch.setenv("CUECHECK_SHARD_PICTURES", "40")
    assert files(in_process.queue, run(JobQueue(type(in_process.settings)()), request_)) == first


def test_what_is_done_is_not_done_again(in_process: Installation, request_: DiscoveryRequest) -> None:
    queue = in_process.queue
    job = run(queue, request_)
    before = files(queue, job)
    queue.ledger.client.flushall()
    for name in ("job.json", "draft.json", f"classes/{DOG}.json"):
        queue.store.delete(f"discoveries/{job}/{name}")
    again = queue.submit(request_).id
    assert again == job
    assert work(queue) == ["plan", "shard-5", "reduce"], "the first pass was there, and the class of the second was not"
    assert files(queue, job) == before


def test_a_killed_worker_costs_nothing_but_time(installation: Installation, request_: DiscoveryRequest) -> None:
    request = request_.model_copy(update={"batch_size": 2, "attack_steps": 30})
    with installation.worker() as victim:
        job = installation.queue.submit(request).id
        installation.wait_for_mid_shard(job, finished=1)
        victim.kill()
    with installation.worker():
        record = installation.wait_until(job, JobState.SUCCEEDED)
    assert record.done == record.total


def test_cancelling_stops_at_the_next_step_of_a_climb(
    in_process: Installation, request_: DiscoveryRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, steps = in_process.queue, 0
    activations = Backbone.activations

    def cancelled_at_the_third(backbone: Backbone, pictures: torch.Tensor) -> torch.Tensor:
        nonlocal steps
        steps += 1
        if steps == 3:
            queue.cancel(job)
        return activations(backbone, pictures)

    job = queue.submit(request_).id
    with monkeypatch.context() as patch:
        patch.setattr(Backbone, "activations", cancelled_at_the_third)
        work(queue)
    assert (queue.get(job).state, steps) == (JobState.CANCELLED, 3)
    assert queue.submit(request_).id == job
    assert "shard-0" not in work(queue), "the first pass is not done again"
    assert queue.get(job).state is JobState.SUCCEEDED


def test_of_some_classes_the_same_is_found_and_the_others_are_left_out_by_reason(
    in_process: Installation, request_: DiscoveryRequest
) -> None:
    queue = in_process.queue
    request = request_.model_copy(update={"components": 0})
    every, some = run(queue, request), run(queue, request.model_copy(update={"classes": ["dog", "ant"]}))
    draft = Draft.model_validate_json(queue.store.read_bytes(f"discoveries/{some}/draft.json"))
    assert draft.skipped == {"class_not_chosen": 131}
    assert draft.pictures == 130
    assert [(c.name, c.candidates > 0) for c in draft.classes] == [("ant", False), ("dog", True)]
    assert "No picture" in draft.classes[0].note
    alone, beside = described(queue, some, DOG), described(queue, every, DOG)
    assert [c.model_copy(update={"tops": ()}) for c in beside.candidates] == list(alone.candidates)


def test_a_class_of_one_picture_says_so(in_process: Installation, request_: DiscoveryRequest) -> None:
    job = run(in_process.queue, request_.model_copy(update={"max_pictures": 1}))
    found = [described(in_process.queue, job, index) for index in (CAT, DOG)]
    (alone,) = [c for c in found if c.group == 1]
    (empty,) = [c for c in found if c.group == 0]
    assert "at least two pictures" in alone.note
    assert all(len(c.exemplars) == 1 for c in alone.candidates)
    assert "No picture" in empty.note
    assert empty.candidates == ()


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"encoder": "0" * 64}, "encoder", "no encoder"),
        ({"encoder": "bank:nobody"}, "encoder", "no bank"),
        ({"dataset": "0" * 64}, "dataset", "no data set"),
        ({"encoder": "bank:planted"}, "class_map", "None of the data set's 2 classes"),
        ({"classes": ["unicorn"]}, "classes", "unicorn"),
        ({"classes": ["ant"]}, "classes", "no picture of the classes"),
        ({"class_map": {"cat": "unicorn"}}, "class_map", "unicorn"),
        ({"grouping": "predicted", "classifier": "IT"}, "grouping", "failures"),
    ],
)
def test_what_does_not_fit_is_refused_before_it_is_queued(
    in_process: Installation, request_: DiscoveryRequest, changes: dict[str, object], field: str, message: str
) -> None:
    if "classifier" in changes:
        changes = changes | {"classifier": in_process.request.classifier}
    with pytest.raises((NotFound, Invalid), match=message) as refused:
        in_process.queue.submit(request_.model_copy(update=changes))
    assert refused.value.field == field
    assert in_process.queue.page().jobs == []


def test_a_classifiers_failures_bring_their_features(
    in_process: Installation, request_: DiscoveryRequest, tmp_path: Path
) -> None:
    """It says cat where a picture is rather red, dog where it is rather green: on noise, wrong in every class."""
    file = networks.pooled(tmp_path / "colours.onnx", weights=np.eye(3, dtype=np.float32))
    classifier = import_classifier(in_process.queue.store, file, networks.spec(), in_process.settings)
    request = request_.model_copy(update={"classifier": classifier.id, "components": 0})
    job = run(in_process.queue, request)
    plain = Plain(in_process)
    for index in (CAT, DOG):
        found = described(in_process.queue, job, index)
        failing = [candidate for candidate in found.candidates if candidate.failure is not None]
        assert failing
        for candidate in failing:
            figures = candidate.failure
            assert figures is not None
            assert "failure" in candidate.sources
            activation = plain.phi[plain.labels == index, candidate.feature_index]
            inside = activation <= figures.threshold if figures.below else activation > figures.threshold
            assert inside.sum() == figures.pictures
            assert figures.error_rate > figures.base_error_rate
            assert figures.p_value is not None
