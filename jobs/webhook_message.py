"""One signed message to one receiver: Standard Webhooks headers, an address that was checked, and little patience.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ssl
import time
from dataclasses import dataclass

import httpx

from jobs.addresses import Networks
from jobs.webhook_target import Forbidden, resolve, target_of

MEDIA_TYPE = "application/cloudevents+json"
CONNECT_SECONDS = 5.0
SECONDS = 10.0
"""Longest a receiver may take from the look-up of its name to the head of its answer; of its body nothing is read."""


UNKNOWN_AUTHORITY = (18, 19, 20, 21)
"""OpenSSL's codes of certificates that nobody known has signed."""


class Untrusting(Exception):
    """The authorities to be trusted cannot be read."""


@dataclass(frozen=True)
class Outcome:
    """What came of one message.

    Attributes:
        status: of the receiver's answer; None where there was none.
        error: why it does not count as received; None where it does.
        retry_after: seconds after which the receiver wants to be asked again, >= 0.
    """

    status: int | None = None
    error: str | None = None
    retry_after: float = 0.0


def signature(key: bytes, identifier: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature`: HMAC-SHA256 of `id.timestamp.body` in base64, after its version."""
    content = f"{identifier}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()


async def post(
    url: str, identifier: str, body: bytes, key: bytes, allowed: Networks, seconds: float = SECONDS
) -> Outcome:
    """Send one message; never raises for the receiver's sake.

    Redirections are not followed, proxies not used: both would lead to addresses that nobody checked.

    Args:
        url: of the receiver.
        identifier: of the event: a receiver that has seen it drops the message.
        body: the event.
        key: it is signed by.
        allowed: networks that may be called although they are not public.
        seconds: longest the whole may take.
    """
    timestamp = int(time.time())
    headers = {
        "Content-Type": MEDIA_TYPE,
        "User-Agent": "cuecheck",
        "webhook-id": identifier,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(key, identifier, timestamp, body),
    }
    try:
        async with asyncio.timeout(seconds):
            return await _post(url, headers, body, allowed)
    except (TimeoutError, httpx.TimeoutException):
        return Outcome(error=f"no answer within {seconds:g} s")
    except Forbidden as error:
        return Outcome(error=f"refused: {error}; see CUECHECK_WEBHOOK_ALLOWED_NETWORKS")
    except Untrusting as error:
        return Outcome(error=f"the certificates that SSL_CERT_FILE or SSL_CERT_DIR name cannot be read: {error}"[:300])
    except httpx.HTTPError as error:
        return Outcome(error=(_certificate_fault(error) or f"{type(error).__name__}: {error}")[:300])
    except OSError as error:
        return Outcome(error=f"the name cannot be resolved: {error}"[:300])


async def _post(url: str, headers: dict[str, str], body: bytes, allowed: Networks) -> Outcome:
    target = target_of(url)
    *others, last = await resolve(target, allowed)
    secured = _trust() if target.https else False
    async with httpx.AsyncClient(verify=secured, trust_env=False, timeout=SECONDS, follow_redirects=False) as client:

        async def ask(address: str) -> Outcome:
            there = httpx.URL(url).copy_with(host=address)
            own = {**headers, "Host": httpx.URL(url).netloc.decode("ascii")}
            # The certificate is checked against the name, although the connection is to its address.
            extensions = {
                "sni_hostname": target.host,
                "timeout": {"connect": CONNECT_SECONDS, "read": SECONDS, "write": SECONDS, "pool": SECONDS},
            }
            async with client.stream("POST", there, headers=own, content=body, extensions=extensions) as answer:
                return _outcome(answer)

        for address in others:
            try:
                return await ask(address)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await ask(last)


def _trust() -> ssl.SSLContext:
    """Which authorities are believed: the public ones, or those that the usual variables name.

    Raises:
        Untrusting: they cannot be read.
    """
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        raise Untrusting(str(error)) from error


def _certificate_fault(error: BaseException) -> str | None:
    """What is wrong with the receiver's certificate, where that is why nothing was sent."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return None
    hint = "; an authority of your own is named by SSL_CERT_FILE" if cause.verify_code in UNKNOWN_AUTHORITY else ""
    return f"the receiver's certificate is refused: {cause.verify_message.rstrip('.')}{hint}"


def _outcome(answer: httpx.Response) -> Outcome:
    status = answer.status_code
    if answer.is_success:
        return Outcome(status)
    wait = answer.headers.get("retry-after", "")
    reason = "a redirection, which is not followed" if answer.is_redirect else answer.reason_phrase or "no success"
    return Outcome(status, f"the receiver answered {status}: {reason}", float(wait) if wait.isdecimal() else 0.0)
