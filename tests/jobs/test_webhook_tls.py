"""Webhooks over TLS to real certificates: whom they trust, and whose name is checked. Real HTTPS on this machine."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from jobs.announcer import Announcer
from jobs.queue import JobQueue
from jobs.settings import Settings
from jobs.webhook import Subscription
from jobs.webhook_message import Outcome
from tests.jobs import test_webhooks
from tests.jobs.certificates import Authority
from tests.jobs.receiver import receiving

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="certificates are made by the command openssl")

HERE = "127.0.0.0/8, ::1/128"
"""What the name localhost may stand for."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates") / "authority")


@pytest.fixture(autouse=True)
def public_authorities_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service was started with this variable."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))


def send(url: str) -> Outcome:
    return test_webhooks.send(url, allowed=HERE)


@pytest.mark.usefixtures("trusted")
def test_a_certificate_of_a_trusted_authority_is_spoken_to_by_its_name(authority: Authority) -> None:
    with receiving(authority.vouch("DNS:localhost")) as receiver:
        assert send(receiver.at("localhost")) == Outcome(200)
    assert receiver.asked_for == ["localhost"], "not the address that the name stands for"
    ((headers, body),) = receiver.got
    assert headers["host"] == f"localhost:{receiver.port}"
    assert body == b"{}"


def test_an_authority_that_nobody_named_is_refused_and_the_delivery_says_so(
    authority: Authority, settings: Settings
) -> None:
    allowing = settings.model_copy(update={"webhook_allowed_networks": HERE, "webhook_retry_seconds": 60.0})
    announcer = Announcer(JobQueue(allowing))
    with receiving(authority.vouch("DNS:localhost")) as receiver:
        webhook = announcer.webhooks.add(Subscription(url=receiver.at("localhost")))
        test_webhooks.end_a_job(announcer)
        assert announcer.step() == 1
    (waiting,) = announcer.deliveries.of(webhook.id, 10)
    assert (waiting.state, waiting.status, waiting.attempts) == ("pending", None, 1)
    assert waiting.error is not None
    assert waiting.error.startswith("the receiver's certificate is refused: unable to get local issuer certificate")
    assert "SSL_CERT_FILE" in waiting.error
    assert receiver.got == [], "nothing is sent before the certificate is checked"


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("subject", ["DNS:elsewhere.test", "IP:127.0.0.1"])
def test_a_trusted_certificate_for_another_name_is_refused(authority: Authority, subject: str) -> None:
    """The second is right for the address that the connection goes to: it is the name that counts."""
    with receiving(authority.vouch(subject)) as receiver:
        error = send(receiver.at("localhost")).error or ""
    assert "certificate is refused: Hostname mismatch, certificate is not valid for 'localhost'" in error
    assert "SSL_CERT_FILE" not in error
    assert receiver.got == []


@pytest.mark.usefixtures("trusted")
def test_the_name_is_checked_of_an_address_that_was_looked_up_once(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving(authority.vouch("DNS:receiver.test")) as receiver:
        looked_up: list[object] = []

        def answers(host: Any, *_: object, **__: object) -> list[Any]:
            looked_up.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", receiver.port))]

        monkeypatch.setattr(socket, "getaddrinfo", answers)
        assert send(receiver.at("receiver.test")) == Outcome(200)
        assert "certificate is not valid for 'other.test'" in (send(receiver.at("other.test")).error or "")
    assert looked_up == receiver.asked_for == ["receiver.test", "other.test"]
    assert len(receiver.got) == 1


@pytest.mark.usefixtures("trusted")
def test_an_address_is_checked_where_the_url_names_one(authority: Authority) -> None:
    with receiving(authority.vouch("IP:127.0.0.1")) as receiver:
        assert send(receiver.at("127.0.0.1")) == Outcome(200)
    with receiving(authority.vouch("DNS:localhost")) as receiver:
        assert "certificate is refused: IP address mismatch" in (send(receiver.at("127.0.0.1")).error or "")


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_authorities_that_cannot_be_read_are_told_of(
    authority: Authority, content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    with receiving(authority.vouch("DNS:localhost")) as receiver:
        error = send(receiver.at("localhost")).error or ""
    assert error.startswith("the certificates that SSL_CERT_FILE or SSL_CERT_DIR name cannot be read: ")
    assert receiver.got == []


def test_a_receiver_that_speaks_no_tls_is_told_apart(authority: Authority) -> None:
    with receiving() as receiver:
        error = send(receiver.at("localhost").replace("http:", "https:")).error or ""
    assert error.startswith("ConnectError: ")
    assert "certificate" not in error
