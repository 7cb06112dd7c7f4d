"""How the client speaks HTTP: requests and pages, files either way, events, and its errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

import httpx
from pydantic import BaseModel

from service.client_errors import Broken, Busy, ClientError, Refused
from service.problems import ProblemDetails
from service.schemas import Page

Model = TypeVar("Model", bound=BaseModel)

Source = Path | IO[bytes]
"""What is uploaded: a path, or an open file, such as one that reports its progress."""

PATIENT_SECONDS = 600.0
"""Longest wait for what takes longer than the answer to anything else."""


class Wire:
    """One service as it is reached. Every method raises a `ClientError`."""

    def __init__(
        self, url: str, headers: Mapping[str, str], timeout: float, transport: httpx.BaseTransport | None
    ) -> None:
        """Prepare it; nothing is sent yet. The arguments are those of `Client`, and the headers of every request."""
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout, transport=transport)

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    @property
    def _patient(self) -> httpx.Timeout:
        """The `timeout` of what takes long: large archives, classifiers tried out."""
        return httpx.Timeout(self._http.timeout.connect, read=PATIENT_SECONDS)

    def send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Any request; the arguments are those of httpx."""
        with _translated(self._http.base_url):
            answer = self._http.request(method, path, **arguments)
        if answer.is_error:
            raise _error(answer)
        return answer

    def get(self, kind: type[Model], path: str, **arguments: Any) -> Model:
        """What a path answers, which is of this kind."""
        return kind.model_validate_json(self.send("GET", path, **arguments).content)

    def items(self, kind: type[Model], path: str, parameters: Mapping[str, Any] | None = None) -> Iterator[Model]:
        """Everything in a list, which is asked for page by page."""
        cursor: str | None = None
        while True:
            fields = {**(parameters or {}), **({"cursor": cursor} if cursor else {})}
            page = self.get(Page[Any], path, params=fields)
            yield from map(kind.model_validate, page.items)
            cursor = page.next
            if cursor is None:
                return

    def post(self, path: str, body: Mapping[str, Any], idempotency_key: str | None = None) -> httpx.Response:
        """Send JSON; the key makes it safe to send it again."""
        return self.send("POST", path, json=body, headers=_key(idempotency_key))

    def upload(
        self, path: str, source: Source, fields: Mapping[str, str], idempotency_key: str | None
    ) -> httpx.Response:
        """Send a form with a file, which is never held in memory."""
        with ExitStack() as stack:
            file = stack.enter_context(source.open("rb")) if isinstance(source, Path) else source
            name = Path(str(getattr(file, "name", "file"))).name
            form: dict[str, Any] = {"files": {"file": (name, file)}, "data": fields}
            return self.send("POST", path, **form, headers=_key(idempotency_key), timeout=self._patient)

    @contextmanager
    def stream(self, path: str, headers: Mapping[str, str] | None = None) -> Iterator[httpx.Response]:
        """An answer that is read as it comes."""
        with _translated(self._http.base_url), self._http.stream("GET", path, headers=headers) as answer:
            if answer.is_error:
                answer.read()
                raise _error(answer)
            yield answer

    def download(self, path: str, target: Path) -> None:
        """Write a file to `target`, which is there whole or not at all."""
        part = target.with_name(f".{target.name}.part")
        try:
            with self.stream(path) as answer, part.open("wb") as file:
                for chunk in answer.iter_bytes():
                    file.write(chunk)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)


def _key(idempotency_key: str | None) -> dict[str, str]:
    return {"Idempotency-Key": idempotency_key} if idempotency_key else {}


@contextmanager
def _translated(url: httpx.URL) -> Iterator[None]:
    """Turn what httpx raises into the errors of this module."""
    try:
        yield
    except httpx.TimeoutException as error:
        raise Busy(f"{url} does not answer in time.") from error
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise Busy(f"{url} cannot be reached: {error}.") from error


def _error(answer: httpx.Response) -> ClientError:
    """The error that an answer without success is."""
    try:
        problem = ProblemDetails.model_validate_json(answer.content)
    except ValueError:
        return Broken(f"{answer.url} answered {answer.status_code} {answer.reason_phrase}, and no problem document.")
    if answer.status_code in (429, 503):
        seconds = answer.headers.get("retry-after", "")
        return Busy(problem.detail, problem, float(seconds) if seconds.isdecimal() else None)
    return Refused(problem.detail, problem) if answer.status_code < 500 else Broken(problem.detail, problem)
