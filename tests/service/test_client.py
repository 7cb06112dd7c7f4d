"""The client: what it sends and understands, and which error tells its caller what."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from jobs.audit_request import AuditRequest
from jobs.records import JobRecord, JobState
from service import job_client as module
from service.client import Client
from service.client_errors import Broken, Busy, ClientError, Refused
from service.problems import Problem
from tests.models.conftest import CLASSES
from tests.service.conftest import RunningServer, encoded, free_port, picture
from tests.service.material import archive, classifier, spec


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    with Client(server.url) as made:
        yield made


def test_masks(client: Client) -> None:
    answer = client.masks([("a.png", encoded(picture())), ("b.png", b"no picture")], {"classes": ["ant", "bee"]})
    assert answer.bank.name == "tiny"
    assert [found.name for found in answer.pictures[0].classes or []] == ["ant", "bee"]
    assert answer.pictures[1].problem is not None


def test_banks(client: Client) -> None:
    assert client.banks().default == "tiny"
    assert client.bank("tiny").classes == len(CLASSES)
    assert [entry.name for entry in client.bank_classes("tiny")] == list(CLASSES)
    assert [feature.rank for feature in client.bank_features("tiny", "ant").features] == [1, 2, 3]
    assert "tiny" in client.capabilities()["banks"]


def test_from_upload_to_report(client: Client, worker: subprocess.Popen[bytes], tmp_path: Path) -> None:
    content = archive(2, seed=50)
    dataset = client.upload_dataset(io.BytesIO(content), name="pairs", idempotency_key="client-test")
    assert client.dataset(dataset.id) == dataset
    assert dataset in list(client.datasets())
    uploaded = client.upload_classifier(classifier(tmp_path / "model.onnx"), spec())
    assert client.classifier(uploaded.id) == uploaded
    assert uploaded in list(client.classifiers())
    job = client.submit_audit(AuditRequest(classifier=uploaded.id, dataset=dataset.id, bank="tiny"))
    records = list(client.follow(job.id))
    assert records[-1].state is JobState.SUCCEEDED
    assert client.job(job.id) == records[-1]
    assert job.id in [found.id for found in client.jobs()]
    assert client.report(job.id).dataset.id == dataset.id
    assert client.report_bytes(job.id, "text/html").lstrip().startswith(b"<!")
    client.delete_dataset(dataset.id)
    with pytest.raises(Refused):
        client.dataset(dataset.id)


def test_a_refusal_names_field_and_remedy(client: Client) -> None:
    with pytest.raises(Refused, match="nowhere") as refused:
        client.bank("nowhere")
    problem = refused.value.problem
    assert problem is not None
    assert problem.field == "bank"
    assert problem.remedy is not None


def test_a_service_that_is_not_there() -> None:
    with Client(f"http://127.0.0.1:{free_port()}") as client, pytest.raises(Busy, match="cannot be reached"):
        client.banks()


def answering(*answers: httpx.Response) -> Client:
    """A client of a service that gives these answers, one after the other."""
    left = list(answers)
    return Client(transport=httpx.MockTransport(lambda request: left.pop(0)))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (httpx.Response(503, json=Problem("unavailable", "x").details().model_dump()), Busy),
        (httpx.Response(429, json=Problem("too-busy", "x").details().model_dump()), Busy),
        (httpx.Response(409, json=Problem("conflict", "x").details().model_dump()), Refused),
        (httpx.Response(500, json=Problem("internal", "x").details().model_dump()), Broken),
        (httpx.Response(404, text="<html>some other server</html>"), Broken),
    ],
)
def test_errors_tell_what_the_caller_can_do(answer: httpx.Response, expected: type[ClientError]) -> None:
    with pytest.raises(expected):
        answering(answer).job("x")


def test_a_busy_service_says_when_to_come_back() -> None:
    document = Problem("too-busy", "full").details().model_dump()
    with pytest.raises(Busy) as busy:
        answering(httpx.Response(429, json=document, headers={"Retry-After": "7"})).job("x")
    assert busy.value.retry_after == 7


def record(done: int, state: JobState) -> JobRecord:
    return JobRecord(id="j", kind="audit", state=state, created=datetime.now(UTC), done=done, total=3, request={})


def stream(*records: JobRecord) -> httpx.Response:
    text = "".join(f"data: {found.model_dump_json()}\n\n: quiet\n\n" for found in records)
    return httpx.Response(200, text=text, headers={"Content-Type": "text/event-stream"})


def broken() -> httpx.Response:
    def pieces() -> Iterator[bytes]:
        yield f"data: {record(1, JobState.RUNNING).model_dump_json()}\n\n".encode()
        raise httpx.ReadError("connection reset")

    return httpx.Response(200, content=pieces())


@pytest.mark.parametrize("interruption", [broken, lambda: stream(record(1, JobState.RUNNING))])
def test_following_goes_on_after_an_interruption(
    monkeypatch: pytest.MonkeyPatch, interruption: Callable[[], httpx.Response]
) -> None:
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    client = answering(interruption(), stream(record(2, JobState.RUNNING), record(3, JobState.SUCCEEDED)))
    assert [found.done for found in client.follow("j")] == [1, 2, 3]


def test_following_a_job_nobody_finishes_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    client = answering(*(stream() for _ in range(module.RECONNECTS + 1)))
    with pytest.raises(Busy, match="end again and again"):
        list(client.follow("j"))
