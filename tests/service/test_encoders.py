"""Encoders over HTTP and on the command line: read as data, kept once, refused with the reason, pulled and resumed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from torch import Tensor

from jobs.discovery_request import DiscoveryRequest
from jobs.encoders import get_encoder, load_encoder
from jobs.queue import JobQueue
from jobs.settings import Settings
from jobs.store import Store
from service.client import Client
from service.problems import TYPE_PREFIX
from tests.jobs.file_host import FileHost, serving
from tests.models import checkpoint_files as files
from tests.models.conftest import CLASSES
from tests.service.conftest import RunningServer
from tests.service.material import archive, upload_dataset
from tests.service.test_cli import Run, cuecheck

__all__ = ["cuecheck"]

SIDE = 32
ARGUMENTS: dict[str, Any] = {"widths": [4, 4, 8, 8], "strides": [1, 2, 2, 1]}
NAMES = [f"class {index}" for index in range(files.CLASSES)]


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return files.network("small_resnet", **ARGUMENTS)


@pytest.fixture
def checkpoint(tmp_path: Path, state: dict[str, Tensor]) -> Path:
    """A file as the robustness library leaves it, and a hostile object in it."""
    content = {"model": files.robustness_layout(state), "schedule": files.Hostile(tmp_path / "proof")}
    return files.save(content, tmp_path / "imagenet_l2_3_0.pt", legacy=True)


def declared(**changes: Any) -> dict[str, Any]:
    backbone = {"architecture": "small_resnet", "arguments": ARGUMENTS, "preprocessing": {"size": SIDE}}
    return {"name": "small", "classes": NAMES, "backbone": backbone} | changes


def send(http: httpx.Client, file: Path, spec: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
    with file.open("rb") as stream:
        form = {"spec": json.dumps(spec or declared())}
        return http.post("/v1/encoders", files={"file": (file.name, stream)}, data=form, headers=headers)


def test_a_checkpoint_becomes_an_encoder_once(http: httpx.Client, server: RunningServer, checkpoint: Path) -> None:
    answer = send(http, checkpoint)
    assert answer.status_code == 201, answer.text
    record = answer.json()
    assert record["spec"]["backbone"]["maps"] == [8, 8, 8]
    assert record["spec"]["backbone"]["preprocessing"]["mean"] == list(files.MEAN)
    assert record["origin"]["layout"] == "robustness"
    again = send(http, checkpoint)
    assert (again.status_code, again.json()) == (200, record)
    assert http.get(answer.headers["Location"]).json() == record
    assert record["id"] in [found["id"] for found in http.get("/v1/encoders").json()["items"]]
    assert load_encoder(Store.from_settings(server.settings), record["id"], server.settings).architecture
    assert not (checkpoint.parent / "proof").exists()
    assert http.delete(f"/v1/encoders/{record['id']}").status_code == 204
    assert http.get(f"/v1/encoders/{record['id']}").status_code == 404


def test_an_idempotency_key_holds_for_one_upload(http: httpx.Client, checkpoint: Path) -> None:
    first = send(http, checkpoint, declared(title="once"), **{"Idempotency-Key": "encoder-once"})
    again = send(http, checkpoint, declared(title="once"), **{"Idempotency-Key": "encoder-once"})
    other = send(http, checkpoint, declared(title="twice"), **{"Idempotency-Key": "encoder-once"})
    assert first.status_code == 201
    assert again.json() == first.json()
    assert other.json()["type"] == TYPE_PREFIX + "key-reused"


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"name": "small", "classes": NAMES}, "spec.backbone"),
        (declared(classes=["a", "a"]), "spec"),
        (declared(classes=NAMES[:3]), "classes"),
        (declared(backbone={"preprocessing": {"size": SIDE}}), "architecture"),
        (declared(name="Not A Name"), "spec.name"),
    ],
    ids=["incomplete", "same class twice", "another head", "network not told", "name"],
)
def test_a_faulty_declaration_names_its_field(
    http: httpx.Client, checkpoint: Path, spec: dict[str, Any], field: str
) -> None:
    answer = send(http, checkpoint, spec)
    assert answer.status_code == 422
    assert answer.json()["field"] == field


def test_what_is_no_encoder_is_refused_and_leaves_nothing(
    http: httpx.Client, server: RunningServer, tmp_path: Path, checkpoint: Path
) -> None:
    before = http.get("/v1/encoders", params={"limit": 1000}).json()["items"]
    whole = checkpoint.read_bytes()
    for name, content in {
        "empty": b"",
        "cut": whole[:-1000],
        "text": b"no weights at all",
        "zip": b"PK\x03\x04",
    }.items():
        (tmp_path / name).write_bytes(content)
        answer = send(http, tmp_path / name)
        assert answer.status_code == 422, name
        assert answer.json()["type"] == TYPE_PREFIX + "invalid"
        assert answer.json()["remedy"]
    assert http.get("/v1/encoders", params={"limit": 1000}).json()["items"] == before
    assert list((server.settings.data_dir / "store" / ".scratch").iterdir()) == []


def test_an_encoder_is_not_deleted_while_a_job_uses_it(
    http: httpx.Client, server: RunningServer, tmp_path: Path
) -> None:
    state = files.network("small_resnet", **ARGUMENTS)
    state |= {
        "fc.weight": state["fc.weight"][: len(CLASSES)].clone(),
        "fc.bias": state["fc.bias"][: len(CLASSES)].clone(),
    }
    encoder = send(http, files.save(state, tmp_path / "w.pt"), declared(classes=list(CLASSES))).json()["id"]
    dataset = upload_dataset(http, archive(2, seed=77))
    queue = JobQueue(server.settings)
    job = queue.submit(DiscoveryRequest(dataset=dataset, encoder=encoder))
    refused = http.delete(f"/v1/encoders/{encoder}")
    assert (refused.status_code, refused.json()["type"]) == (409, TYPE_PREFIX + "conflict")
    assert job.id in refused.json()["detail"]
    queue.cancel(job.id)
    assert http.delete(f"/v1/encoders/{encoder}").status_code == 204


def test_the_client_and_the_capabilities_know_encoders(server: RunningServer, checkpoint: Path) -> None:
    from jobs.encoder_declaration import EncoderDeclaration

    with Client(server.url) as client:
        record = client.upload_encoder(checkpoint, EncoderDeclaration.model_validate(declared(name="client")))
        assert client.encoder(record.id) == record
        assert record in list(client.encoders())
        client.delete_encoder(record.id)
        assert record not in list(client.encoders())
        known = client.capabilities()["encoders"]
    assert "transfer-resnet50-l2-3" in known["catalogue"]
    assert "resnet50" in known["architectures"]


# --- The command line


@pytest.fixture
def host(checkpoint: Path) -> Iterator[FileHost]:
    with serving(checkpoint.read_bytes()) as host:
        yield host


@pytest.fixture
def here(tmp_path: Path, host: FileHost) -> dict[str, str]:
    """Variables of an installation whose catalogue has one more encoder, on this machine's host."""
    text = (
        f'[ours]\ntitle = "Ours"\nurls = ["{host.url}"]\nlicence = "Ours alone"\narchitecture = "small_resnet"\n'
        f'sha256 = "{hashlib.sha256(host.content).hexdigest()}"\nclasses = {json.dumps(NAMES)}\n'
        f"[ours.arguments]\nwidths = [4, 4, 8, 8]\nstrides = [1, 2, 2, 1]\n[ours.preprocessing]\nsize = {SIDE}\n"
    )
    (tmp_path / "catalogue.toml").write_text(text)
    return {"CUECHECK_DATA_DIR": str(tmp_path / "data"), "CUECHECK_CATALOGUE": str(tmp_path / "catalogue.toml")}


def test_pull_asks_for_the_licence_resumes_verifies_and_keeps(
    cuecheck: Run, here: dict[str, str], host: FileHost, tmp_path: Path
) -> None:
    unasked = cuecheck("encoder", "pull", "ours", **here)
    assert unasked.code == 2
    assert "Ours alone" in unasked.stderr
    assert host.asked == []
    host.breaks_after = [10_000, 0]
    broken = cuecheck("encoder", "pull", "ours", "--accept-licence", **here)
    assert broken.code == 3
    assert "kept" in broken.stderr
    done = cuecheck("encoder", "pull", "ours", "--accept-licence", **here)
    assert done.code == 0, done
    assert host.asked[-1] == "bytes=10000-"
    assert host.sent == len(host.content)
    store = Store.from_settings(Settings(data_dir=tmp_path / "data"))
    record = get_encoder(store, done.stdout.strip())
    assert record.origin is not None
    assert (record.origin.url, record.origin.catalogue) == (host.url, "ours")
    assert hashlib.sha256(host.content).hexdigest() == record.origin.sha256
    again = cuecheck("encoder", "pull", "ours", **here)
    assert (again.code, again.stdout) == (0, done.stdout)
    assert len(host.asked) == 3
    assert not list((tmp_path / "data" / "downloads").glob("ours*.pt*"))
    assert not (tmp_path / "proof").exists()


def test_pull_refuses_another_file_than_stated(cuecheck: Run, here: dict[str, str], host: FileHost) -> None:
    host.content = host.content[:-1] + b"x"
    done = cuecheck("encoder", "pull", "ours", "--accept-licence", **here)
    assert done.code == 1
    assert "sha256" in done.stderr
    assert cuecheck("encoder", "pull", "nowhere", **here).code == 1


def test_a_file_without_a_digest_that_is_none_is_fetched_anew(
    cuecheck: Run, here: dict[str, str], host: FileHost, tmp_path: Path
) -> None:
    entry = (tmp_path / "catalogue.toml").read_text().splitlines()
    (tmp_path / "catalogue.toml").write_text("\n".join(line for line in entry if not line.startswith("sha256")))
    content, host.content = host.content, b"You are not signed in to this network."
    refused = cuecheck("encoder", "pull", "ours", "--accept-licence", **here)
    assert refused.code == 1
    assert "neither safetensors nor" in refused.stderr.replace("\n", " ")
    host.content = content
    assert cuecheck("encoder", "pull", "ours", "--accept-licence", **here).code == 0


def test_the_catalogue_is_listed(cuecheck: Run, here: dict[str, str]) -> None:
    listed = cuecheck("encoder", "catalogue", **here).stdout
    assert "ours" in listed
    assert "robust-resnet50-l2-3" in listed
    assert "no digest published" in listed


def test_an_encoder_is_imported_listed_shown_and_deleted(
    cuecheck: Run, server: RunningServer, checkpoint: Path, tmp_path: Path
) -> None:
    asking = {"CUECHECK_URL": server.url}
    (tmp_path / "spec.json").write_text(json.dumps(declared(name="cli")))
    done = cuecheck("encoder", "import", checkpoint, "--spec", "spec.json", **asking)
    identifier = done.stdout.strip()
    assert re.fullmatch("[0-9a-f]{64}", identifier), done
    assert identifier in cuecheck("encoder", "list", **asking).stdout.replace("\n", "")
    assert "class 0" in cuecheck("encoder", "show", identifier, **asking).stdout
    assert cuecheck("encoder", "delete", identifier, **asking).code == 0
    assert cuecheck("encoder", "show", identifier, **asking).code == 1


def test_a_torchvision_network_is_imported_by_options_alone(
    cuecheck: Run, server: RunningServer, tmp_path: Path
) -> None:
    asking = {"CUECHECK_URL": server.url}
    files.save(files.network("resnet18"), tmp_path / "w.pth")
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    given = ("import", "w.pth", "--classes", "names.txt", "--size", "64")
    done = cuecheck("encoder", *given, "--mean", "0.4", "0.4", "0.4", "--std", "0.2", "0.2", "0.2", **asking)
    assert done.code == 0, done
    assert "512 x 2 x 2" in done.stderr
    assert "(0.4, 0.4, 0.4)" in cuecheck("encoder", "show", done.stdout.strip(), **asking).stdout
    (tmp_path / "spec.json").write_text('{"name": "x"}')
    assert cuecheck("encoder", "import", "w.pth", "--spec", "spec.json", **asking).code == 2
    assert (
        cuecheck("encoder", "import", "w.pth", "--spec", "spec.json", "--architecture", "resnet18", **asking).code == 2
    )
