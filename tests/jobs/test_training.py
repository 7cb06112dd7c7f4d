"""Trainings as jobs: tiny networks on tiny pictures, with real workers that are killed, stopped and run out of disk."""

from __future__ import annotations

import io
import json
import resource
from pathlib import Path

import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from jobs.archives import ArchiveLimits
from jobs.datasets import import_archive
from jobs.encoders import get_encoder, load_encoder
from jobs.errors import Invalid, NotFound, StoreFull
from jobs.records import JobRecord, JobState
from jobs.settings import Settings
from jobs.store import Store
from jobs.tasks import perform
from jobs.training_request import TrainingRequest
from tests.jobs.conftest import QUICK
from tests.jobs.installation import Installation, wait_for, work
from tests.jobs.tiny_training import bright_and_dark, request


@pytest.fixture
def place(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """An installation with one data set; tasks of this process use it too."""
    settings = settings.model_copy(update=QUICK)
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    limits = ArchiveLimits.from_settings(settings)
    record = import_archive(Store.from_settings(settings), bright_and_dark(tmp_path / "a.zip"), limits, "light")
    return Installation(settings, request(record.id))  # type: ignore[arg-type]


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
        (request(dataset, held_out="0" * 64), NotFound, "held_out"),
        (request(dataset, encoder="0" * 64), NotFound, "encoder"),
        (request(dataset, batch_size=512), Invalid, "batch_size"),
        (request(dataset, architecture="vit_b_16"), Invalid, "architecture"),
        (request(dataset, arguments={"depth": 9}), Invalid, "architecture"),
        (request(dataset, architecture="resnet18", arguments={}), Invalid, "size"),
    ):
        with pytest.raises(error) as raised:
            place.queue.submit(wanted)
        assert raised.value.field == field
    for field, changes in {
        "held_out": {"held_out": 0.9},
        "encoder": {"route": "linear_head"},
        "std": {"mean": (0, 0, 0)},
        "padding": {"padding": 16},
        "epsilon": {"epsilon": float("inf")},
        "processes": {"batch_size": 9, "processes": 2},
    }.items():
        with pytest.raises(ValidationError) as refused:
            request(dataset, **changes)  # type: ignore[arg-type]
        assert [fault["loc"] for fault in refused.value.errors()] == [(field,)]
    with pytest.raises(ValidationError, match="positive"):
        request(dataset, mean=(0, 0, 0), std=(1, 0, 1))


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
        horse.wait(60)
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


@pytest.mark.parametrize("processes", [1, 2])
def test_an_epoch_whose_figures_could_not_be_written_is_in_the_list_all_the_same(
    place: Installation, processes: int
) -> None:
    """The checkpoint has them: the second epoch is in it when the disk is full, and is not trained again."""
    job = place.queue.submit(place.request.model_copy(update={"processes": processes})).id
    perform(job, "plan")
    write = Store.write_bytes

    def without_room_for_the_second(self: Store, name: str, data: bytes) -> None:
        if name.endswith("epochs.json") and len(json.loads(data)["epochs"]) == 2:
            raise StoreFull("No room in the store.")
        write(self, name, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "write_bytes", without_room_for_the_second)
        perform(job, "shard-0")
    assert epochs_done(place, job) == 1
    work(place.queue)
    assert place.state(job) is JobState.SUCCEEDED
    assert epochs_done(place, job) == 3


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
