"""The errors of the `jobs` room, told apart by what the caller can do about them."""

from __future__ import annotations


class JobsError(Exception):
    """Base of all errors raised here.

    Attributes:
        message: What was wrong, with which value.
        field: The request field at fault, or None when no single field is.
        remedy: What the caller can do about it, or None when nothing but waiting helps.
    """

    def __init__(self, message: str, *, field: str | None = None, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.remedy = remedy


class NotFound(JobsError):
    """There is nothing under this name: ask for another one."""


class Invalid(JobsError):
    """The input cannot be used as it is: change it and send it again."""


class Conflict(JobsError):
    """Not possible in the present state: wait for the state to change, or change it."""


class LimitExceeded(JobsError):
    """A configured limit was reached: send less, or have the limit raised."""


class Unavailable(JobsError):
    """Redis or the store does not answer: the same call may succeed later.

    Attributes:
        retry_after: Seconds after which another try makes sense, > 0.
    """

    def __init__(self, message: str, *, retry_after: float = 5.0, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy or "Try again later.")
        self.retry_after = retry_after


class StoreFull(Unavailable):
    """The store has no room left: free some, then send the same call again. Nothing was written."""


class Cancelled(JobsError):
    """The job was cancelled while it ran; whoever works on it stops at once."""


def in_words(message: str) -> str:
    """What pydantic says of a fault, without the prefix it puts before the words of our own validators."""
    return message.removeprefix("Value error, ")
