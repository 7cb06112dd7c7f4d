"""Files in the store are whole or absent, in a local folder and behind another fsspec URL alike."""

from __future__ import annotations

import multiprocessing
import os
import resource
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

import fsspec
import pytest
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from jobs.errors import NotFound, StoreFull, Unavailable
from jobs.store import Store


@pytest.fixture(params=["local", "memory"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "local":
        yield Store(f"file://{tmp_path}/store")
        return
    yield Store("memory://bucket/prefix", scratch=tmp_path / "scratch")
    fsspec.filesystem("memory").store.clear()


def test_what_is_written_is_read_in_whole_and_in_ranges(any_store: Store) -> None:
    any_store.write_bytes("a/b.bin", b"0123456789")
    assert any_store.exists("a/b.bin")
    assert any_store.size("a/b.bin") == 10
    assert any_store.read_bytes("a/b.bin") == b"0123456789"
    assert any_store.read_range("a/b.bin", 3, 4) == b"3456"
    assert any_store.read_range("a/b.bin", 8, 100) == b"89"
    with any_store.open("a/b.bin") as file:
        file.seek(5)
        assert file.read(2) == b"56"
    with any_store.local_copy("a/b.bin") as path:
        assert path.read_bytes() == b"0123456789"


def test_files_are_replaced_and_listed_and_removed(any_store: Store) -> None:
    any_store.write_bytes("audits/x/report.json", b"old")
    any_store.write_bytes("audits/x/report.json", b"new")
    any_store.write_bytes("audits/x/shards/0", b"")
    any_store.write_bytes("audits/y/report.json", b"")
    assert any_store.read_bytes("audits/x/report.json") == b"new"
    assert list(any_store.list("audits")) == ["x", "y"]
    assert list(any_store.list("audits/x")) == ["report.json", "shards"]
    any_store.delete("audits/x")
    any_store.delete("audits/x")
    assert list(any_store.list("audits")) == ["y"]
    assert list(any_store.list("nothing")) == []


def test_a_local_folder_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    """Its disk is away: nothing is missing, and what was written beside it would be lost when it is back."""
    store = Store(f"file://{tmp_path}/store")
    store.write_bytes("a/b", b"kept")
    (tmp_path / "store").rename(tmp_path / "away")
    (tmp_path / "store").mkdir()  # where it was mounted
    for attempt in (
        lambda: store.write_bytes("a/c", b""),
        lambda: store.read_bytes("a/b"),
        lambda: store.exists("a/b"),
        lambda: list(store.list("a")),
    ):
        with pytest.raises(Unavailable, match="gone"):
            attempt()
    (tmp_path / "store").rmdir()
    (tmp_path / "away").rename(tmp_path / "store")
    assert list(store.list("a")) == ["b"]


def test_a_missing_file_is_not_found(any_store: Store) -> None:
    for read in (any_store.read_bytes, any_store.size):
        with pytest.raises(NotFound, match=r"no/such"):
            read("no/such")
    with pytest.raises(NotFound), any_store.open("no/such"):
        pass
    with pytest.raises(NotFound), any_store.local_copy("no/such"):
        pass


@pytest.mark.parametrize("name", ["", "..", "a/../b", "/etc/passwd", "a//b", "."])
def test_names_never_leave_the_root(any_store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="Not a name"):
        any_store.write_bytes(name, b"")


def test_equal_bytes_are_one_blob(any_store: Store) -> None:
    digests = set()
    for _ in range(2):
        with any_store.scratch_file() as path:
            path.write_bytes(b"the same bytes")
            digests.add(any_store.write_blob(path))
    assert len(digests) == 1
    assert list(any_store.list("blobs")) == list(digests)


def test_a_moved_file_leaves_its_place_also_across_disks(store: Store, tmp_path: Path) -> None:
    other_disk = Path("/dev/shm")
    folder = other_disk if other_disk.is_dir() and os.access(other_disk, os.W_OK) else tmp_path
    local = folder / f"cuecheck-test-{os.getpid()}"
    local.write_bytes(b"x" * 1000)
    store.write_file("a/file", local)
    assert not local.exists()
    assert store.read_bytes("a/file") == b"x" * 1000


def _fill_up(url: str, answer: Connection) -> None:
    """Write as on a disk with room for 100,000 bytes."""
    store = Store(url)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    store.write_bytes("a/small", b"x" * 50_000)
    try:
        store.write_bytes("a/large", b"x" * 200_000)
    except StoreFull as error:
        answer.send((error.message, error.remedy))
    else:
        answer.send(None)


def test_a_full_disk_is_said_and_leaves_no_torn_file(store: Store) -> None:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_fill_up, args=(store.url, there))
    process.start()
    message, remedy = here.recv()
    process.join()
    assert "No room" in message
    assert "a/large" in message
    assert remedy
    assert list(store.list("a")) == ["small"]
    assert list(Path(store.url.removeprefix("file://"), ".scratch").iterdir()) == []


def test_scratch_files_of_killed_processes_are_cleared_after_a_day(store: Store) -> None:
    with store.scratch_file() as fresh, store.scratch_file() as old:
        os.utime(old, (0, 0))
        store.clear_scratch()
        assert fresh.exists()
        assert not old.exists()


class Refusing(LocalFileSystem):
    """A local file system that works only in the process it began in, as the drivers of object stores do."""

    protocol = "refusing"

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.begun_in = os.getpid()

    def cat_file(self, path: str, *arguments: object, **options: object) -> bytes:
        if self.begun_in != os.getpid():
            raise RuntimeError("This class is not fork-safe")
        return bytes(super().cat_file(path, *arguments, **options))


def test_a_store_works_in_a_process_forked_from_the_one_that_opened_it(tmp_path: Path) -> None:
    fsspec.register_implementation("refusing", Refusing, clobber=True)
    store = Store(f"refusing://{tmp_path}/store", scratch=tmp_path / "scratch")
    store.write_bytes("a", b"kept")
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=lambda: there.send(store.read_bytes("a")))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert here.recv() == b"kept"


class DriverError(Exception):
    """As drivers of object stores raise; no OSError."""


class Away(AbstractFileSystem):
    """An object store that does not answer."""

    protocol = "away"

    def info(self, *arguments: object, **options: object) -> NoReturn:
        raise DriverError("Could not connect to the endpoint URL")

    cat_file = ls = put_file = info


def test_an_object_store_that_does_not_answer_is_unavailable_and_not_empty(tmp_path: Path) -> None:
    fsspec.register_implementation("away", Away, clobber=True)
    store = Store("away://bucket/prefix", scratch=tmp_path / "scratch")
    for ask in (
        lambda: store.exists("a"),
        lambda: store.size("a"),
        lambda: store.read_bytes("a"),
        lambda: list(store.list("a")),
        lambda: store.write_bytes("a", b""),
    ):
        with pytest.raises(Unavailable, match="endpoint"):
            ask()
