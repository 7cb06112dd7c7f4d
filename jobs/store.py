"""The artefact store: one folder tree on the local disk or behind any fsspec URL."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import fsspec
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from jobs.errors import JobsError, NotFound, StoreFull, Unavailable
from jobs.settings import Settings

CHUNK = 2**20
STALE_SCRATCH_SECONDS = 24 * 3600


class Store:
    """Files under names such as `audits/<id>/report.json`, relative to the root, parts joined by `/`.

    A file is either not there or whole: local writes go to a scratch file that is renamed, object stores put whole
    objects. Every method raises `NotFound` for a missing file, `StoreFull` when there is no room, and `Unavailable`
    when the storage does not answer.
    """

    def __init__(self, url: str, scratch: Path | None = None) -> None:
        """Open a store.

        Args:
            url: Root of the store, e.g. `file:///var/lib/cuecheck` or `s3://bucket/prefix`.
            scratch: Local folder for files in transit. A local store ignores it and keeps its own beside its files,
                so that a finished upload is renamed rather than copied.
        """
        self.url = url
        self._root = self._open()
        self.is_local = isinstance(self._files, LocalFileSystem)
        self._scratch = Path(self._root, ".scratch") if self.is_local or scratch is None else scratch
        self._was_here = self.is_local and self._scratch.is_dir()

    @classmethod
    def from_settings(cls, settings: Settings) -> Store:
        """The store that the settings name."""
        return cls(settings.store_url, settings.scratch_dir)

    def _open(self) -> str:
        """Open the file system for this process; the root's path in it."""
        # Without its cache of listings: other processes write too, and would not be seen.
        self._opened, root = fsspec.url_to_fs(self.url, use_listings_cache=False)
        self._process = os.getpid()
        return root.rstrip("/")

    @property
    def _files(self) -> AbstractFileSystem:
        """The file system. Drivers of object stores refuse to work in a process forked from the one they began in."""
        if self._process != os.getpid():
            self._open()
        return self._opened

    def exists(self, name: str) -> bool:
        """Whether there is a file of this name."""
        with self._translated(name):
            try:  # `isfile` says no where the storage does not answer
                return bool(self._files.info(self._path(name))["type"] == "file")
            except FileNotFoundError:
                self._require_here()
                return False

    def size(self, name: str) -> int:
        """Size of a file, bytes."""
        with self._translated(name):
            return int(self._files.info(self._path(name))["size"])

    def list(self, folder: str) -> Iterator[str]:
        """Names right below a folder, without the folder, sorted; nothing for a folder that does not exist."""
        with self._translated(folder):
            try:
                entries = self._files.ls(self._path(folder), detail=False)
            except FileNotFoundError:
                self._require_here()
                entries = []
        names = (entry.rstrip("/").rsplit("/", 1)[-1] for entry in entries)
        yield from sorted(name for name in names if not name.startswith("."))  # those are still being written

    def read_bytes(self, name: str) -> bytes:
        """The whole of a file that is known to be small."""
        with self._translated(name):
            return bytes(self._files.cat_file(self._path(name)))

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`; fewer where the file ends before."""
        with self._translated(name):
            return bytes(self._files.cat_file(self._path(name), start=offset, end=offset + length))

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """A seekable file for reading, for many ranges of one file or for streaming it."""
        with self._translated(name):
            file = self._files.open(self._path(name), "rb")
        with file:
            yield file

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write a small file, replacing one of the same name."""
        with self.scratch_file() as local:
            with self._translated(name):
                local.write_bytes(data)
            self.write_file(name, local)

    def write_file(self, name: str, local: Path) -> None:
        """Move a local file into the store under `name`, replacing one of the same name; `local` is gone then."""
        path = self._path(name)
        with self._translated(name):
            if self.is_local:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                _move(local, Path(path))
            else:
                self._files.put_file(str(local), path)
                local.unlink()

    def write_blob(self, local: Path) -> str:
        """Move a local file to `blobs/<sha256 of its bytes>`; the same bytes are stored once.

        Returns:
            The file's sha256 as 64 hexadecimal digits.
        """
        digest = file_sha256(local)
        name = f"blobs/{digest}"
        if self.exists(name):
            local.unlink()
        else:
            self.write_file(name, local)
        return digest

    def delete(self, name: str) -> None:
        """Remove a file, or a folder with all it holds; one that is not there is no error."""
        path = self._path(name)
        with self._translated(name):
            if self._files.exists(path):
                self._files.rm(path, recursive=True)

    @contextmanager
    def scratch_file(self) -> Iterator[Path]:
        """A fresh local path on the store's own disk where possible; whatever is there at the end is removed."""
        with self._translated(str(self._scratch)):
            self._require_here()
            self._scratch.mkdir(parents=True, exist_ok=True)
            self._was_here = self.is_local
            handle, name = tempfile.mkstemp(dir=self._scratch)
            os.close(handle)
        path = Path(name)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    @contextmanager
    def local_copy(self, name: str) -> Iterator[Path]:
        """A file as a path on this machine, to be read only: the file itself in a local store, else a copy."""
        if self.is_local:
            if not self.exists(name):
                raise NotFound(f"The store holds no {name!r}.")
            yield Path(self._path(name))
            return
        with self.scratch_file() as local:
            with self._translated(name):
                self._files.get_file(self._path(name), str(local))
            yield local

    def clear_scratch(self) -> None:
        """Remove scratch files left for a day by processes that were killed."""
        oldest = time.time() - STALE_SCRATCH_SECONDS
        for path in self._scratch.glob("*"):
            if path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)

    def _require_here(self) -> None:
        """Raises `Unavailable` where a local folder that was there is gone, such as that of a disk not mounted.

        Nothing is missing then, and what was written would be lost as soon as the folder is back.
        """
        if self._was_here and not self._scratch.is_dir():
            raise Unavailable("The store's folder is gone.", remedy="Bring it back, then try again.")

    @contextmanager
    def _translated(self, name: str) -> Iterator[Any]:
        """Turn what file systems raise into the errors of this room."""
        try:
            yield
        except JobsError:
            raise
        except FileNotFoundError as error:
            self._require_here()
            raise NotFound(f"The store holds no {name!r}.") from error
        except OSError as error:
            raise store_error(error, name) from error
        except Exception as error:
            if type(error).__module__ == "builtins":
                raise  # a mistake of ours
            raise Unavailable(
                f"The store failed at {name!r}: {error}"
            ) from error  # an object store's driver has its own

    def _path(self, name: str) -> str:
        if not name or any(part in ("", ".", "..") for part in name.split("/")):
            raise ValueError(f"Not a name in the store: {name!r}")
        return f"{self._root}/{name}"


def file_sha256(path: Path) -> str:
    """The sha256 of a local file's bytes, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _move(source: Path, target: Path) -> None:
    with source.open("rb") as file:
        os.fsync(file.fileno())  # or the new name may outlive a power cut, and the bytes not
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".arriving-")
        os.close(handle)
        beside = Path(name)
        try:
            shutil.copyfile(source, beside)
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
        source.unlink()
    target.chmod(0o640)


def store_error(error: OSError, name: str) -> Unavailable:
    """What it means that the operating system failed at a file, also at one on its way to the store."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StoreFull(
            f"No room in the store for {name!r}: {error.strerror}.", remedy="Free some space, then try again."
        )
    return Unavailable(f"The store failed at {name!r}: {error}")
