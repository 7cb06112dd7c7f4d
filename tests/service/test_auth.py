"""Keys guard every route but health; scopes say what they open; a revoked one is worthless within seconds."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import httpx
import pytest

from jobs.settings import Settings
from jobs.store import Store
from service.app import ROUTERS
from service.auth import OPEN_PATHS, is_loopback, keys_needed
from service.keys import REMEMBER_SECONDS, KeyStore, Scope
from tests.service.conftest import RunningServer, StartServer, encoded, picture, upload, wait_for
from tests.service.drafts import write_draft


@pytest.fixture(scope="module")
def guarded(start_server: StartServer) -> RunningServer:
    """A service that asks for keys."""
    return start_server(auth="on")


@pytest.fixture(scope="module")
def keys(guarded: RunningServer) -> KeyStore:
    """The keys of that service, as the command line reaches them."""
    return KeyStore(Store.from_settings(guarded.settings))


@pytest.fixture
def client(guarded: RunningServer) -> Iterator[httpx.Client]:
    """A client without a key."""
    with httpx.Client(base_url=guarded.url, timeout=60) as client:
        yield client


def bearer(keys: KeyStore, *scopes: Scope) -> dict[str, str]:
    """The header of a new key."""
    return {"Authorization": f"Bearer {keys.create('test', scopes)[1]}"}


def every_route() -> list[tuple[str, str]]:
    """(method, path) of everything there is to ask for."""
    found = [
        ("GET", "/docs"),
        ("GET", "/openapi.json"),
        ("GET", "/static/none"),
        ("GET", "/swagger/none"),
        ("GET", "/nowhere"),
    ]
    for router in ROUTERS:
        for route in router.routes:
            methods = sorted(getattr(route, "methods", None) or {"GET"})
            found += [(method, route.path) for method in methods]  # type: ignore[attr-defined]
    return found


def test_without_a_key_every_route_but_health_is_shut(client: httpx.Client) -> None:
    for method, path in every_route():
        response = client.request(method, path)
        if path in OPEN_PATHS:
            assert response.status_code == 200
            continue
        if path == "/label" or path.startswith("/static/"):
            assert response.status_code in (200, 404), "the annotators' page, and what it is made of"
            continue
        assert response.status_code == 401, f"{method} {path}"
        assert "Bearer" in response.headers["WWW-Authenticate"]
        if method != "HEAD":
            assert response.json()["type"] == "urn:cuecheck:problem:unauthorised"


@pytest.mark.parametrize("token", ["", "cck_", "cck_000000000000_" + "A" * 43, "Bearer", "ключ"])
def test_an_invented_key_opens_nothing(client: httpx.Client, token: str) -> None:
    assert client.get("/v1/banks", headers={"X-API-Key": token.encode()}).status_code == 401


def test_a_key_is_taken_as_bearer_as_header_and_as_a_browsers_password(client: httpx.Client, keys: KeyStore) -> None:
    _, token = keys.create("test", ["infer"])
    basic = base64.b64encode(f"anyone:{token}".encode()).decode()
    for headers in ({"Authorization": f"Bearer {token}"}, {"X-API-Key": token}, {"Authorization": f"Basic {basic}"}):
        assert client.get("/v1/banks", headers=headers).status_code == 200


def test_a_key_opens_what_its_scopes_say(client: httpx.Client, keys: KeyStore) -> None:
    infer, audit, admin = (bearer(keys, scope) for scope in ("infer", "audit", "admin"))
    assert client.post("/v1/masks", files=upload(encoded(picture())), headers=infer).status_code == 200
    refused = client.post("/v1/masks", files=upload(encoded(picture())), headers=audit)
    assert refused.status_code == 403
    assert refused.json()["type"] == "urn:cuecheck:problem:forbidden"
    assert "infer" in refused.json()["remedy"]
    assert client.get("/v1/keys", headers=infer).status_code == 403
    assert client.get("/v1/keys", headers=admin).status_code == 200
    assert client.post("/v1/masks", files=upload(encoded(picture())), headers=admin).status_code == 200


def test_any_key_reads_the_metrics_and_the_reference(client: httpx.Client, keys: KeyStore) -> None:
    headers = bearer(keys, "annotate")
    for path in ("/metrics", "/docs", "/openapi.json"):
        assert client.get(path, headers=headers).status_code == 200


def test_a_revoked_key_is_worthless_within_seconds(client: httpx.Client, keys: KeyStore) -> None:
    record, token = keys.create("test", ["infer"])
    headers = {"X-API-Key": token}
    assert client.get("/v1/banks", headers=headers).status_code == 200
    keys.revoke(record.id)
    wait_for(lambda: client.get("/v1/banks", headers=headers).status_code == 401, REMEMBER_SECONDS + 2)


def test_keys_are_made_listed_and_revoked_over_http(client: httpx.Client, keys: KeyStore) -> None:
    admin = bearer(keys, "admin")
    made = client.post("/v1/keys", json={"name": "nightly", "scopes": ["audit"]}, headers=admin)
    assert made.status_code == 201
    assert made.headers["Cache-Control"] == "no-store"
    key = made.json()
    listed = client.get("/v1/keys", headers=admin).json()["keys"]
    assert {"id": key["id"], "name": "nightly", "scopes": ["audit"], "created": key["created"]} in listed
    assert client.delete(made.headers["Location"], headers=admin).status_code == 204
    assert client.get("/v1/jobs", headers={"X-API-Key": key["token"]}).status_code == 401
    assert client.delete(made.headers["Location"], headers=admin).status_code == 404


def test_a_token_is_not_kept(keys: KeyStore, guarded: RunningServer) -> None:
    record, token = keys.create("secret", ["infer"])
    secret = token.split("_", 2)[2]
    kept = (guarded.settings.data_dir / "store" / "keys" / f"{record.id}.json").read_text()
    assert secret not in kept
    assert json.loads(kept)["sha256"] == record.sha256
    assert secret not in guarded.log.read_text()


def test_two_keys_never_have_the_same_token(keys: KeyStore) -> None:
    assert len({keys.create("test", ["infer"])[1] for _ in range(50)}) == 50


def test_a_page_of_another_site_cannot_use_what_a_browser_sends_by_itself(
    client: httpx.Client, keys: KeyStore, http: httpx.Client
) -> None:
    _, token = keys.create("test", ["admin"])
    foreign = {"Sec-Fetch-Site": "cross-site"}
    basic = {"Authorization": "Basic " + base64.b64encode(f":{token}".encode()).decode()}
    wanted = {"name": "mine", "scopes": ["admin"]}
    assert client.post("/v1/keys", json=wanted, headers=basic | foreign).status_code == 403
    assert client.post("/v1/keys", json=wanted, headers={"X-API-Key": token} | foreign).status_code == 201
    assert http.post("/v1/keys", json=wanted, headers=foreign).status_code == 403, "keys off, on loopback"


@pytest.mark.parametrize(
    ("auth", "host", "needed"),
    [
        ("auto", "127.0.0.1", False),
        ("auto", "localhost", False),
        ("auto", "::1", False),
        ("auto", "0.0.0.0", True),
        ("auto", "::", True),
        ("on", "127.0.0.1", True),
        ("off", "0.0.0.0", False),
    ],
)
def test_keys_are_waived_on_loopback_alone(settings: Settings, auth: str, host: str, needed: bool) -> None:
    changed = settings.model_copy(update={"auth": auth, "host": host})
    assert keys_needed(changed) is needed
    assert is_loopback(host) is (host in ("127.0.0.1", "localhost", "::1"))


def test_it_says_loudly_at_start_that_keys_are_off_or_missing(server: RunningServer, guarded: RunningServer) -> None:
    assert "API KEYS ARE OFF" in server.log.read_text()
    assert "there is none yet" in guarded.log.read_text()


@pytest.mark.parametrize(
    ("scope", "may_read", "may_submit"), [("annotate", True, False), ("audit", True, True), ("infer", False, False)]
)
def test_those_who_label_read_drafts_and_submit_nothing(
    client: httpx.Client, guarded: RunningServer, keys: KeyStore, scope: Scope, may_read: bool, may_submit: bool
) -> None:
    job = "d1" * 16
    write_draft(Store.from_settings(guarded.settings), job, ["ant", "bee"])
    header = bearer(keys, scope)
    below = f"/v1/discoveries/{job}"
    drafts = [f"{below}/draft{rest}" for rest in ("", "/classes/ant", "/panels/0-0.jpg")]
    for path in ("/v1/discoveries", below, *drafts):
        assert client.get(path, headers=header).status_code == (200 if may_read else 403), path
    submitted = client.post("/v1/discoveries", json={"dataset": "0" * 64, "encoder": "bank:tiny"}, headers=header)
    assert submitted.status_code == (404 if may_submit else 403)


@pytest.mark.parametrize(("scope", "may"), [("audit", True), ("annotate", False), ("infer", False)])
def test_trainings_are_for_those_who_audit(client: httpx.Client, keys: KeyStore, scope: Scope, may: bool) -> None:
    header = bearer(keys, scope)
    assert client.get("/v1/trainings", headers=header).status_code == (200 if may else 403)
    unknown = f"/v1/trainings/{'0' * 32}"
    for path in (unknown, f"{unknown}/artefacts/epochs.json"):
        assert client.get(path, headers=header).status_code == (404 if may else 403)
    submitted = client.post("/v1/trainings", json={"dataset": "0" * 64, "name": "x"}, headers=header)
    assert submitted.status_code == (404 if may else 403)


def test_an_invitation_opens_labelling_and_a_key_does_not(
    client: httpx.Client, guarded: RunningServer, keys: KeyStore
) -> None:
    job = "d4" * 16
    write_draft(Store.from_settings(guarded.settings), job, ["ant", "bee"])
    owner = bearer(keys, "annotate")
    assert client.post("/v1/annotations", json={"draft": job}, headers=bearer(keys, "audit")).status_code == 403
    annotation = client.post("/v1/annotations", json={"draft": job}, headers=owner).json()["id"]
    path = f"/v1/annotations/{annotation}/invitations"
    token = client.post(path, json={"annotator": "Ada"}, headers=owner).json()["token"]
    invited = {"Authorization": f"Bearer {token}"}
    panel = client.get("/v1/label/next", headers=invited).json()
    assert client.get(panel["panel_href"], headers=invited).status_code == 200
    for opened in ("/v1/label", "/v1/label/next", panel["panel_href"]):
        for key in (owner, bearer(keys, "admin"), {"X-API-Key": token}, {}):
            refused = client.get(opened, headers=key)
            assert refused.status_code == 401, opened
            assert "Basic" not in refused.headers["WWW-Authenticate"]
    for header in (invited, {"X-API-Key": token}):
        for closed in (
            "/v1/annotations",
            path,
            "/v1/jobs",
            "/v1/keys",
            "/metrics",
            "/",
            f"/v1/discoveries/{job}/draft",
        ):
            assert client.get(closed, headers=header).status_code == 403, closed
    assert client.get("/label").status_code == 200
    assert token.split("_", 3)[3] not in guarded.log.read_text()
