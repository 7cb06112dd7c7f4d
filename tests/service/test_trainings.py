"""Trainings over HTTP: submitted once, followed epoch by epoch, and read until the encoder is there. A real worker."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from PIL import Image

from jobs.records import JobState
from jobs.training_epochs import Epochs
from jobs.training_request import ROUTES, TrainingRequest
from service.client import Client
from service.client_errors import Refused
from service.problems import TYPE_PREFIX
from tests.jobs import tiny_training
from tests.service.conftest import RunningServer, wait_for
from tests.service.material import ended, upload_dataset

NEVER_DONE = 5000
"""Epochs of a training that is still running when a test has seen enough of it."""


@pytest.fixture(scope="module")
def dataset(http: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Id of a data set of bright and dark pictures."""
    return upload_dataset(
        http, tiny_training.bright_and_dark(tmp_path_factory.mktemp("light") / "light.zip").read_bytes()
    )


@pytest.fixture(scope="module")
def trained(http: httpx.Client, worker: subprocess.Popen[bytes], dataset: str) -> dict[str, Any]:
    """The record of a training that has succeeded."""
    answer = http.post("/v1/trainings", json=body(dataset))
    assert answer.status_code == 202, answer.text
    record = ended(http, answer.json()["id"])
    assert record["state"] == "succeeded", record
    return record


def body(dataset: str, **changes: object) -> dict[str, Any]:
    """What a tiny training is asked for with."""
    return tiny_training.request(dataset, **changes).model_dump(mode="json", exclude_defaults=True)


def path(job: str, name: str = "") -> str:
    """A training, or a file of it."""
    return f"/v1/trainings/{job}" + (f"/artefacts/{name}" if name else "")


# --- Submitting


def test_the_same_inputs_are_the_same_training(http: httpx.Client, dataset: str) -> None:
    wanted = body(dataset, seed=1)
    answer = http.post("/v1/trainings", json=wanted, headers={"Idempotency-Key": "training-1"})
    assert answer.status_code == 202, answer.text
    record = answer.json()
    assert record["kind"] == "training"
    assert answer.headers["Location"] == f"/v1/jobs/{record['id']}"
    again = http.post("/v1/trainings", json=wanted, headers={"Idempotency-Key": "training-1"})
    assert again.headers["Idempotency-Replayed"] == "true"
    assert http.post("/v1/trainings", json=wanted).json()["id"] == record["id"]
    assert http.post("/v1/trainings", json=wanted | {"seed": 2}).json()["id"] != record["id"]
    reused = http.post("/v1/trainings", json=wanted | {"seed": 3}, headers={"Idempotency-Key": "training-1"})
    assert reused.json()["type"] == TYPE_PREFIX + "key-reused"


def test_one_that_is_done_is_not_done_again(http: httpx.Client, dataset: str, trained: dict[str, Any]) -> None:
    answer = http.post("/v1/trainings", json=body(dataset))
    assert answer.status_code == 200
    assert answer.json() == trained


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"dataset": "0" * 64}, 404, "dataset"),
        ({"held_out": "0" * 64}, 404, "held_out"),
        ({"held_out": 0.9}, 422, "held_out"),
        ({"held_out": "some"}, 422, "held_out"),
        ({"encoder": "bank:nowhere"}, 404, "encoder"),
        ({"encoder": "0" * 64}, 404, "encoder"),
        ({"route": "linear_head"}, 422, "encoder"),
        ({"route": "straight"}, 422, "route"),
        ({"name": "Not A Name"}, 422, "name"),
        ({"architecture": "vit_b_16"}, 422, "architecture"),
        ({"architecture": "resnet18", "arguments": {}}, 422, "size"),
        ({"epsilon": -1}, 422, "epsilon"),
        ({"batch_size": 512}, 422, "batch_size"),
        ({"processes": 3}, 422, "processes"),
        ({"mean": [0.5, 0.5, 0.5]}, 422, "std"),
        ({"colour": "red"}, 422, "colour"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(
    http: httpx.Client, dataset: str, change: dict[str, Any], status: int, field: str
) -> None:
    answer = http.post("/v1/trainings", json=body(dataset) | change)
    assert answer.status_code == status, answer.text
    assert answer.json()["field"] == field


# --- Reading


def test_a_training_is_listed_and_read_by_its_job_id(http: httpx.Client, trained: dict[str, Any]) -> None:
    assert http.get(path(trained["id"])).json() == trained == http.get(f"/v1/jobs/{trained['id']}").json()
    listed = http.get("/v1/trainings").json()["items"]
    assert trained["id"] in [found["id"] for found in listed]
    assert {found["kind"] for found in listed} == {"training"}
    assert http.get(f"/v1/discoveries/{trained['id']}").status_code == 404


def test_it_leaves_its_epochs_a_plot_and_the_encoder(http: httpx.Client, trained: dict[str, Any]) -> None:
    job = trained["id"]
    assert set(trained["artefacts"]) == {"accuracy.png", "epochs.json", "request.json", "training.json"}
    epochs = http.get(path(job, "epochs.json"))
    assert epochs.headers["Content-Type"] == "application/json"
    assert "max-age" in epochs.headers["Cache-Control"]
    found = Epochs.model_validate_json(epochs.content)
    assert [one.epoch for one in found.epochs] == [1, 2, 3]
    assert found.attack.epsilon == trained["request"]["epsilon"]
    plot = http.get(path(job, "accuracy.png"))
    assert plot.headers["Content-Type"] == "image/png"
    assert Image.open(io.BytesIO(plot.content)).format == "PNG"
    part = http.get(path(job, "accuracy.png"), headers={"Range": "bytes=1-3"})
    assert (part.status_code, part.content) == (206, b"PNG")
    result = http.get(path(job, "training.json")).json()
    encoder = http.get(f"/v1/encoders/{result['encoder']}").json()
    assert encoder["spec"]["name"] == "light"
    assert encoder["spec"]["classes"] == ["bright", "dark"]
    assert encoder["spec"]["card"]["accuracy"] == result["accuracy"]


def test_the_files_of_one_that_runs_grow_and_are_never_kept(
    http: httpx.Client, worker: subprocess.Popen[bytes], dataset: str
) -> None:
    """Every answer is whole, whenever it is asked for: what an epoch changes is not sent while it changes."""
    job = http.post("/v1/trainings", json=body(dataset, epochs=NEVER_DONE)).json()["id"]
    counts: list[int] = []

    def one_more() -> bool:
        answer = http.get(path(job, "epochs.json"))
        if answer.status_code == 404:
            return False
        assert answer.headers["Cache-Control"] == "no-store"
        counts.append(len(Epochs.model_validate_json(answer.content).epochs))
        return counts[-1] >= counts[0] + 3

    try:
        wait_for(one_more, 120)
        assert counts == sorted(counts)
        plot = http.get(path(job, "accuracy.png"))
        assert plot.headers["Content-Type"] == "image/png"
        Image.open(io.BytesIO(plot.content)).load()
        assert http.get(path(job, "training.json")).status_code == 404
    finally:
        http.post(f"/v1/jobs/{job}/cancel")
    cancelled = ended(http, job)
    assert cancelled["state"] == "cancelled"
    assert "checkpoint.pt" not in cancelled["artefacts"]
    assert len(Epochs.model_validate_json(http.get(path(job, "epochs.json")).content).epochs) >= counts[-1]


def test_the_checkpoint_is_in_the_store_and_is_not_served(
    http: httpx.Client, server: RunningServer, trained: dict[str, Any]
) -> None:
    assert (server.settings.data_dir / "store" / "trainings" / trained["id"] / "checkpoint.pt").is_file()
    assert http.get(path(trained["id"], "checkpoint.pt")).status_code == 404


@pytest.mark.parametrize("name", ["none.json", "job.json", "..%2Frequest.json", "%2e%2e", "epochs.json%00"])
def test_no_file_but_what_it_left(http: httpx.Client, trained: dict[str, Any], name: str) -> None:
    answer = http.get(path(trained["id"], name))
    assert answer.status_code == 404
    assert answer.json()["type"] == TYPE_PREFIX + "not-found"


def test_an_unknown_training(http: httpx.Client) -> None:
    for name in ("", "epochs.json"):
        assert http.get(path("0" * 32, name)).status_code == 404


def test_what_is_offered_is_listed(http: httpx.Client) -> None:
    offered = http.get("/v1/capabilities").json()["trainings"]
    assert set(offered["routes"]) == set(ROUTES)
    assert "resnet18" in offered["architectures"]
    least = {"dataset": "0" * 64, "name": "x"}
    defaults = TrainingRequest.model_validate(least | offered["defaults"])
    assert defaults == TrainingRequest.model_validate(least)
    for route in offered["routes"]:
        TrainingRequest.model_validate(least | {"route": route, "encoder": "bank:tiny"})


def test_its_example_and_its_files_are_described(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    submit = document["paths"]["/v1/trainings"]["post"]
    schema = submit["requestBody"]["content"]["application/json"]["schema"]
    fields = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    assert all(field.get("description") for field in fields["properties"].values())
    (example,) = schema["examples"]
    jsonschema.validate(example, fields)
    artefact = document["paths"]["/v1/trainings/{training}/artefacts/{name}"]["get"]["responses"]["200"]["content"]
    assert set(artefact) == {"application/json", "image/png"}
    assert artefact["image/png"]["schema"]["format"] == "binary"


# --- The client


def test_the_client_trains_a_head_on_what_it_has_trained(
    server: RunningServer, worker: subprocess.Popen[bytes], trained: dict[str, Any], tmp_path: Path
) -> None:
    with Client(server.url) as client:
        assert client.training_epochs(trained["id"]).epochs[-1].epoch == 3
        assert client.training_file(trained["id"], "accuracy.png").startswith(b"\x89PNG")
        first = next(encoder for encoder in client.encoders() if encoder.spec.name == "light")
        mine = client.upload_dataset(tiny_training.bright_and_dark(tmp_path / "n.zip", 30, ("day", "night")))
        wanted = tiny_training.request(mine.id, route="linear_head", encoder=first.id, name="mine")
        job = client.submit_training(wanted)
        *_, job = client.follow(job.id)
        assert job.state is JobState.SUCCEEDED, job
        assert client.submit_training(wanted) == job
        assert job.id in [found.id for found in client.trainings()]
        made = next(encoder for encoder in client.encoders() if encoder.spec.name == "mine")
        assert made.spec.classes == ("day", "night")
        assert made.id.encode() in client.training_file(job.id, "training.json")
        with pytest.raises(Refused):
            client.training_epochs(job.id)
