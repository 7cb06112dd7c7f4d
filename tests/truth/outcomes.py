"""What was measured before, kept in a work folder: a run that was interrupted goes on where it stood."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jobs.version import code_version
from models.training.artefacts import write_json

ROOT = Path(__file__).resolve().parents[2]
SOURCES = (
    "models/planted/*.py",
    *(f"tests/truth/{name}.py" for name in ("artefact_panel", "artefacts", "audits", "cue_pictures", "members")),
)
"""What decides outcomes beside the sources that `jobs.version` names. What makes classifiers is not among them: their
files are."""


class Outcomes:
    """A folder with a JSON file per outcome, named by all that it depends on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def once(
        self, name: str, of: Mapping[str, Any], files: Mapping[str, Path], make: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """What `make` returns, which is not called where that is kept already.

        Args:
            name: of the file, before the digest.
            of: what the outcome depends on; plain values.
            files: by what they are to it; their bytes count, not their paths.
            make: the outcome, as JSON can keep it.
        """
        read = {key: hashlib.sha256(path.read_bytes()).hexdigest() for key, path in files.items()}
        whole = json.dumps({"code": code_version(), "sources": _sources(), "of": of, "files": read}, sort_keys=True)
        path = self._folder / f"{name}-{hashlib.sha256(whole.encode()).hexdigest()[:16]}.json"
        if not path.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            write_json(path, make())
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found


@cache
def _sources() -> str:
    """Read once: a run's outcomes are those of the code it began with."""
    digest = hashlib.sha256()
    for file in sorted(file for pattern in SOURCES for file in ROOT.glob(pattern)):
        digest.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()
