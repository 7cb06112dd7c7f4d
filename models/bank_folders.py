"""Where banks lie: which folder answers to a name, to `name@version` and to a digest.

    <folder>/<name>/                     the first version, or a bank that somebody copied there
    <folder>/.versions/<name>/<n>/       every later one

The highest version answers to the name. No version is ever moved or replaced, so one rename of a finished folder
publishes the next, and what was opened before stays what it was.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from models.bank import MANIFEST, VERSIONS

BUILT_IN = Path(__file__).parent / "banks"
_VERSIONED = re.compile(r"(?P<name>[^@]+)@(?P<version>[1-9][0-9]{0,8})")


def find_banks(*folders: str | os.PathLike[str]) -> dict[str, Path]:
    """Banks by name, each in its highest version: the built-in ones, then those in `folders`, later ones first."""
    found: dict[str, Path] = {}
    for folder in (BUILT_IN, *map(Path, folders)):
        found |= {path.name: path for path in _first_versions(folder)}
        found |= {name: later[max(later)] for name, later in _later_versions(folder).items()}
    return found


def bank_versions(name: str, *folders: str | os.PathLike[str]) -> dict[int, Path]:
    """The folders of all versions of a bank by version, ascending; empty where there is no bank of this name.

    A damaged bank that does not state its version has the one its folder is named after, else 1.
    """
    found: dict[int, Path] = {}
    for folder in (BUILT_IN, *map(Path, folders)):
        found |= {stated(path)[1] or 1: path for path in _first_versions(folder) if path.name == name}
        found |= _later_versions(folder).get(name, {})
    return dict(sorted(found.items()))


def every_bank(*folders: str | os.PathLike[str]) -> list[Path]:
    """The folders of all banks in all versions, also those that another one hides."""
    return [
        path
        for folder in (BUILT_IN, *map(Path, folders))
        for path in (
            *_first_versions(folder),
            *(p for later in _later_versions(folder).values() for p in later.values()),
        )
    ]


def locate_bank(reference: str, *folders: str | os.PathLike[str]) -> Path | None:
    """The folder of the bank that a name, `name@version` or digest (`sha256:...`) means; None where there is none.

    Of a digest it is what the manifest states; whoever opens the bank finds out whether that is true.
    """
    if reference.startswith("sha256:"):
        return next((path for path in every_bank(*folders) if stated(path)[0] == reference), None)
    if versioned := _VERSIONED.fullmatch(reference):
        return bank_versions(versioned["name"], *folders).get(int(versioned["version"]))
    return find_banks(*folders).get(reference)


def stated(path: Path) -> tuple[str | None, int | None]:
    """Digest and version that the manifest of this folder states, unchecked; None for what it does not state."""
    try:
        return _stated(path / MANIFEST, (path / MANIFEST).stat().st_mtime_ns)
    except OSError:
        return None, None


@lru_cache(maxsize=4096)
def _stated(manifest: Path, written: int) -> tuple[str | None, int | None]:
    """`written` tells one replaced in place from the one before."""
    try:
        content = json.loads(manifest.read_bytes())
        digest, version = content.get("digest"), content.get("version")
    except (ValueError, AttributeError):
        return None, None
    return (digest if isinstance(digest, str) else None), (version if isinstance(version, int) else None)


def _first_versions(folder: Path) -> Iterator[Path]:
    manifests = sorted(folder.glob(f"*/{MANIFEST}")) if folder.is_dir() else ()
    yield from (file.parent for file in manifests)


def _later_versions(folder: Path) -> dict[str, dict[int, Path]]:
    found: dict[str, dict[int, Path]] = {}
    for file in (folder / VERSIONS).glob(f"*/*/{MANIFEST}"):
        if re.fullmatch("[1-9][0-9]{0,8}", file.parent.name):
            found.setdefault(file.parent.parent.name, {})[int(file.parent.name)] = file.parent
    return found
