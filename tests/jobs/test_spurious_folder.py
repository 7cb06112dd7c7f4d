"""Folders of Spurious ImageNet carry a class index and a component; both are kept, and classes are met by index."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.archives import ArchiveLimits
from jobs.datasets import DatasetRecord, import_archive, read_samples
from jobs.errors import Conflict, Invalid
from jobs.layouts import LAYOUTS, Layout, lay_out
from jobs.spurious_folder import SpuriousFolder, parse_folder, parse_version
from jobs.store import Store
from tests.jobs.test_datasets import tarred, zipped

SET = {
    "images/timestamp.txt": b"1678886400\n",
    "images/spurious_class_400_academic_gown_component_7/a.jpg": b"1",
    "images/spurious_class_400_academic_gown_component_7/b.jpg": b"2",
    "images/spurious_class_94_hummingbird_component_1/c.jpg": b"3",
    "images/spurious_class_94_hummingbird_component_12/d.jpg": b"4",
}


@pytest.fixture
def upload(store: Store, limits: ArchiveLimits, tmp_path: Path):  # type: ignore[no-untyped-def]
    def import_content(content: dict[str, bytes], layout: Layout | None = None) -> DatasetRecord:
        return import_archive(store, zipped(tmp_path / "upload", content), limits, "upload", layout)

    return import_content


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("spurious_class_400_academic_gown_component_7", (400, 7)),
        ("a_b_0_0", (0, 0)),
        ("a_b_999_x_1023", (999, 1023)),
        ("a_b_13_c_d_e_2", (13, 2)),
        ("a_b_1000_1", None),
        ("a_b_13", None),
        ("a_b_-3_1", None),
        ("a_b_x_1", None),
        ("a_b_3_x", None),
        ("a_b_3_99999", None),
        ("a_b_³_1", None),
        ("dog", None),
        ("", None),
    ],
)
def test_the_third_part_is_the_class_and_the_last_the_component(name: str, expected: tuple[int, int] | None) -> None:
    found = parse_folder(name)
    assert found == (None if expected is None else SpuriousFolder(class_index=expected[0], component=expected[1]))


@pytest.mark.parametrize(
    ("content", "version"),
    [
        (b"1678886400\n", "1678886400"),
        (b"2023-03-15\r\n", "2023-03-15"),
        (b"", None),
        (b"\xff\xfe", None),
        (b"a b", None),
    ],
)
def test_a_version_is_one_short_word(content: bytes, version: str | None) -> None:
    assert parse_version(content) == version


def test_the_set_is_recognised_and_keeps_class_component_and_version(upload, store: Store) -> None:  # type: ignore[no-untyped-def]
    record = upload(SET)
    assert record.layout == "spurious_imagenet"
    assert record.version == "1678886400"
    assert record.classes == sorted({name.split("/")[1] for name in SET if name.endswith(".jpg")})
    assert [(folder.class_index, folder.component) for folder in record.folders] == [(400, 7), (94, 1), (94, 12)]
    by_content = {
        sample.content: record.folders[sample.label].component for sample in read_samples(store, record.id, 0, 4)
    }
    assert by_content == {b"1": 7, b"2": 7, b"3": 1, b"4": 12}


def test_a_tar_of_it_is_recognised_too(store: Store, limits: ArchiveLimits, tmp_path: Path) -> None:
    record = import_archive(store, tarred(tmp_path / "a", SET, "w:gz"), limits, "set")
    assert (record.layout, record.version) == ("spurious_imagenet", "1678886400")


def test_classes_are_met_by_index_by_networks_of_the_1000_classes_only(upload) -> None:  # type: ignore[no-untyped-def]
    record = upload(SET)
    imagenet = [f"class {index}" for index in range(1000)]
    assert record.class_names(imagenet) == ["class 400", "class 94", "class 94"]
    assert record.class_names(("cat", "dog")) == record.classes


def test_without_a_version_or_with_another_folder_each_folder_is_a_class(upload) -> None:  # type: ignore[no-untyped-def]
    without = {name: data for name, data in SET.items() if not name.endswith(".txt")}
    record = upload(without)
    assert (record.layout, record.folders, record.version) == ("image_folder", None, None)
    assert record.class_names(("cat", "dog")) == record.classes
    mixed = upload(SET | {"images/dog/e.jpg": b"5"})
    assert (mixed.layout, mixed.folders) == ("image_folder", None)


def test_a_layout_that_is_told_is_held_to(upload) -> None:  # type: ignore[no-untyped-def]
    without = {name: data for name, data in SET.items() if not name.endswith(".txt")}
    record = upload(without, "spurious_imagenet")
    assert (record.layout, record.version) == ("spurious_imagenet", None)
    assert upload(SET, "image_folder").folders is None
    with pytest.raises(Invalid, match="folder 'dog' does not follow") as raised:
        upload(SET | {"images/dog/e.jpg": b"5"}, "spurious_imagenet")
    assert raised.value.field == "layout"


def test_the_same_bytes_in_another_layout_are_a_conflict(upload) -> None:  # type: ignore[no-untyped-def]
    record = upload(SET)
    assert upload(SET) == upload(SET, "spurious_imagenet") == record
    with pytest.raises(Conflict, match="already, with the layout 'spurious_imagenet'") as raised:
        upload(SET, "image_folder")
    assert record.id in (raised.value.remedy or "")


def test_records_of_earlier_releases_are_plain_folders(upload) -> None:  # type: ignore[no-untyped-def]
    old = upload({"cat/1.jpg": b"1", "dog/1.jpg": b"2"}).model_dump(exclude={"layout", "folders", "version"})
    record = DatasetRecord.model_validate(old)
    assert record.layout == "image_folder"
    assert record.class_names(("dog", "cat")) == ["cat", "dog"]


def test_a_version_file_that_is_too_long_or_elsewhere_named_is_none(upload) -> None:  # type: ignore[no-untyped-def]
    plain = {name: data for name, data in SET.items() if not name.endswith(".txt")}
    assert upload(plain | {"images/timestamp.txt": b"1" * 1000}).layout == "image_folder"
    assert upload(plain | {"images/time.txt": b"1"}).layout == "image_folder"


def test_every_layout_of_the_table_can_be_told() -> None:
    for layout in LAYOUTS:
        assert lay_out(["a_b_1_2"], layout, None)[0] == layout
