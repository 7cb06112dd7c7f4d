"""The errors of the client, told apart by what its caller can do about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.problems import ProblemDetails


class ClientError(Exception):
    """Base of all errors raised here.

    Attributes:
        problem: The service's own words, where it answered.
    """

    def __init__(self, message: str, problem: ProblemDetails | None = None) -> None:
        super().__init__(message)
        self.problem = problem


class Refused(ClientError):
    """The service does not take the request as it is (4xx): change it; `problem.field` and `.remedy` say how."""


class Busy(ClientError):
    """The service, or a part of it, cannot answer now (no connection, 429, 503): try again later.

    Attributes:
        retry_after: Seconds after which to try, where the service said so.
    """

    def __init__(self, message: str, problem: ProblemDetails | None = None, retry_after: float | None = None) -> None:
        super().__init__(message, problem)
        self.retry_after = retry_after


class Broken(ClientError):
    """The service failed (other 5xx), or what answered is not this service."""
