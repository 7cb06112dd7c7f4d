"""Trainings as jobs: tiny networks on tiny pictures, with real workers that are killed, stopped and run out of disk."""

from __future__ import annotations

import io
import json
import resource
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from jobs.archives import ArchiveLimits
from jobs.datasets import import_archive
from jobs.encoders import get_encoder, load_encoder
from jobs.errors import Invalid, NotFound
from jobs.records import JobRecord, JobState
from jobs.settings import Settings
from jobs.store import Store
from jobs.tasks import perform
from jobs.training_request import TrainingRequest
from tests.jobs.conftest import QUICK
from tests.jobs.installation import Installation, wait_for, work

NETWORK = {"widths": [4, 4, 8, 8], "strides": [1, 2, 1, 1]}


def bright_and_dark(path: Path, per_class: int = 40, names: tuple[str, ...] = ("bright", "dark")) -> Path:
    """A zip of 16-pixel pictures whose classes differ in their brightness, with one broken picture."""
    draw = np.random.default_rng(3)
    with zipfile.ZipFile(path, "w") as target:
        for index, name in enumerate(names):
            for number in range(per_class):
                pixels = draw.integers(0, 100, (16, 16, 3)) + 150 * (index == 0)
                stream = io.BytesIO()
                Image.fromarray(pixels.astype(np.uint8)).save(stream, "PNG")
                target.writestr(f"{name}/{number:03d}.png", stream.getvalue())
        target.writestr(f"{names[0]}/broken.png", b"\x89PNG\r\n\x1a\n broken")
    return path


@pytest.fixture
def place(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """An installation with one data set; tasks of this process use it too."""
    settings = settings.model_copy(update=QUICK)
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    limits = ArchiveLimits.from_settings(settings)
    record = import_archive(Store.from_settings(settings), bright_and_dark(tmp_path / "a.zip"), limits, "light")
    return Installation(settings, request(record.id))  # type: ignore[arg-type]


def request(dataset: str, **changes: object) -> TrainingRequest:
    fields: dict[str, object] = {
        "dataset": dataset,
        "held_out": 0.2,
        "name": "light",
        "architecture": "small_resnet",
        "arguments": NETWORK,
        "size": 16,
        "epsilon": 0.2,
        "steps": 1,
        "epochs": 3,
        "batch_size": 16,
        "learning_rate": 0.05,
        "averaging": 0.5,
        "precision": "fp32",
    }
    return TrainingRequest.model_validate(fields | changes)


def result(place: Installation, job: str) -> dict[str, object]:
    content: dict[str, object] = json.loads(place.queue.store.read_bytes(f"trainings/{job}/training.json"))
    return content


def weights(place: Installation, job: str) -> bytes:
    return place.queue.store.read_bytes(f"encoders/{result(place, job)['encoder']}/backbone.safetensors")


def train(place: Installation, wanted: TrainingRequest) -> JobRecord:
    job = place.queue.submit(wanted).id
    work(place.queue)
    return place.queue.get(job)


def test_a_training_ends_in_an_encoder_with_its_accuracies(place: Installation) -> None:
    record = train(place, place.request)
    assert record.state is JobState.SUCCEEDED, record
    assert (record.kind, record.done, record.total) == ("training", 3 * 65, 3 * 65)
    assert {"training.json", "epochs.json", "accuracy.png", "request.json"} == set(record.artefacts)
    encoder = get_encoder(place.queue.store, str(result(place, record.id)["encoder"]))
    assert encoder.spec.classes == ("bright", "dark")
    assert encoder.spec.backbone.maps == (8, 8, 8)
    accuracy = encoder.spec.card["accuracy"]
    assert accuracy["clean"] >= accuracy["robust"] >= 0.9
    assert encoder.spec.card["skipped"] == 1
    epochs = json.loads(place.queue.store.read_bytes(f"trainings/{record.id}/epochs.json"))["epochs"]
    assert [row["epoch"] for row in epochs] == [1, 2, 3]
    assert all(row["clean"] >= row["robust"] for row in epochs)
    picture = Image.open(io.BytesIO(place.queue.store.read_bytes(f"trainings/{record.id}/accuracy.png")))
    assert picture.format == "PNG"
    assert list((place.settings.data_dir / "store" / ".scratch").iterdir()) == []


def test_what_does_not_fit_is_refused_on_submission(place: Installation, tmp_path: Path) -> None:
    dataset = place.request.dataset
    limits = ArchiveLimits.from_settings(place.settings)
    single = import_archive(place.queue.store, bright_and_dark(tmp_path / "b.zip", names=("one",)), limits, "one")
    other = import_archive(
        place.queue.store, bright_and_dark(tmp_path / "c.zip", names=("bright", "pink")), limits, "other"
    )
    for wanted, error, field in (
        (request("0" * 64), NotFound, "dataset"),
        (request(single.id), Invalid, "dataset"),
        (request(dataset, held_out=other.id), Invalid, "held_out"),
        (request(dataset, encoder="0" * 64), NotFound, "encoder"),
        (request(dataset, batch_size=512), Invalid, "batch_size"),
    ):
        with pytest.raises(error) as raised:
            place.queue.submit(wanted)
        assert raised.value.field == field
    for changes in ({"route": "linear_head"}, {"batch_size": 9, "processes": 2}, {"mean": (0, 0, 0)}):
        with pytest.raises(ValueError, match=r"encoder|evenly|together"):
            request(dataset, **changes)


def epochs_done(place: Installation, job: str) -> int:
    name = f"trainings/{job}/epochs.json"
    store = place.queue.store
    return len(json.loads(store.read_bytes(name))["epochs"]) if store.exists(name) else 0


def test_a_killed_training_goes_on_from_its_last_epoch_to_the_same_weights(place: Installation) -> None:
    long = place.request.model_copy(update={"epochs": 30})
    undisturbed = weights(place, train(place, long).id)
    place.queue.store.delete("trainings")
    place.queue.ledger.client.flushall()
    job = place.queue.submit(long).id
    with place.worker() as worker:
        wait_for(lambda: epochs_done(place, job) >= 2, "two epochs")
        worker.horse().kill()
        place.wait_until(job, JobState.SUCCEEDED)
    assert weights(place, job) == undisturbed
    assert epochs_done(place, job) == 30


def test_a_cancelled_training_stops_at_once_and_is_taken_up_again(place: Installation) -> None:
    job = place.queue.submit(place.request.model_copy(update={"epochs": 400})).id
    with place.worker() as worker:
        wait_for(lambda: epochs_done(place, job) >= 2, "two epochs")
        horse = worker.horse()
        place.queue.cancel(job)
        horse.wait(10)
        done = epochs_done(place, job)
        assert done < 400
        place.queue.retry(job)
        wait_for(lambda: epochs_done(place, job) > done, "another epoch")
        place.queue.cancel(job)


def test_a_full_disk_keeps_the_checkpoint_and_the_training_goes_on_when_there_is_room(place: Installation) -> None:
    store = place.queue.store
    wanted = place.request
    undisturbed = weights(place, train(place, wanted).id)
    store.delete("trainings")
    place.queue.ledger.client.flushall()
    job = place.queue.submit(wanted).id
    perform(job, "plan")
    checkpoint = f"trainings/{job}/checkpoint.pt"
    write = Store.write_bytes
    before: list[bytes] = []

    def with_little_room(self: Store, name: str, data: bytes) -> None:
        second = name == checkpoint and self.exists(name)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        if second:
            before.append(self.read_bytes(name))
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(data) // 2, hard))
        try:
            write(self, name, data)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "write_bytes", with_little_room)
        perform(job, "shard-0")
    record = place.queue.get(job)
    assert record.state is JobState.RUNNING
    assert "No room in the store" in str(record.message)
    assert store.read_bytes(checkpoint) == before[0]
    perform(job, "shard-0")
    work(place.queue)
    assert place.state(job) is JobState.SUCCEEDED
    assert weights(place, job) == undisturbed


def test_a_checkpoint_of_another_network_ends_the_training_with_that_reason(place: Installation) -> None:
    first = train(place, place.request).id
    other = place.request.model_copy(update={"arguments": {"widths": [4, 4, 8, 16]}})
    job = place.queue.submit(other).id
    store = place.queue.store
    store.write_bytes(f"trainings/{job}/checkpoint.pt", store.read_bytes(f"trainings/{first}/checkpoint.pt"))
    work(place.queue)
    record = place.queue.get(job)
    assert record.state is JobState.FAILED
    assert "of another plan: its arguments are" in str(record.message)


def test_a_training_in_two_processes_gives_nearly_the_same_and_ends_when_it_is_cancelled(place: Installation) -> None:
    alone = train(place, place.request.model_copy(update={"epochs": 1, "learning_rate": 0.01}))
    two = place.request.model_copy(update={"epochs": 1, "learning_rate": 0.01, "processes": 2})
    record = train(place, two)
    assert record.state is JobState.SUCCEEDED, record
    heads = [
        load_encoder(place.queue.store, str(result(place, one.id)["encoder"]), place.settings)
        for one in (alone, record)
    ]
    torch.testing.assert_close(heads[0].weight, heads[1].weight, atol=0.02, rtol=0)
    assert record.done == 65
    long = place.queue.submit(two.model_copy(update={"epochs": 400})).id
    with place.worker() as worker:
        wait_for(lambda: epochs_done(place, long) >= 1, "an epoch")
        children = worker.horse().children(recursive=True)
        assert len(children) >= 3
        place.queue.cancel(long)
        wait_for(lambda: not any(child.is_running() for child in children), "all processes to end")


def test_a_linear_head_on_a_frozen_encoder_knows_the_new_classes(place: Installation, tmp_path: Path) -> None:
    limits = ArchiveLimits.from_settings(place.settings)
    encoder = str(result(place, train(place, place.request).id)["encoder"])
    mine = import_archive(place.queue.store, bright_and_dark(tmp_path / "n.zip", 30, ("day", "night")), limits, "mine")
    record = train(place, request(mine.id, route="linear_head", encoder=encoder, name="mine", weight_decay=1e-3))
    assert record.state is JobState.SUCCEEDED, record
    made = get_encoder(place.queue.store, str(result(place, record.id)["encoder"]))
    assert made.spec.classes == ("day", "night")
    assert made.spec.card["accuracy"]["clean"] >= 0.9
    old, new = (load_encoder(place.queue.store, one, place.settings) for one in (encoder, made.id))
    pictures = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(old.forward(pictures).phi, new.forward(pictures).phi)
