"""A bank as one file, to be carried from one installation to another.

The file is a zip of the bank's manifest and of what the manifest lists, stored without compression, in the order of
their names, all of one date: the same bank is the same bytes wherever it is exported.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from jobs.archive_member import Member
from jobs.archives import ArchiveLimits, copy_member, walk
from jobs.bank_publication import Place, next_place, publish_bank, put_bank, workshop
from jobs.errors import Conflict, Invalid, LimitExceeded
from jobs.settings import MIB, Settings
from jobs.zip_walk import is_zip
from models.bank import MANIFEST, Bank, Manifest, read_manifest
from models.bank_card import read_provenance
from models.bank_edit import Kept, rename
from models.bank_folders import find_banks, locate_bank
from models.bank_network import require_network
from models.bank_votes import read_votes

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest date a zip can state: banks have their date in the card."""

PERMISSIONS, UNIX = 0o100644, 3
MAX_MANIFEST_BYTES = 256 * MIB
"""Some 500,000 rows."""


@dataclass(frozen=True)
class Imported:
    """A bank that came as a file, and whether it was not here before."""

    bank: Bank
    new: bool


def file_name(bank: Bank) -> str:
    """What to call a bank's file, e.g. `birds@2.zip`."""
    return f"{bank.name}@{bank.manifest.version or 1}.zip"


def export_bank(bank: Bank, target: Path) -> None:
    """Write a bank into one file; the same bank is the same bytes."""
    stated = bank.manifest.model_dump(mode="json", exclude_unset=True)
    manifest = json.dumps({**stated, "digest": bank.digest}, indent=1) + "\n"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_entry(MANIFEST), manifest)
        for name in sorted(bank.manifest.files):
            entry = _entry(name)
            entry.file_size = (bank.path / name).stat().st_size
            with (bank.path / name).open("rb") as source, archive.open(entry, "w") as member:
                shutil.copyfileobj(source, member, MIB)


def import_bank(settings: Settings, file: Path, name: str | None = None) -> Imported:
    """Take a bank from a file, as it is or under another name; checked whole before it answers to anything.

    A bank of the same name and digest is here already. Of the same name and another digest it is the next version if
    it was made from the one that is here.

    Args:
        settings: Limits, and the banks folder.
        file: As `export_bank` writes it.
        name: What to call it here; as in its manifest if left out.

    Raises:
        Invalid: The file is damaged, or holds what no bank's file does.
        LimitExceeded: It is too large.
        BankError: The bank in it is damaged, of another schema, or does not fit its weights.
        Conflict: The name belongs to another bank here.
        Unavailable: The banks folder cannot be written.
    """
    if not is_zip(file):
        raise Invalid("The file is no zip.", field="file", remedy="Send what `cuecheck bank export` wrote.")
    members = _members(file, settings)
    with workshop(settings) as folder:
        draft = folder / "file"
        draft.mkdir()
        with file.open("rb") as archive:
            _copy(archive, members.pop(MANIFEST), draft)
            _require_listed(read_manifest(draft), members)
            for member in members.values():
                _copy(archive, member, draft)
        bank = Bank.load(draft)
        votes = read_votes(bank)
        read_provenance(bank.card)
        require_network(bank)
        if name is not None and name != bank.name:
            return _under_another_name(settings, Kept(bank, votes), name)
        here = locate_bank(bank.digest, settings.banks_dir)
        if here is not None:
            return Imported(Bank.load(here), new=False)
        return Imported(put_bank(draft, _place(settings, bank)), new=True)


def _members(file: Path, settings: Settings) -> dict[str, Member]:
    """The files of the archive by name, none of which there is anything against."""
    limits = replace(ArchiveLimits.from_settings(settings), member_bytes=settings.max_upload_bytes)
    found: dict[str, Member] = {}
    for member in walk(file, "zip", limits):
        problem = "duplicate_name" if member.name in found else member.problem
        if problem is not None:
            raise Invalid(f"{member.name[:200]!r} in the file is refused: {problem}.", field="file")
        found[member.name] = member
    if MANIFEST not in found:
        raise Invalid(
            f"The file holds no bank: it has no {MANIFEST}.",
            field="file",
            remedy="Send what `cuecheck bank export` wrote, whose manifest lies at the top.",
        )
    if found[MANIFEST].size > MAX_MANIFEST_BYTES:
        raise LimitExceeded(f"{MANIFEST} has more than {MAX_MANIFEST_BYTES:,} bytes.", field="file")
    return found


def _require_listed(manifest: Manifest, members: Mapping[str, Member]) -> None:
    """The file must hold what the manifest lists and nothing else, so that the digest says all of it."""
    if strange := sorted(members.keys() - manifest.files.keys()):
        raise Invalid(f"{strange[0][:200]!r} in the file is no part of the bank.", field="file")
    if missing := sorted(manifest.files.keys() - members.keys()):
        raise Invalid(f"{missing[0]!r} of the bank is missing in the file.", field="file")


def _copy(archive: IO[bytes], member: Member, folder: Path) -> None:
    target = folder / member.name
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        copy_member(archive, member, file)


def _place(settings: Settings, bank: Bank) -> Place:
    place, version = next_place(settings, bank.name), bank.manifest.version or 1
    if place.parent is None:
        return replace(place, version=version)
    if (version, bank.manifest.parent) == (place.version, place.parent):
        return place
    raise Conflict(
        f"The bank {bank.name!r} that is here is {place.parent}; version {version} in the file is not made from it.",
        field="name",
        remedy="Import the versions in their order, or this one under another name (--as NAME; over HTTP `name`).",
    )


def _under_another_name(settings: Settings, kept: Kept, name: str) -> Imported:
    present = find_banks(settings.banks_dir).get(name)
    if present is not None:
        there = Bank.load(present)
        made = read_provenance(there.card)
        if (made.edit, made.sources) == ("rename", (kept.bank.digest,)):
            return Imported(there, new=False)
    edited = rename(kept, name)
    bank = publish_bank(settings, edited.manifest, edited.files, edited.provenance, votes=edited.votes, new=True)
    return Imported(bank, new=True)


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.create_system, entry.external_attr = UNIX, PERMISSIONS << 16
    return entry
