"""Banks over HTTP as things people keep: versions, files, what differs, and banks made of banks."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import torch
from safetensors.torch import save_file

from jobs.bank_file import export_bank
from jobs.bank_publication import publish_bank
from jobs.settings import Settings
from jobs.store import Store
from models import architectures
from models.bank import MANIFEST, WEIGHTS, Bank, Exemplar
from models.bank_card import Provenance
from models.bank_writing import write_bank
from service.client import Client
from service.client_errors import Refused
from service.keys import KeyStore
from service.problems import TYPE_PREFIX
from tests.jobs.test_bank_publication import answers
from tests.models.conftest import ARGUMENTS, CLASSES, labelled, manifest
from tests.service.conftest import RunningServer, StartServer, encoded, picture

Make = Callable[..., Bank]


@pytest.fixture(scope="module")
def place(start_server: StartServer, tmp_path_factory: pytest.TempPathFactory) -> RunningServer:
    """A service whose banks these tests may add to; it asks for keys."""
    folder = tmp_path_factory.mktemp("banks")
    write_bank(folder / "tiny", manifest(), _weights(folder))
    return start_server(banks_dir=folder, auth="on", max_body_bytes=10_000, max_upload_bytes=2**20)


@pytest.fixture(scope="module")
def key(place: RunningServer) -> str:
    return KeyStore(Store.from_settings(place.settings)).create("owner", ["annotate"])[1]


@pytest.fixture
def http(place: RunningServer, key: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=place.url, headers={"X-API-Key": key}, timeout=60) as client:
        yield client


@pytest.fixture
def client(place: RunningServer, key: str) -> Iterator[Client]:
    with Client(place.url, key) as client:
        yield client


@pytest.fixture
def elsewhere(tmp_path: Path) -> Make:
    """Publishes a bank in another installation, with answers, and gives it."""
    settings = Settings(data_dir=tmp_path / "elsewhere")
    weights = _weights(tmp_path)

    def published(**changes: object) -> Bank:
        stated = manifest(**changes)
        votes = answers() if "features" not in changes else None
        return publish_bank(settings, stated, {WEIGHTS: weights}, Provenance(threshold=3, of=5), votes=votes)

    return published


def _weights(folder: Path) -> Path:
    torch.manual_seed(0)
    path = folder / "weights.safetensors"
    save_file(architectures.build("small_resnet", len(CLASSES), ARGUMENTS).state_dict(), path)
    return path


def as_file(bank: Bank, path: Path) -> Path:
    export_bank(bank, path)
    return path


def send(http: httpx.Client, file: Path, headers: dict[str, str] | None = None, **form: str) -> httpx.Response:
    return http.post("/v1/banks", files={"file": (file.name, file.read_bytes())}, data=form, headers=headers or {})


def problem(response: httpx.Response) -> str:
    return str(response.json()["type"]).removeprefix(TYPE_PREFIX)


def test_a_bank_goes_out_and_comes_back_as_the_same_bytes(http: httpx.Client, elsewhere: Make, tmp_path: Path) -> None:
    bank = elsewhere(name="round")
    file = as_file(bank, tmp_path / "round.zip")
    answer = send(http, file)
    assert answer.status_code == 201, answer.text
    assert answer.json() == {
        "name": "round",
        "version": 1,
        "digest": bank.digest,
        "title": "A random network",
        "licence": "Apache-2.0",
        "classes": 5,
        "labelled_classes": 4,
        "features": 14,
        "grouping": "predicted",
    }
    assert answer.headers["Location"] == f"/v1/banks/{bank.digest}"
    assert send(http, file).status_code == 200
    for reference in ("round", "round@1", bank.digest):
        exported = http.get(f"/v1/banks/{reference}/export")
        assert exported.content == file.read_bytes()
        assert exported.headers["ETag"] == f'"{bank.digest}"'
        assert 'filename="round@1.zip"' in exported.headers["Content-Disposition"]


def test_every_route_takes_a_name_a_version_and_a_digest(http: httpx.Client, elsewhere: Make, tmp_path: Path) -> None:
    first = elsewhere(name="series")
    relabelled = (*manifest().features[:-1], labelled(3, 18, 4, core=True))
    second = elsewhere(name="series", title="second", features=relabelled)
    assert send(http, as_file(first, tmp_path / "1.zip")).status_code == 201
    assert send(http, as_file(second, tmp_path / "2.zip")).status_code == 201
    assert http.get("/v1/banks/series").json()["title"] == "second"
    for bank, version in ((first, 1), (second, 2)):
        for path in ("", "/classes", "/classes/dog/features", "/versions"):
            by_version = http.get(f"/v1/banks/series@{version}{path}")
            assert by_version.status_code == 200, by_version.text
            assert by_version.json() == http.get(f"/v1/banks/{bank.digest}{path}").json()
        assert http.get(f"/v1/banks/series@{version}").json()["digest"] == bank.digest
    found = http.get("/v1/banks/series/versions").json()
    assert [(one["version"], one["digest"], one.get("parent")) for one in found["versions"]] == [
        (2, second.digest, first.digest),
        (1, first.digest, None),
    ]
    listed = {bank["name"]: bank for bank in http.get("/v1/banks").json()["banks"]}
    assert listed["series"]["version"] == 2
    differing = http.get("/v1/banks/series@1/diff", params={"with": "series"}).json()
    assert differing["counts"] == {"label": 1, "kind": 1, "votes": 1}
    assert [(row["class_name"], row["feature_index"], row["label"]) for row in differing["rows"]] == [
        ("dog", 18, "core")
    ]


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("GET", "/v1/banks/none/export", "unknown-bank"),
        ("GET", "/v1/banks/tiny@2", "unknown-bank"),
        ("GET", "/v1/banks/tiny@0", "unknown-bank"),
        ("GET", "/v1/banks/tiny@x/classes", "unknown-bank"),
        ("GET", "/v1/banks/none/versions", "unknown-bank"),
        ("GET", "/v1/banks/none/diff?with=tiny", "unknown-bank"),
        ("GET", "/v1/banks/tiny/diff?with=none", "unknown-bank"),
        ("GET", "/v1/banks/tiny/diff", "invalid"),
        ("POST", "/v1/banks/none/rename", "unknown-bank"),
    ],
)
def test_what_is_not_there_is_said_so(http: httpx.Client, method: str, path: str, kind: str) -> None:
    response = http.request(method, path, json={"name": "x"} if method == "POST" else None)
    assert problem(response) == kind


def test_another_bank_of_a_name_is_a_conflict_that_a_name_resolves(
    http: httpx.Client, elsewhere: Make, tmp_path: Path
) -> None:
    file = as_file(elsewhere(name="tiny", title="a visitor"), tmp_path / "tiny.zip")
    refused = send(http, file)
    assert (refused.status_code, problem(refused)) == (409, "conflict")
    assert "--as" in refused.json()["remedy"]
    kept = send(http, file, name="visitor")
    assert (kept.status_code, kept.json()["name"]) == (201, "visitor")
    assert send(http, file, name="visitor").status_code == 200


@pytest.mark.parametrize("kind", ["none", "text", "damaged", "escaping", "foreign"])
def test_a_file_that_is_no_bank_is_refused_with_the_reason(
    http: httpx.Client, elsewhere: Make, tmp_path: Path, kind: str
) -> None:
    file = as_file(elsewhere(name="bad"), tmp_path / "bad.zip")
    if kind == "none":
        response = http.post("/v1/banks", data={"name": "x"}, files={"other": b"x"})
    else:
        if kind == "text":
            file.write_bytes(b"hello")
        elif kind == "damaged":
            content = bytearray(file.read_bytes())
            content[len(content) // 2] ^= 1
            file.write_bytes(content)
        elif kind == "escaping":
            with zipfile.ZipFile(file, "a") as archive:
                archive.writestr("../../evil", "x")
        else:
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr(MANIFEST, json.dumps({"schema_version": 99}))
        response = send(http, file)
    assert (response.status_code, problem(response)) == (422, "invalid"), response.text
    assert problem(http.get("/v1/banks/bad")) == "unknown-bank"


def test_a_body_that_is_no_form_or_too_large_is_refused(http: httpx.Client, place: RunningServer) -> None:
    assert http.post("/v1/banks", content=b"PK").status_code == 415
    too_large = bytes(place.settings.max_upload_bytes + 1)
    assert http.post("/v1/banks", files={"file": too_large}).status_code == 413


def test_banks_are_changed_by_those_who_annotate_alone(place: RunningServer, http: httpx.Client) -> None:
    token = KeyStore(Store.from_settings(place.settings)).create("reader", ["infer", "audit"])[1]
    reader = {"X-API-Key": token}
    assert http.get("/v1/banks/tiny/versions", headers=reader).status_code == 200
    assert http.get("/v1/banks/tiny/export", headers=reader).status_code == 403
    assert http.post("/v1/banks", files={"file": b"x"}, headers=reader).status_code == 403
    for action in ("rethreshold", "rename", "merge"):
        assert http.post(f"/v1/banks/tiny/{action}", json={}, headers=reader).status_code == 403


# --- Banks made of banks


def test_a_threshold_makes_the_next_version(client: Client, elsewhere: Make, tmp_path: Path) -> None:
    client.import_bank(as_file(elsewhere(name="voted"), tmp_path / "v.zip"))
    second = client.rethreshold_bank("voted", 5)
    assert (second.name, second.version) == ("voted", 2)
    found = client.diff_banks("voted@1", "voted")
    assert found.counts == {"label": 6, "kind": 6}
    assert {row.label for row in found.rows} == {"core"}
    provenance = client.bank("voted").provenance
    assert (provenance.threshold, provenance.edit, provenance.annotators) == (5, "rethreshold", 5)
    assert provenance.sources == (found.before,)
    back = client.rethreshold_bank("voted@2", 3, of=5)
    assert client.diff_banks("voted@1", str(back.digest)).rows == []
    with pytest.raises(Refused, match="no longer"):
        client.rethreshold_bank("voted@1", 4)
    assert client.rethreshold_bank("voted@1", 4, name="strict").version == 1


def test_a_bank_is_renamed_once(client: Client) -> None:
    renamed = client.rename_bank("tiny", "smallest", "The smallest")
    assert (renamed.name, renamed.version, renamed.title) == ("smallest", 1, "The smallest")
    assert client.diff_banks("tiny", "smallest").rows == []
    for taken in ("smallest", "tiny", "planted"):
        with pytest.raises(Refused, match="already"):
            client.rename_bank("tiny", taken)


def test_two_banks_become_one(client: Client, elsewhere: Make, tmp_path: Path) -> None:
    more = elsewhere(name="more", features=(labelled(4, 9, 1, core=False),))
    client.import_bank(as_file(more, tmp_path / "more.zip"))
    merged = client.merge_banks("tiny", "more", "both")
    assert (merged.version, merged.features, merged.labelled_classes) == (1, 15, 5)
    assert client.diff_banks("tiny", "both").counts == {"added": 1}
    assert client.merge_banks("both", "more", "both").version == 2
    with pytest.raises(Refused, match="weights differ") as error:
        client.merge_banks("tiny", "planted", "odd")
    assert error.value.problem is not None
    assert error.value.problem.status == 422


@pytest.mark.parametrize(
    ("action", "body", "field"),
    [
        ("rethreshold", {"threshold": 0}, "threshold"),
        ("rethreshold", {"threshold": 6}, "threshold"),
        ("rethreshold", {"threshold": "many"}, "threshold"),
        ("rethreshold", {"threshold": 3, "name": "../x"}, "name"),
        ("rename", {}, "name"),
        ("rename", {"name": "UPPER"}, "name"),
        ("rename", {"name": "x", "surprise": 1}, "surprise"),
        ("merge", {"name": "x"}, "with"),
        ("merge", {"name": "x", "with": "tiny", "threshold": -1}, "threshold"),
    ],
)
def test_an_edit_that_cannot_be_is_refused(
    http: httpx.Client, action: str, body: dict[str, object], field: str
) -> None:
    response = http.post(f"/v1/banks/tiny/{action}", json=body)
    assert (response.status_code, response.json()["field"]) == (422, field), response.text


def test_the_same_request_with_a_key_publishes_once(http: httpx.Client) -> None:
    answers = [
        http.post("/v1/banks/tiny/rename", json={"name": "keyed"}, headers={"Idempotency-Key": "once"}) for _ in "ab"
    ]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["Idempotency-Replayed"] == "true"


def test_of_two_publishers_at_once_one_wins(http: httpx.Client, client: Client) -> None:
    client.rename_bank("tiny", "contested")
    found: list[int] = []

    def publish(threshold: int) -> None:
        found.append(http.post("/v1/banks/contested@1/rethreshold", json={"threshold": threshold}).status_code)

    threads = [threading.Thread(target=publish, args=(threshold,)) for threshold in (1, 2, 4, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [201, 409, 409, 409]
    assert [one.version for one in client.bank_versions("contested").versions] == [2, 1]


def test_a_page_among_the_pictures_is_not_shown_as_one(http: httpx.Client, elsewhere: Make, tmp_path: Path) -> None:
    weights = _weights(tmp_path)
    shown = Exemplar(class_index=0, feature_index=0, sample="s", activation=1.0, picture="exemplars/0.html")
    drawn = Exemplar(class_index=0, feature_index=0, sample="s", activation=0.5, picture="exemplars/1.svg")
    seen = Exemplar(class_index=0, feature_index=0, sample="s", activation=0.2, picture="exemplars/2.jpg")
    bank = publish_bank(
        Settings(data_dir=tmp_path / "hostile"),
        manifest(name="hostile", exemplars=(shown, drawn, seen)),
        {
            WEIGHTS: weights,
            "exemplars/0.html": b"<script>alert(1)</script>",
            "exemplars/1.svg": b"<svg onload='alert(1)'/>",
            "exemplars/2.jpg": encoded(picture(), "JPEG"),
        },
        Provenance(),
    )
    assert send(http, as_file(bank, tmp_path / "hostile.zip")).status_code == 201
    types = []
    for number in range(3):
        response = http.get(f"/v1/banks/hostile/classes/0/features/0/exemplars/{number}")
        types.append(response.headers["Content-Type"])
        assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert types == ["application/octet-stream", "application/octet-stream", "image/jpeg"]


def test_the_client_streams_a_bank_into_a_file(client: Client) -> None:
    target = io.BytesIO()
    assert client.export_bank("tiny", target) == "tiny@1.zip"
    assert zipfile.is_zipfile(target)
    with pytest.raises(Refused):
        client.export_bank("none", io.BytesIO())
