"""`Idempotency-Key`: the same request under the same key is answered the same, another one is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from jobs.ledger import Ledger
from jobs.redis_client import connect
from service.idempotency import Done, Idempotency
from service.problems import TYPE_PREFIX, Problem
from tests.service.material import archive, classifier, spec, upload_classifier, upload_dataset


@pytest.fixture
def idempotency(redis_url: str) -> Idempotency:
    return Idempotency(Ledger(connect(redis_url, text=True)))


@pytest.fixture
def key() -> str:
    return uuid4().hex


class Action:
    """Counts how often it was carried out."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.times = 0
        self.failure = failure

    def __call__(self) -> Done:
        self.times += 1
        if self.failure is not None:
            raise self.failure
        return Done(f"answer {self.times}", f"/{self.times}")


def test_the_second_request_is_answered_from_memory(idempotency: Idempotency, key: str) -> None:
    act = Action()
    first, second = (idempotency.once(key, "me", "POST /x", "body", act) for _ in range(2))
    assert act.times == 1
    assert (second.body, second.status_code, second.headers["Location"]) == (first.body, 201, "/1")
    assert second.headers["Idempotency-Replayed"] == "true"


def test_without_a_key_nothing_is_remembered(idempotency: Idempotency) -> None:
    act = Action()
    for _ in range(2):
        idempotency.once(None, "me", "POST /x", "body", act)
    assert act.times == 2


def test_keys_of_others_and_of_other_actions_do_not_meet(idempotency: Idempotency, key: str) -> None:
    act = Action()
    for principal, action in (("me", "POST /x"), ("you", "POST /x"), ("me", "POST /y")):
        idempotency.once(key, principal, action, principal + action, act)
    assert act.times == 3


def test_another_body_is_refused(idempotency: Idempotency, key: str) -> None:
    act = Action()
    idempotency.once(key, "me", "POST /x", "body", act)
    with pytest.raises(Problem, match="another body") as refused:
        idempotency.once(key, "me", "POST /x", "other", act)
    assert (refused.value.kind, refused.value.status, refused.value.field) == ("key-reused", 422, "Idempotency-Key")
    assert act.times == 1


def test_a_refusal_is_not_remembered(idempotency: Idempotency, key: str) -> None:
    with pytest.raises(Problem):
        idempotency.once(key, "me", "POST /x", "faulty", Action(Problem("invalid", "no")))
    assert idempotency.once(key, "me", "POST /x", "mended", Action()).status_code == 201


@pytest.mark.parametrize("bad", ["", "x" * 256, "with space", "ümlaut"])
def test_a_key_that_is_none(idempotency: Idempotency, bad: str) -> None:
    with pytest.raises(Problem) as refused:
        idempotency.once(bad, "me", "POST /x", "body", Action())
    assert refused.value.field == "Idempotency-Key"


def test_uploads_and_audits_take_a_key(http: httpx.Client, key: str, tmp_path: Path) -> None:
    file = classifier(tmp_path / "model.onnx")
    audit: dict[str, Any] = {
        "classifier": upload_classifier(http, file).json()["id"],
        "dataset": upload_dataset(http, archive(1, seed=40)),
        "bank": "tiny",
    }
    declared = [spec(name=name).model_dump_json(exclude_none=True) for name in ("one", "two")]
    content = file.read_bytes()
    requests: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "/v1/datasets": (
            {"files": {"file": ("a.zip", archive(1, seed=41))}},
            {"files": {"file": ("a.zip", archive(1, seed=42))}},
        ),
        "/v1/classifiers": (
            {"files": {"file": ("m.onnx", content)}, "data": {"spec": declared[0]}},
            {"files": {"file": ("m.onnx", content)}, "data": {"spec": declared[1]}},
        ),
        "/v1/audits": ({"json": audit}, {"json": audit | {"seed": 1}}),
    }
    headers = {"Idempotency-Key": key}
    for path, (body, other) in requests.items():
        first = http.post(path, headers=headers, **body)
        again = http.post(path, headers=headers, **body)
        assert first.status_code in (201, 202)
        assert (again.status_code, again.content) == (first.status_code, first.content)
        assert again.headers["Location"] == first.headers["Location"]
        assert "Idempotency-Replayed" not in first.headers
        assert again.headers["Idempotency-Replayed"] == "true"
        refused = http.post(path, headers=headers, **other)
        assert refused.status_code == 422
        assert refused.json()["type"] == TYPE_PREFIX + "key-reused"
