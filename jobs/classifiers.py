"""Uploaded classifiers: tried out once, then kept under the digest of their bytes and their declaration.

`classifiers/<id>.json` is the record; the file is kept once as `blobs/<sha256>`, however often it is declared.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from jobs.errors import NotFound
from jobs.settings import Settings
from jobs.store import Store, file_sha256
from jobs.trial import Trial, try_out
from models.classifiers.spec import ClassifierSpec


class ClassifierRecord(BaseModel):
    """What is known of a classifier without opening it."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="sha256 of the declaration and the file's sha256, 64 hexadecimal digits.")
    spec: ClassifierSpec = Field(description="The declaration.")
    blob: str = Field(description="sha256 of the file.")
    bytes: int = Field(description="Size of the file.")
    trial: Trial = Field(description="What the trial run on upload found.")
    created: datetime = Field(description="Time of the upload, UTC.")


def import_classifier(store: Store, path: Path, spec: ClassifierSpec, settings: Settings) -> ClassifierRecord:
    """Try a classifier out and keep it; the same bytes and declaration a second time give the first record.

    Args:
        store: where to keep it.
        path: the uploaded file on this machine, best from `store.scratch_file()`; it is moved, not copied.
        spec: what its owner declares.
        settings: device, threads and limits of the trial run.

    Raises:
        ClassifierFailed: it cannot be audited, with the reason; nothing is kept.
        StoreFull: no room.
        Unavailable: the device asked for is not to be had on this machine, or the store does not answer.
    """
    digest = file_sha256(path)
    identifier = classifier_id(spec, digest)
    if store.exists(_record(identifier)) and store.exists(f"blobs/{digest}"):
        return get_classifier(store, identifier)
    size = path.stat().st_size
    trial = try_out(path, spec, settings)
    store.write_blob(path)
    record = ClassifierRecord(id=identifier, spec=spec, blob=digest, bytes=size, trial=trial, created=datetime.now(UTC))
    store.write_bytes(_record(identifier), record.model_dump_json(indent=1).encode())
    return record


def classifier_id(spec: ClassifierSpec, digest: str) -> str:
    """The id of a file with this sha256 declared so: the order of fields and defaults left out make no difference."""
    canonical = json.dumps(spec.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{canonical}\n{digest}".encode()).hexdigest()


def get_classifier(store: Store, identifier: str) -> ClassifierRecord:
    """The record of a classifier.

    Raises:
        NotFound: there is none of this id.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", identifier) or not store.exists(_record(identifier)):
        raise NotFound(f"There is no classifier {identifier[:80]!r}.", field="classifier")
    return ClassifierRecord.model_validate_json(store.read_bytes(_record(identifier)))


def list_classifiers(store: Store, after: str = "", limit: int = 100) -> list[ClassifierRecord]:
    """Up to `limit` records in the order of their ids, from the one that follows `after`."""
    later = [identifier for identifier in _identifiers(store) if identifier > after]
    return [get_classifier(store, identifier) for identifier in later[:limit]]


def delete_classifier(store: Store, identifier: str) -> None:
    """Remove a classifier, and its file unless another declaration shares it.

    Raises:
        NotFound: there is none of this id.
    """
    record = get_classifier(store, identifier)
    store.delete(_record(identifier))
    if not any(get_classifier(store, other).blob == record.blob for other in _identifiers(store)):
        store.delete(f"blobs/{record.blob}")


def _identifiers(store: Store) -> list[str]:
    return [name.removesuffix(".json") for name in store.list("classifiers") if name.endswith(".json")]


def _record(identifier: str) -> str:
    return f"classifiers/{identifier}.json"
