"""A data set is indexed once, keeps its original names, and is read by row without unpacking anything."""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from jobs.archives import ArchiveLimits
from jobs.datasets import (
    DatasetRecord,
    Skipped,
    delete_dataset,
    get_dataset,
    import_archive,
    list_datasets,
    read_rows,
    read_samples,
)
from jobs.errors import Invalid, LimitExceeded, NotFound
from jobs.index import ROW_GROUP
from jobs.store import Store, file_sha256
from tests.conftest import test_data


def zipped(path: Path, content: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, content: dict[str, bytes], mode: str) -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture
def upload(store: Store, limits: ArchiveLimits, tmp_path: Path):  # type: ignore[no-untyped-def]
    def import_content(content: dict[str, bytes]) -> DatasetRecord:
        return import_archive(store, zipped(tmp_path / "upload", content), limits, "upload")

    return import_content


PETS = {"dog/b.jpg": b"dog b", "cat/a.png": b"cat a", "cat/deeper/c.JPEG": b"cat c", "dog/ä ö.webp": b"dog umlaut"}


def test_classes_are_the_folders_and_names_are_kept(upload, store: Store) -> None:  # type: ignore[no-untyped-def]
    record = upload(PETS)
    assert record.classes == ["cat", "dog"]
    assert record.class_pictures == [2, 2]
    assert record.pictures == 4
    assert record.warnings == []
    samples = list(read_samples(store, record.id, 0, 4))
    assert {sample.sample: sample.content for sample in samples} == PETS
    assert [sample.row for sample in samples] == [0, 1, 2, 3]
    assert [record.classes[sample.label] for sample in samples] == ["dog", "cat", "cat", "dog"]


@pytest.mark.parametrize("root", ["", "./", "pets/", "downloads/pets v2/"])
def test_a_folder_that_holds_everything_is_looked_through(upload, root: str) -> None:  # type: ignore[no-untyped-def]
    assert upload({root + name: data for name, data in PETS.items()}).classes == ["cat", "dog"]


def test_one_class_is_accepted_with_a_warning(upload) -> None:  # type: ignore[no-untyped-def]
    for root in ("", "pets/"):
        record = upload({f"{root}dog/1.jpg": b"1", f"{root}dog/2.jpg": b"2"})
        assert record.classes == ["dog"]
        assert "single class" in record.warnings[0]


def test_what_is_no_picture_of_a_class_is_left_out_with_the_reason(upload, store: Store) -> None:  # type: ignore[no-untyped-def]
    content = PETS | {
        "readme.txt": b"",
        "loose.jpg": b"no folder",
        "cat/.hidden.jpg": b"",
        "__MACOSX/cat/._a.png": b"",
        "cat/Thumbs.db": b"",
        "cat/more.zip": b"",
        "cat/labels.csv": b"",
        "../cat/up.jpg": b"",
    }
    record = upload(content)
    assert record.pictures == 4
    assert {member.name: member.reason for member in record.skipped} == {
        "readme.txt": "not_a_picture",
        "loose.jpg": "no_class_folder",
        "cat/.hidden.jpg": "hidden_file",
        "__MACOSX/cat/._a.png": "hidden_file",
        "cat/Thumbs.db": "hidden_file",
        "cat/more.zip": "nested_archive",
        "cat/labels.csv": "not_a_picture",
        "../cat/up.jpg": "unsafe_name",
    }
    assert record.skipped_counts["hidden_file"] == 3


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_equal_names_the_first_counts(store: Store, limits: ArchiveLimits, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        for data in (b"first", b"second", b"third"):
            archive.writestr("cat/1.jpg", data)
        archive.writestr("dog/1.jpg", b"dog")
    record = import_archive(store, tmp_path / "a", limits, "twice")
    assert [sample.content for sample in read_samples(store, record.id, 0, 2)] == [b"first", b"dog"]
    assert record.skipped_counts == {"duplicate_name": 2}


@pytest.mark.parametrize("content", [{}, {"readme.txt": b"x"}, {"a.jpg": b"x"}, {"cat/notes.txt": b"x"}])
def test_an_archive_without_pictures_is_refused(upload, content: dict[str, bytes]) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(Invalid, match="no pictures in class folders") as raised:
        upload(content)
    assert raised.value.field == "file"
    assert raised.value.remedy


def test_nothing_is_kept_of_what_is_refused(upload, store: Store, limits: ArchiveLimits, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(Invalid):
        upload({"readme.txt": b"x"})
    with pytest.raises(LimitExceeded):
        import_archive(store, zipped(tmp_path / "bomb", {"cat/1.jpg": bytes(2**23)}), limits, "bomb")
    assert list(store.list("datasets")) == list(store.list("blobs")) == []


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_tars_are_kept_plain_and_known_by_what_was_sent(
    store: Store, limits: ArchiveLimits, tmp_path: Path, kind: str
) -> None:
    mode = "w" if kind == "tar" else f"w:{kind.removeprefix('tar.')}"
    path = tarred(tmp_path / "a", PETS, mode)
    digest = file_sha256(path)
    record = import_archive(store, path, limits, "pets")
    assert record.id == digest
    assert record.format == kind
    assert (record.blob == digest) == (kind == "tar")
    assert {sample.sample: sample.content for sample in read_samples(store, record.id, 0, 4)} == PETS


def test_the_same_bytes_are_one_data_set(upload, store: Store) -> None:  # type: ignore[no-untyped-def]
    first = upload(PETS)
    assert upload(PETS) == first
    assert [record.id for record in list_datasets(store)] == [first.id]
    assert len(list(store.list("blobs"))) == 1


def test_deleting_keeps_an_archive_that_another_data_set_shares(
    store: Store, limits: ArchiveLimits, tmp_path: Path
) -> None:
    plain = tarred(tmp_path / "plain", PETS, "w:")
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    first, second = (import_archive(store, path, limits, "pets") for path in (plain, packed))
    assert first.blob == second.blob
    delete_dataset(store, first.id)
    assert len(list(read_samples(store, second.id, 0, 4))) == 4
    delete_dataset(store, second.id)
    assert list(store.list("blobs")) == []
    with pytest.raises(NotFound):
        get_dataset(store, first.id)


def test_unknown_ids_are_not_found_whatever_they_look_like(store: Store) -> None:
    for identifier in ("0" * 64, "", "../../etc/passwd", "x" * 10_000):
        with pytest.raises(NotFound):
            get_dataset(store, identifier)


def test_rows_are_read_in_any_ascending_choice_across_row_groups(
    store: Store, limits: ArchiveLimits, tmp_path: Path
) -> None:
    count = ROW_GROUP * 2 + 10
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        for number in range(count):
            archive.writestr(zipfile.ZipInfo(f"{'cat' if number % 3 else 'dog'}/{number}.jpg"), str(number))
    record = import_archive(store, tmp_path / "a", limits, "many")
    for rows in (range(0, count, 1000), range(ROW_GROUP - 2, ROW_GROUP + 2), [count - 1], []):
        samples = list(read_rows(store, record.id, rows))
        assert [sample.row for sample in samples] == list(rows)
        assert [sample.content for sample in samples] == [str(row).encode() for row in rows]
    for wrong in ([count], [ROW_GROUP, 0]):
        with pytest.raises(IndexError):
            list(read_rows(store, record.id, wrong))


def test_a_member_that_was_damaged_in_the_store_fails_alone(upload, store: Store) -> None:  # type: ignore[no-untyped-def]
    content = {f"cat/{number}.jpg": bytes(range(256)) * 40 for number in range(3)} | {"dog/1.jpg": b"dog"}
    record = upload(content)
    with store.local_copy(f"blobs/{record.blob}") as path:
        data = bytearray(path.read_bytes())
        place = data.index(b"cat/1.jpg") + len(b"cat/1.jpg")
        data[place + 20 : place + 30] = b"\xff" * 10
        path.write_bytes(data)
    found = [sample.content for sample in read_samples(store, record.id, 0, 4)]
    assert isinstance(found[1], Skipped)
    assert found[1].reason == "damaged"
    assert "cat/1.jpg" in found[1].message
    assert [found[0], found[2], found[3]] == [content["cat/0.jpg"], content["cat/2.jpg"], b"dog"]


def test_data_sets_behind_another_url_are_read_the_same(limits: ArchiveLimits, tmp_path: Path) -> None:
    store = Store("memory://elsewhere", scratch=tmp_path / "scratch")
    record = import_archive(store, zipped(tmp_path / "a", PETS), limits, "pets")
    assert {sample.sample: sample.content for sample in read_samples(store, record.id, 0, 4)} == PETS
    delete_dataset(store, record.id)


def test_ten_thousand_real_pictures_are_indexed(store: Store, limits: ArchiveLimits, tmp_path: Path) -> None:
    path = tmp_path / "cifar10-test.zip"
    shutil.copy(test_data("cifar10-test.zip"), path)
    record = import_archive(store, path, limits, "cifar10-test")
    assert record.pictures == 10_000
    assert record.classes[:3] == ["airplane", "automobile", "bird"]
    assert record.class_pictures == [1000] * 10
    (sample,) = read_samples(store, record.id, 9_999, 10_000)
    assert sample.sample.startswith("truck/")
