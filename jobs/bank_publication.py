"""Publishes feature banks: each publication of a name is its next version, and none is ever changed."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.errors import Conflict, Invalid, StoreFull, Unavailable
from jobs.settings import Settings
from models.bank import VERSIONS, Bank, Manifest
from models.bank_card import Provenance, with_provenance
from models.bank_folders import bank_versions, stated
from models.bank_votes import VOTES, BankVotes, kappas, require_own
from models.bank_writing import assemble_bank

if TYPE_CHECKING:
    from models.components import Components

WORKSHOP = ".bank-"
STALE_SECONDS = 24 * 3600


def publish_bank(
    settings: Settings,
    manifest: Manifest,
    files: Mapping[str, bytes | Path],
    provenance: Provenance,
    *,
    votes: BankVotes | None = None,
    components: Components | None = None,
    parent: str | None = None,
    new: bool = False,
) -> Bank:
    """Publish a bank as the next version of its name, whole or not at all.

    Args:
        settings: Its banks folder takes the bank.
        manifest: What it states, with its name; version, parent, files and the card's provenance are filled in here.
        files: Its other files by relative path, as bytes or as where to copy them from: `backbone.safetensors`,
            pictures of exemplars, `components.safetensors` where no `components` are given.
        provenance: What the caller knows of where the labels come from; counts, agreement and date are filled in here.
        votes: The answers, as many of each row and kind as its `votes` say; None where they are not known one by one.
        components: Directions of the rows that are neural principal components.
        parent: Digest that the present version must have, where the caller built on one; None takes any, or none.
        new: Whether to refuse a name that is taken, rather than publish its next version.

    Returns:
        The bank, opened from where it lies from now on.

    Raises:
        BankError: The parts do not fit each other.
        Invalid: No bank can have this name.
        Conflict: Somebody else published the name meanwhile, it is taken, or the present version is not `parent`.
        Unavailable: The banks folder cannot be written; nothing was published.
    """
    require_name(manifest.name)
    if votes is not None:
        require_own(votes, manifest.features)
        files = {**files, VOTES: votes.as_bytes()}
    three, two = kappas(feature.votes for feature in manifest.features)
    complete = provenance.model_copy(
        update={
            "annotators": len(votes.annotators) if votes else provenance.annotators,
            "answers": sum(sum(feature.votes.model_dump().values()) for feature in manifest.features),
            "kappa": three,
            "kappa_binary": two,
            "published": datetime.now(UTC).isoformat(timespec="seconds"),
        }
    )
    place = next_place(settings, manifest.name)
    if new and place.parent is not None:
        raise Conflict(f"There is a bank {manifest.name!r} already.", field="name", remedy="Choose another name.")
    if parent is not None and place.parent != parent:
        raise Conflict(
            f"The bank {manifest.name!r} is {place.parent or 'not there'} now, no longer {parent}.",
            field="name",
            remedy="Look at the present version (bank diff), then publish again or under another name.",
        )
    card = with_provenance(manifest.card, complete)
    stated_anew = {"version": place.version, "parent": place.parent, "card": card, "files": {}}
    with workshop(settings) as folder:
        assemble_bank(folder / "bank", manifest.model_copy(update=stated_anew), files, components)
        return put_bank(folder / "bank", place)


def require_name(name: str) -> None:
    """Refuse what cannot be the name of a bank. Raises `Invalid`."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", name):
        raise Invalid(
            f"{name[:80]!r} is no name of a bank.", field="name", remedy="Use small letters, digits, - and _."
        )


@dataclass(frozen=True)
class Place:
    """Where the next version of a name goes.

    Attributes:
        version: its number.
        parent: digest of the present version; None where there is none.
        folder: where it will be found; taken by whoever comes first.
    """

    version: int
    parent: str | None
    folder: Path


def next_place(settings: Settings, name: str) -> Place:
    """Where the next version of a bank goes.

    Raises:
        Invalid: The present one is damaged, so that nothing could say what came before.
    """
    present = bank_versions(name, settings.banks_dir)
    if not present:
        return Place(1, None, settings.banks_dir / name)
    latest = max(present)
    digest, _ = stated(present[latest])
    if digest is None:
        raise Invalid(
            f"The bank {name!r} that is there is damaged.",
            field="name",
            remedy="Mend or remove it, or use another name.",
        )
    return Place(latest + 1, digest, settings.banks_dir / VERSIONS / name / str(latest + 1))


def put_bank(draft: Path, place: Place) -> Bank:
    """Move a finished folder to its place: from then on it answers to the name.

    Raises:
        Conflict: Somebody else's version is there.
        Unavailable: The banks folder cannot be written.
    """
    with _translated():
        place.folder.parent.mkdir(parents=True, exist_ok=True)
        for file in (*draft.rglob("*"), draft):
            _sync(file)  # or the new name may outlive a power cut, and the bytes not
        try:
            draft.rename(
                place.folder
            )  # the system refuses it where a folder with files lies: of two publishers one wins
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            raise Conflict(
                f"Somebody else published version {place.version} of it meanwhile.",
                field="name",
                remedy="Look at that version, then publish again or under another name.",
            ) from error
        _sync(place.folder.parent)
    return Bank.load(place.folder)


@contextmanager
def workshop(settings: Settings) -> Iterator[Path]:
    """A fresh folder on the disk of the banks; what killed publishers left there a day ago goes.

    Raises:
        Unavailable: The banks folder cannot be written.
    """
    with _translated():
        settings.banks_dir.mkdir(parents=True, exist_ok=True)
        for left in settings.banks_dir.glob(f"{WORKSHOP}*"):
            if left.stat().st_mtime < time.time() - STALE_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(dir=settings.banks_dir, prefix=WORKSHOP))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what the file system raises into the errors of this room."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StoreFull("No room for the bank in the banks folder.", remedy="Free some space.") from error
        raise Unavailable(
            f"The banks folder cannot be written: {error.strerror}.", remedy="Let the service write CUECHECK_BANKS_DIR."
        ) from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
