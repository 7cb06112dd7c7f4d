"""The feature banks of the service: the built-in ones and those in the banks folder, by name or by digest."""

from __future__ import annotations

from pathlib import Path
from threading import Lock

from models.bank import MANIFEST, Bank
from models.bank_folders import bank_versions, find_banks, locate_bank
from service.problems import Problem


class Banks:
    """Opens banks when they are first asked for and keeps them; one replaced on disk is opened anew.

    Attributes:
        default: the name used where a request names none.
    """

    def __init__(self, folder: Path, default: str) -> None:
        self.default = default
        self._folder = folder
        self._opened: dict[Path, tuple[int, Bank]] = {}
        self._lock = Lock()

    def names(self) -> list[str]:
        """Names of all banks there are, whether or not they can be used."""
        return sorted(find_banks(self._folder))

    def opened(self, name: str) -> Bank | None:
        """A bank as in `get`, if it was opened before and is still the same; quick, where `get` may hash files."""
        path = locate_bank(name, self._folder)
        written, bank = self._opened.get(path, (0, None)) if path else (0, None)
        return bank if path and bank and written == _written(path) else None

    def get(self, name: str) -> Bank:
        """A bank by its name (the latest version), `name@version` or its digest (`sha256:...`).

        Raises:
            Problem: there is no such bank.
            BankError: it is damaged.
        """
        path = locate_bank(name, self._folder)
        if path is None:
            raise self._unknown(name)
        return self._open(path)

    def versions(self, name: str) -> tuple[str, list[int]]:
        """The name that a name, `name@version` or digest stands for, and its versions, ascending.

        Raises:
            Problem: there is no such bank.
        """
        plain = self.get(name).name if name.startswith("sha256:") else name.partition("@")[0]
        found = list(bank_versions(plain, self._folder))
        if not found:
            raise self._unknown(name)
        return plain, found

    def _unknown(self, name: str) -> Problem:
        known = ", ".join(self.names()) or "(none)"
        return Problem(
            "unknown-bank",
            f"There is no bank {name[:100]!r}.",
            field="bank",
            remedy=f"Use one of {known}, NAME@VERSION, or a digest.",
        )

    def _open(self, path: Path) -> Bank:
        """Raises `BankError` for a damaged bank."""
        written = _written(path)
        with self._lock:
            opened_at, bank = self._opened.get(path, (0, None))
            if bank is None or opened_at != written:
                bank = Bank.load(path)
                self._opened[path] = written, bank
            return bank


def _written(path: Path) -> int:
    """When the bank in this folder was written, in nanoseconds."""
    return (path / MANIFEST).stat().st_mtime_ns
