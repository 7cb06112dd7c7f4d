"""The feature banks of the service: the built-in ones and those in the banks folder, by name or by digest."""

from __future__ import annotations

from pathlib import Path
from threading import Lock

from models.bank import MANIFEST, Bank, find_banks
from models.errors import BankError
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
        """A bank by its name, if it has been opened before and is still the same; quick, where `get` may hash files."""
        path = find_banks(self._folder).get(name)
        written, bank = self._opened.get(path, (0, None)) if path else (0, None)
        return bank if path and bank and written == _written(path) else None

    def get(self, name: str) -> Bank:
        """A bank by its name or its digest (`sha256:...`).

        Raises:
            Problem: there is no such bank, or it is damaged.
        """
        paths = find_banks(self._folder)
        if name.startswith("sha256:"):
            # Those opened before come first: the worker asks by digest for every batch.
            candidates = [*self._opened, *paths.values()]
            found = next((bank for bank in map(self._open_if_whole, candidates) if bank and bank.digest == name), None)
        else:
            found = self._open(paths[name]) if name in paths else None
        if found is None:
            raise Problem(
                "unknown-bank",
                f"There is no bank {name[:100]!r}.",
                field="bank",
                remedy=f"Use one of {', '.join(sorted(paths)) or '(none)'}, or a digest.",
            )
        return found

    def _open(self, path: Path) -> Bank:
        """Raises `BankError` for a damaged bank."""
        written = _written(path)
        with self._lock:
            opened_at, bank = self._opened.get(path, (0, None))
            if bank is None or opened_at != written:
                bank = Bank.load(path)
                self._opened[path] = written, bank
            return bank

    def _open_if_whole(self, path: Path) -> Bank | None:
        try:
            return self._open(path)
        except (BankError, OSError):
            return None


def _written(path: Path) -> int:
    """When the bank in this folder was written, in nanoseconds."""
    return (path / MANIFEST).stat().st_mtime_ns
