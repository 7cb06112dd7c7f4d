"""How commands with a gate end: 0 pass, 1 fail, 2 undecided; what else may happen has codes that mean no verdict."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from service.console import ExitCode

NO_VERDICT = {int(ExitCode.USAGE): 64, int(ExitCode.FAILED): 70}
"""What other commands say by 2 (wrong usage) and 1 (failed or refused), here said by the codes of sysexits.h."""

_WITH_VALUE = ("--url", "--key")


class VerdictCode(IntEnum):
    """Exit codes of verdicts."""

    PASS = 0
    FAIL = 1
    UNDECIDED = 2


class Decided(Exception):
    """Ends the command with its gate's verdict."""

    def __init__(self, verdict: str) -> None:
        super().__init__(verdict)
        self.code = VerdictCode[verdict.upper()]


def exit_code(code: int, arguments: Sequence[str]) -> int:
    """The exit code of a command without a verdict: another one where its verdict would have had the same."""
    return NO_VERDICT.get(code, code) if _is_gated(arguments) else code


def _is_gated(arguments: Sequence[str]) -> bool:
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        del rest[: 2 if rest[0] in _WITH_VALUE else 1]
    gate = any(argument.partition("=")[0] == "--gate" for argument in rest)
    return rest[:1] == ["gate"] or (rest[:1] == ["audit"] and gate)
