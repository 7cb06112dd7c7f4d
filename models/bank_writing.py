"""Writes feature banks, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from models.bank import COMPONENTS, MANIFEST, WEIGHTS, Bank, Manifest, file_digest, invalid_manifest

if TYPE_CHECKING:
    from models.components import Components


def write_bank(
    destination: str | os.PathLike[str],
    manifest: Manifest,
    weights: str | os.PathLike[str],
    pictures: Mapping[str, bytes] | None = None,
    components: Components | None = None,
) -> Bank:
    """Write a bank so that it is there whole or not at all; an older one of the same place is replaced.

    Args:
        destination: its directory.
        manifest: what it states; `files` is filled in here.
        weights: safetensors file of the backbone.
        pictures: exemplar files by relative path, as the manifest's exemplars name them.
        components: directions of the rows that are neural principal components.

    Raises:
        BankError: the parts do not fit each other.
    """
    destination = Path(destination)
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=".bank-") as workshop:
        draft = Path(workshop) / "bank"
        assemble_bank(draft, manifest, {WEIGHTS: Path(weights), **(pictures or {})}, components)
        if destination.exists():
            destination.rename(Path(workshop) / "old")
        draft.rename(destination)
    return Bank.load(destination)


def assemble_bank(
    folder: Path, manifest: Manifest, files: Mapping[str, bytes | Path], components: Components | None = None
) -> Bank:
    """Put the parts of a bank into a new folder and check that they fit each other.

    Args:
        folder: made here; whoever calls moves it to where it is found.
        manifest: what the bank states; its own `files` are filled in here.
        files: the bank's other files by relative path, or where to copy them from; the weights among them.
        components: as in `write_bank`, where `files` does not have them.

    Raises:
        BankError: they do not fit.
    """
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            shutil.copyfile(content, folder / name)
        else:
            (folder / name).write_bytes(content)
    if components is not None:
        components.save(folder / COMPONENTS)
    digests = {f.relative_to(folder).as_posix(): file_digest(f) for f in sorted(folder.rglob("*")) if f.is_file()}
    try:
        complete = Manifest.model_validate(_stated(manifest) | {"files": digests})
    except ValidationError as error:
        raise invalid_manifest(manifest.name, error) from error
    text = json.dumps({**_stated(complete), "digest": complete.digest()}, indent=1)
    (folder / MANIFEST).write_text(text + "\n")
    return Bank.load(folder)


def _stated(manifest: Manifest) -> dict[str, Any]:
    """All fields as JSON has them; those of publishing only where they are known, or older digests would change."""
    stated = manifest.model_dump(mode="json")
    return {name: value for name, value in stated.items() if name not in ("version", "parent") or value is not None}
