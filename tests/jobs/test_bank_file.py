"""A bank as one file: the same bytes for the same bank, the same bank from the file, and nothing else taken for one."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jobs.bank_file import export_bank, file_name, import_bank
from jobs.bank_publication import publish_bank
from jobs.errors import Conflict, Invalid, JobsError, LimitExceeded
from jobs.settings import Settings
from jobs.subjects import find_bank
from models.bank import MANIFEST, WEIGHTS, Bank, Exemplar
from models.bank_card import Provenance, read_provenance
from models.bank_folders import find_banks
from models.bank_votes import VOTES, BankVotes, read_votes
from models.bank_writing import write_bank
from models.errors import BankError, ModelsError
from tests.jobs.test_bank_publication import answers
from tests.models.conftest import manifest, weights

__all__ = ["weights"]

Publish = Callable[..., Bank]
SHOWN = "exemplars/0-0-0.jpg"


@pytest.fixture
def here(tmp_path: Path) -> Settings:
    """Where banks are exported."""
    return Settings(data_dir=tmp_path / "here")


@pytest.fixture
def there(tmp_path: Path) -> Settings:
    """Where they are imported."""
    return Settings(data_dir=tmp_path / "there")


@pytest.fixture
def publish(here: Settings, weights: Path) -> Publish:
    def published(votes: BankVotes | None = None, **changes: object) -> Bank:
        exemplar = Exemplar(class_index=0, feature_index=0, sample="ant/1.jpg", activation=1.5, picture=SHOWN)
        files: dict[str, bytes | Path] = {WEIGHTS: weights, SHOWN: b"a picture"}
        stated = manifest(exemplars=(exemplar,), **changes)
        return publish_bank(here, stated, files, Provenance(threshold=3), votes=votes)

    return published


@pytest.fixture
def exported(publish: Publish, tmp_path: Path) -> Path:
    """The file of a bank with answers and a picture."""
    file = tmp_path / "tiny.zip"
    export_bank(publish(votes=answers()), file)
    return file


def contents(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(file: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file


def test_the_same_bank_is_the_same_bytes(exported: Path, here: Settings, there: Settings, tmp_path: Path) -> None:
    import_bank(there, exported)
    copied = find_bank(there, "tiny")
    (copied.path / "notes.txt").write_text("not of the bank")
    text = (copied.path / MANIFEST).read_text()
    (copied.path / MANIFEST).write_text(json.dumps(json.loads(text), indent=3))
    export_bank(find_bank(there, "tiny"), tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == exported.read_bytes()
    assert next(iter(contents(exported))) == MANIFEST
    assert file_name(copied) == "tiny@1.zip"


def test_a_file_gives_the_bank_it_was_made_of(exported: Path, here: Settings, there: Settings) -> None:
    found = import_bank(there, exported)
    assert found.new
    assert found.bank.digest == find_bank(here, "tiny").digest
    assert find_bank(there, "tiny").manifest.version == 1
    assert read_votes(found.bank) == read_votes(find_bank(here, "tiny"))
    assert (found.bank.path / SHOWN).read_bytes() == b"a picture"


def test_a_bank_that_is_here_already_is_said_so(exported: Path, there: Settings) -> None:
    first = import_bank(there, exported)
    again = import_bank(there, exported)
    assert not again.new
    assert again.bank.path == first.bank.path


def test_the_next_version_is_taken_where_its_parent_is_here(
    publish: Publish, exported: Path, there: Settings, tmp_path: Path
) -> None:
    export_bank(publish(title="second"), tmp_path / "2.zip")
    export_bank(publish(title="third"), tmp_path / "3.zip")
    import_bank(there, exported)
    with pytest.raises(Conflict, match="not made from it") as error:
        import_bank(there, tmp_path / "3.zip")
    assert "--as" in str(error.value.remedy)
    assert import_bank(there, tmp_path / "2.zip").bank.manifest.version == 2
    assert import_bank(there, tmp_path / "3.zip").bank.manifest.version == 3
    assert find_bank(there, "tiny").manifest.title == "third"
    assert find_bank(there, "tiny@1").manifest.title == "A random network"
    assert not import_bank(there, exported).new, "an earlier version is still here"


def test_a_later_version_comes_alone_where_there_is_none(publish: Publish, there: Settings, tmp_path: Path) -> None:
    publish()
    export_bank(publish(title="second"), tmp_path / "2.zip")
    found = import_bank(there, tmp_path / "2.zip")
    assert found.bank.manifest.version == 2
    assert find_bank(there, "tiny@2").digest == find_bank(there, "tiny").digest == found.bank.digest


def test_another_bank_of_the_name_is_a_conflict_until_it_is_given_another(
    exported: Path, there: Settings, weights: Path
) -> None:
    own = write_bank(there.banks_dir / "tiny", manifest(title="another"), weights)
    with pytest.raises(Conflict, match="not made from it"):
        import_bank(there, exported)
    found = import_bank(there, exported, "visitor")
    assert (found.new, found.bank.name, found.bank.manifest.version) == (True, "visitor", 1)
    assert read_provenance(found.bank.card).edit == "rename"
    assert read_votes(found.bank) is not None
    assert not import_bank(there, exported, "visitor").new
    assert find_bank(there, "tiny").digest == own.digest
    with pytest.raises(Conflict, match="already"):
        import_bank(there, exported, "planted")
    with pytest.raises(Invalid, match="no name"):
        import_bank(there, exported, "../evil")


def test_every_byte_of_the_file_counts(exported: Path, there: Settings, tmp_path: Path) -> None:
    whole = exported.read_bytes()
    for place in np.linspace(0, len(whole) - 1, 60, dtype=int).tolist():
        bad = bytearray(whole)
        bad[place] ^= 0x55
        (tmp_path / "bad.zip").write_bytes(bad)
        try:
            found = import_bank(there, tmp_path / "bad.zip")
        except (JobsError, ModelsError):
            continue
        # What no digest covers: fields of the zip that nobody reads.
        assert found.bank.digest == Bank.load(found.bank.path).digest
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.zip").write_bytes(whole[:length])
        with pytest.raises(Invalid):
            import_bank(there, tmp_path / "cut.zip")
    assert list(there.banks_dir.glob(".bank-*")) == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../evil.txt", "unsafe_name"),
        ("/etc/evil", "unsafe_name"),
        ("exemplars/../../evil", "unsafe_name"),
        ("extra.txt", "no part of the bank"),
        ("exemplars/page.html", "no part of the bank"),
    ],
)
def test_what_the_manifest_does_not_list_is_refused(
    exported: Path, there: Settings, tmp_path: Path, name: str, reason: str
) -> None:
    bad = packed(tmp_path / "bad.zip", contents(exported) | {name: b"evil"})
    with pytest.raises(Invalid, match=reason):
        import_bank(there, bad)
    assert not list(tmp_path.rglob("evil*"))
    assert "tiny" not in find_banks(there.banks_dir)


def test_a_name_twice_is_refused(exported: Path, there: Settings) -> None:
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(exported, "a") as archive:
        archive.writestr(WEIGHTS, b"other")
    with pytest.raises(Invalid, match="duplicate_name"):
        import_bank(there, exported)


def test_a_link_is_refused(exported: Path, there: Settings) -> None:
    entry = zipfile.ZipInfo("exemplars/link.jpg")
    entry.create_system, entry.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(exported, "a") as archive:
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(Invalid, match="link"):
        import_bank(there, exported)


@pytest.mark.parametrize("lost", [MANIFEST, WEIGHTS, VOTES, SHOWN])
def test_a_part_that_is_missing_is_named(exported: Path, there: Settings, tmp_path: Path, lost: str) -> None:
    members = contents(exported)
    del members[lost]
    with pytest.raises(Invalid, match=lost):
        import_bank(there, packed(tmp_path / "bad.zip", members))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema_version": 99}, "schema version 99"),
        ({"title": "edited"}, "damaged"),
        ({"name": "../evil"}, "damaged"),
        ({"features": []}, "damaged"),
    ],
)
def test_a_foreign_manifest_is_refused_with_the_reason(
    exported: Path, there: Settings, tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    members = contents(exported)
    members[MANIFEST] = json.dumps(json.loads(members[MANIFEST]) | change).encode()
    with pytest.raises(BankError, match=reason):
        import_bank(there, packed(tmp_path / "bad.zip", members))


@pytest.mark.parametrize("kind", ["text", "pictures", "tar"])
def test_another_kind_of_file_is_refused(there: Settings, tmp_path: Path, kind: str) -> None:
    file = tmp_path / "file"
    if kind == "pictures":
        packed(file, {"cat/1.jpg": b"x"})
    else:
        file.write_bytes(b"hello" if kind == "text" else bytes(10240))
    with pytest.raises(Invalid):
        import_bank(there, file)


def test_a_file_that_inflates_to_too_much_is_refused(exported: Path, there: Settings, tmp_path: Path) -> None:
    bomb = packed(
        tmp_path / "bomb.zip", contents(exported) | {WEIGHTS: bytes(64 * 2**20)}, compression=zipfile.ZIP_DEFLATED
    )
    with pytest.raises((Invalid, LimitExceeded)):
        import_bank(there, bomb)
    small = there.model_copy(update={"max_archive_bytes": 1000})
    with pytest.raises(LimitExceeded, match="inflate"):
        import_bank(small, exported)
    with pytest.raises(Invalid, match="too_large"):
        import_bank(there.model_copy(update={"max_upload_bytes": 1000}), exported)
    with pytest.raises(LimitExceeded, match="members"):
        import_bank(there.model_copy(update={"max_archive_entries": 2}), exported)


def test_a_file_packed_by_another_program_is_read_too(exported: Path, there: Settings, tmp_path: Path) -> None:
    again = packed(tmp_path / "deflated.zip", contents(exported), compression=zipfile.ZIP_DEFLATED)
    assert import_bank(there, again).bank.name == "tiny"


@pytest.mark.parametrize(
    "arguments",
    [
        {"blocks": [10**9, 1, 1, 1], "widths": [8, 8, 16, 24], "strides": [1, 2, 2, 1], "stem_stride": 2},
        {"blocks": [1, 1, 1, 1], "widths": [8, 8, 10**9, 24], "strides": [1, 2, 2, 1], "stem_stride": 2},
        {"blocks": [2, 1, 1, 1], "widths": [8, 8, 16, 24], "strides": [1, 2, 2, 1], "stem_stride": 2},
        {"surprise": 1},
    ],
)
def test_a_network_that_is_not_that_of_the_weights_is_refused_unbuilt(
    publish: Publish, there: Settings, tmp_path: Path, arguments: dict[str, object]
) -> None:
    entry = manifest().backbone.model_copy(update={"arguments": arguments})
    export_bank(publish(backbone=entry), tmp_path / "bad.zip")
    with pytest.raises(ModelsError):
        import_bank(there, tmp_path / "bad.zip")
    assert "tiny" not in find_banks(there.banks_dir)


def test_weights_of_another_bank_are_refused(exported: Path, there: Settings, weights: Path, tmp_path: Path) -> None:
    tensors = load_file(weights)
    tensors["fc.bias"] = tensors["fc.bias"] + np.float32(1)
    save_file(tensors, tmp_path / "foreign.safetensors")
    members = contents(exported) | {WEIGHTS: (tmp_path / "foreign.safetensors").read_bytes()}
    with pytest.raises(BankError, match="digest"):
        import_bank(there, packed(tmp_path / "bad.zip", members))


def test_a_built_in_bank_can_be_carried_too(here: Settings, there: Settings, tmp_path: Path) -> None:
    planted = find_bank(here, "planted")
    export_bank(planted, tmp_path / "planted.zip")
    found = import_bank(there, tmp_path / "planted.zip")
    assert not found.new
    assert import_bank(there, tmp_path / "planted.zip", "painted").bank.name == "painted"
