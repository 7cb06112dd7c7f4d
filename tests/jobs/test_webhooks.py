"""Webhooks: what is sent, how it is signed, when again, and where never. Real HTTP, a real Redis."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import socket
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from jobs.addresses import forbidden, networks
from jobs.announcer import LONGEST_PAUSE, Announcer, pause_after
from jobs.errors import Invalid, NotFound
from jobs.queue import JobQueue
from jobs.records import JobRecord, JobState
from jobs.settings import Settings
from jobs.webhook import Subscription, Webhook
from jobs.webhook_deliveries import Delivery
from jobs.webhook_message import Outcome, post, signature
from jobs.webhook_target import target_of
from tests.jobs.receiver import Receiver, receiving

JOB = "a" * 32
LOOPBACK = "127.0.0.0/8"
INSIDE = [
    *("10.1.2.3", "127.0.0.1", "169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "198.18.0.1"),
    *("0.0.0.0", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fd00:ec2::254", "fec0::1"),
    *("ff02::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::1"),
]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def announcer(settings: Settings) -> Announcer:
    """An announcer that may call this machine and does not wait long."""
    changes = {"webhook_allowed_networks": LOOPBACK, "webhook_retry_seconds": 1e-6, "webhook_attempts": 3}
    return Announcer(JobQueue(settings.model_copy(update=changes)))


def end_a_job(announcer: Announcer, state: JobState = JobState.FAILED, message: str | None = "No pictures.") -> None:
    """Let a job of this Redis end, as a worker does."""
    ledger = announcer._queue.ledger
    created = datetime.now(UTC)
    ledger.add(JobRecord(id=JOB, kind="audit", state=JobState.QUEUED, created=created, request={"seed": 1}))
    assert ledger.move(JOB, [JobState.QUEUED], state, message=message, finished=datetime.now(UTC))


def deliveries(announcer: Announcer, webhook: Webhook) -> list[Delivery]:
    return announcer.deliveries.of(webhook.id, 10)


def test_the_end_of_a_job_is_a_signed_cloud_event(announcer: Announcer, receiver: Receiver) -> None:
    webhook = announcer.webhooks.add(Subscription(url=receiver.url))
    end_a_job(announcer)
    assert announcer.step() == 1
    ((headers, body),) = receiver.got
    (event,) = receiver.events()
    assert headers["content-type"] == "application/cloudevents+json"
    assert event["specversion"] == "1.0"
    assert event["type"] == "org.cuecheck.job.failed"
    assert event["source"]
    assert event["subject"] == JOB
    assert datetime.fromisoformat(event["time"]).tzinfo is not None
    assert event["data"]["job"]["message"] == "No pictures."
    assert event["data"]["job"]["request"] == {"seed": 1}
    assert event["data"]["links"]["job"] == f"/v1/jobs/{JOB}"
    assert headers["webhook-id"] == event["id"]
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(webhook.secret.removeprefix("whsec_")).hex()
    command = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key}", "-binary"]
    reckoned = subprocess.run(command, input=content, capture_output=True, check=True).stdout
    assert headers["webhook-signature"] == "v1," + base64.b64encode(reckoned).decode()
    (done,) = deliveries(announcer, webhook)
    assert (done.state, done.attempts, done.status, done.job) == ("delivered", 1, 200, JOB)
    assert announcer.step() == 0


def test_the_published_vector_of_a_signature() -> None:
    """From the test suites of the Svix libraries, whose scheme became Standard Webhooks."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    found = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_failing_receiver_is_asked_again_with_the_same_event(announcer: Announcer, receiver: Receiver) -> None:
    webhook = announcer.webhooks.add(Subscription(url=receiver.url))
    receiver.statuses = [503, 302]
    receiver.headers = {"Location": f"http://127.0.0.1:{receiver.port}/elsewhere"}
    end_a_job(announcer)
    announcer.step()
    (waiting,) = deliveries(announcer, webhook)
    assert (waiting.state, waiting.attempts, waiting.status) == ("pending", 1, 503)
    assert waiting.next_attempt is not None
    announcer.step()
    assert "redirection" in (deliveries(announcer, webhook)[0].error or "")
    announcer.step()
    assert deliveries(announcer, webhook)[0].state == "delivered"
    assert len({(headers["webhook-id"], body) for headers, body in receiver.got}) == 1
    assert len(receiver.got) == 3


def test_what_is_never_received_is_given_up(announcer: Announcer, receiver: Receiver) -> None:
    webhook = announcer.webhooks.add(Subscription(url=receiver.url))
    receiver.statuses = [500] * 9
    end_a_job(announcer)
    while announcer.step():
        pass
    (lost,) = deliveries(announcer, webhook)
    assert (lost.state, lost.attempts) == ("failed", 3)
    assert len(receiver.got) == 3


def test_nothing_is_lost_or_doubled_whoever_dies(announcer: Announcer, receiver: Receiver) -> None:
    webhook = announcer.webhooks.add(Subscription(url=receiver.url))
    end_a_job(announcer)
    ((entry, record),) = announcer._queue.ledger.ended()
    announcer._announce(record)  # and then it dies, before the end is forgotten
    other = Announcer(announcer._queue)
    assert other.deliveries.take(webhook.id, 60)  # a sender that died with the message in hand
    assert announcer.step() == 0
    announcer._queue.ledger.client.pexpire(f"cuecheck:webhook:{webhook.id}:lease", 0)
    assert announcer.step() == 1
    assert other.step() == announcer.step() == 0
    announcer._announce(record)
    assert announcer.step() == 0
    assert len(receiver.got) == 1
    assert announcer._queue.ledger.ended() == [], entry


def test_an_end_that_cannot_be_told_does_not_hold_up_the_others(
    announcer: Announcer, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = announcer.webhooks.add(Subscription(url=receiver.url))
    end_a_job(announcer)
    with monkeypatch.context() as patch:
        patch.delattr("jobs.announcer.end_of")
        assert announcer.step() == 0
    ledger = announcer._queue.ledger
    assert ledger.ended() == []
    assert ledger.move(JOB, [JobState.FAILED], JobState.CANCELLED, finished=datetime.now(UTC))
    assert announcer.step() == 1
    assert deliveries(announcer, webhook)[0].state == "delivered"


def test_webhooks_hear_what_they_asked_for(announcer: Announcer, receiver: Receiver) -> None:
    announcer.webhooks.add(Subscription(url=receiver.url, types=["org.cuecheck.job.succeeded"]))
    end_a_job(announcer)
    late = announcer.webhooks.add(Subscription(url=receiver.url))
    assert announcer.step() == 0
    ledger = announcer._queue.ledger
    assert ledger.move(JOB, [JobState.FAILED], JobState.QUEUED, finished=None)
    assert ledger.move(JOB, [JobState.QUEUED], JobState.CANCELLED, finished=datetime.now(UTC))
    assert announcer.step() == 1
    assert [event["type"] for event in receiver.events()] == ["org.cuecheck.job.cancelled"]
    assert deliveries(announcer, late)[0].type == "org.cuecheck.job.cancelled"
    announcer.remove(late.id)
    assert deliveries(announcer, late) == []
    with pytest.raises(NotFound):
        announcer.ping(late.id)


def test_a_removed_webhook_gets_nothing_more(announcer: Announcer, receiver: Receiver) -> None:
    webhook = announcer.webhooks.add(Subscription(url=receiver.url))
    receiver.statuses = [500]
    end_a_job(announcer)
    announcer.step()
    announcer.webhooks.remove(webhook.id)
    announcer.step()
    assert announcer.deliveries.due(10) == []
    assert len(receiver.got) == 1


def send(url: str, allowed: str = LOOPBACK, seconds: float = 5.0) -> Outcome:
    return asyncio.run(post(url, "id", b"{}", b"key", networks(allowed), seconds))


def test_private_addresses_are_not_called(receiver: Receiver) -> None:
    for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]"):
        found = send(f"http://{host}:{receiver.port}/", allowed="10.0.0.0/8")
        assert "not public" in (found.error or ""), found
    assert receiver.got == []
    assert send(receiver.url).status == 200


def test_the_address_that_was_checked_is_called(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that answers otherwise when asked again (DNS rebinding) is not asked again."""
    asked: list[object] = []

    def answers(host: Any, *_: object, **__: object) -> list[Any]:
        asked.append(host)
        address = "127.0.0.1" if len(asked) == 1 else "10.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, receiver.port))]

    monkeypatch.setattr(socket, "getaddrinfo", answers)
    assert send(f"http://receiver.test:{receiver.port}/hook").status == 200
    assert asked == ["receiver.test"]
    assert receiver.got[0][0]["host"] == f"receiver.test:{receiver.port}"


def test_a_receiver_that_drips_is_left(receiver: Receiver) -> None:
    receiver.drips = True
    found = send(receiver.url, seconds=0.3)
    assert found.status is None
    assert "no answer within 0.3 s" in (found.error or "")


def test_names_and_ports_that_answer_nothing() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        assert "Connect" in (send(f"http://127.0.0.1:{probe.getsockname()[1]}/").error or "")
    assert "resolved" in (send("http://nowhere.invalid/").error or "")


@pytest.mark.parametrize(
    "address",
    INSIDE,
)
def test_addresses_that_are_not_public(address: str) -> None:
    found = ipaddress.ip_address(address)
    assert forbidden(found)
    assert not forbidden(found, networks("0.0.0.0/0, ::/0"))


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "64:ff9b::5db8:d822"])
def test_addresses_that_are_public(address: str) -> None:
    assert not forbidden(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"url": "http://10.0.0.1/"}, "url"),
        ({"url": "http://[::1]/"}, "url"),
        ({"url": "ftp://example.org/"}, "url"),
        ({"url": "https://me:secret@example.org/"}, "url"),
        ({"url": "https:///path"}, "url"),
        ({"url": "https://exa mple.org/"}, "url"),
        ({"url": "https://example.org:99999/"}, "url"),
        ({"url": "https://example.org/", "gate": '[[rule]]\ncheck = "no_such <= 1 %"'}, "gate"),
        (
            {"url": "https://example.org/", "gate": '[[rule]]\ncheck = "swap_gap <= 1 points"\nagainst = "baseline"'},
            "gate",
        ),
    ],
)
def test_subscriptions_that_cannot_be_used(announcer: Announcer, fields: dict[str, str], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        announcer.webhooks.add(Subscription.model_validate(fields))
    assert refused.value.field == field
    assert list(announcer.webhooks.list()) == []


def test_names_in_other_scripts_are_looked_up_as_dns_knows_them() -> None:
    assert target_of("https://bücher.example/hook").host == "xn--bcher-kva.example"


def test_pauses_grow_to_a_bound_and_vary() -> None:
    for attempts, plain in ((1, 5.0), (2, 20.0), (4, 320.0), (30, LONGEST_PAUSE)):
        drawn = {pause_after(attempts, 5.0) for _ in range(50)}
        assert plain / 2 <= min(drawn) < max(drawn) <= 1.5 * plain
