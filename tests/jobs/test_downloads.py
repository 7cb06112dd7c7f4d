"""Downloads from a host on this machine: resumed, bounded, verified, and never half there under the final name."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from jobs import downloads
from jobs.downloads import download
from jobs.errors import Conflict, Invalid, LimitExceeded, Unavailable
from tests.jobs.file_host import FileHost, serving

CONTENT = random.Random(0).randbytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MOST = 10_000_000


@pytest.fixture
def host() -> Iterator[FileHost]:
    with serving(CONTENT) as host:
        yield host


def test_a_file_arrives_whole_and_is_told_of_on_the_way(host: FileHost, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    target = tmp_path / "new" / "weights.pt"
    found = download([host.url], target, most_bytes=MOST, sha256=SHA256.upper(), progress=lambda *now: told.append(now))
    assert target.read_bytes() == CONTENT
    assert (found.path, found.url, found.sha256, found.bytes) == (target, host.url, SHA256, len(CONTENT))
    assert told[0] == (0, len(CONTENT))
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert told == sorted(told)
    assert {file.name for file in target.parent.iterdir()} <= {"weights.pt", "weights.pt.lock"}


def test_a_redirection_is_followed_and_a_file_without_a_length_taken(host: FileHost, tmp_path: Path) -> None:
    host.states_length = False
    found = download([host.url.replace("/file", "/moved")], tmp_path / "w", most_bytes=MOST)
    assert found.sha256 == SHA256


def test_a_broken_connection_is_taken_up_where_it_broke(host: FileHost, tmp_path: Path) -> None:
    host.breaks_after = [1_000_000, 500_000]
    assert download([host.url], tmp_path / "w", most_bytes=MOST, sha256=SHA256).bytes == len(CONTENT)
    assert host.asked == [None, "bytes=1000000-", "bytes=1500000-"]
    assert host.sent == len(CONTENT)


def test_a_download_that_gave_up_goes_on_in_the_next_call(host: FileHost, tmp_path: Path) -> None:
    host.breaks_after = [1_000_000, 0]
    target = tmp_path / "w"
    with pytest.raises(Unavailable, match="could not be read to its end") as refused:
        download([host.url], target, most_bytes=MOST)
    assert "kept" in str(refused.value.remedy)
    assert not target.exists()
    download([host.url], target, most_bytes=MOST, sha256=SHA256)
    assert target.read_bytes() == CONTENT
    assert host.sent == len(CONTENT)


@pytest.mark.parametrize("change", ["file", "no ranges", "no tag"])
def test_what_cannot_be_gone_on_with_is_begun_again(host: FileHost, tmp_path: Path, change: str) -> None:
    host.etag = "" if change == "no tag" else host.etag
    host.breaks_after = [1_000_000, 0]
    target = tmp_path / "w"
    with pytest.raises(Unavailable):
        download([host.url], target, most_bytes=MOST)
    if change == "file":
        host.content, host.etag = CONTENT[::-1], '"two"'
    host.ranges = change != "no ranges"
    download([host.url], target, most_bytes=MOST)
    assert target.read_bytes() == host.content


def test_a_beginning_that_is_the_whole_file_is_verified_and_kept(host: FileHost, tmp_path: Path) -> None:
    host.breaks_after = [1_000_000, 0]
    with pytest.raises(Unavailable):
        download([host.url], tmp_path / "w", most_bytes=MOST)
    (tmp_path / "w.part").write_bytes(CONTENT)
    assert download([host.url], tmp_path / "w", most_bytes=MOST).sha256 == SHA256
    assert host.sent == 1_000_000


def test_another_digest_leaves_nothing(host: FileHost, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=SHA256):
        download([host.url], tmp_path / "w", most_bytes=MOST, sha256="0" * 64)
    assert {file.name for file in tmp_path.iterdir()} == {"w.lock"}


def test_a_file_that_is_there_is_taken_if_it_is_the_one(host: FileHost, tmp_path: Path) -> None:
    target = tmp_path / "w"
    target.write_bytes(CONTENT)
    assert download([host.url], target, most_bytes=MOST, sha256=SHA256).sha256 == SHA256
    assert host.asked == []
    target.write_bytes(b"another file")
    with pytest.raises(Invalid, match="removed"):
        download([host.url], target, most_bytes=MOST, sha256=SHA256)
    assert download([host.url], target, most_bytes=MOST, sha256=SHA256).bytes == len(CONTENT)


def test_a_stop_between_two_versions_of_a_file_does_not_mix_them(
    host: FileHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.breaks_after = [1_000_000, 0]
    with pytest.raises(Unavailable):
        download([host.url], tmp_path / "w", most_bytes=MOST)
    host.content, host.etag = CONTENT[::-1], '"two"'

    write = Path.write_text

    def write_and_stop(path: Path, text: str) -> None:
        write(path, text)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", write_and_stop)
        with pytest.raises(KeyboardInterrupt):
            download([host.url], tmp_path / "w", most_bytes=MOST)
    download([host.url], tmp_path / "w", most_bytes=MOST)
    assert (tmp_path / "w").read_bytes() == host.content


@pytest.mark.parametrize("stated", [True, False])
def test_a_file_larger_than_allowed_is_refused(host: FileHost, tmp_path: Path, stated: bool) -> None:
    host.states_length = stated
    with pytest.raises(LimitExceeded):
        download([host.url], tmp_path / "w", most_bytes=len(CONTENT) - 1)
    assert not (tmp_path / "w").exists()


def test_answers_that_are_no_file_are_told_apart(host: FileHost, tmp_path: Path) -> None:
    for status, error in {404: Invalid, 403: Invalid, 503: Unavailable, 429: Unavailable}.items():
        host.status = status
        with pytest.raises(error, match=str(status)):
            download([host.url], tmp_path / "w", most_bytes=MOST)
    host.status, host.media_type = 200, "text/html; charset=utf-8"
    with pytest.raises(Invalid, match="page"):
        download([host.url], tmp_path / "w", most_bytes=MOST)
    for no_url in ("file:///etc/passwd", "ftp://host/file", "http://host:x/", "/etc/passwd"):
        with pytest.raises(Invalid, match="no http"):
            download([no_url], tmp_path / "w", most_bytes=MOST)
    assert {file.name for file in tmp_path.iterdir()} == {"w.lock"}


@pytest.mark.parametrize("elsewhere", ["file:///etc/passwd", "ftp://127.0.0.1/file", "data:,x"])
def test_a_redirection_out_of_the_web_is_not_followed(host: FileHost, tmp_path: Path, elsewhere: str) -> None:
    host.moved_to = elsewhere
    with pytest.raises(Invalid, match="neither http nor https"):
        download([host.url.replace("/file", "/moved")], tmp_path / "w", most_bytes=MOST)
    assert {file.name for file in tmp_path.iterdir()} == {"w.lock"}


def test_a_protected_address_does_not_lead_over_an_open_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leads = {
        "https://host/a": "https://mirror/a",
        "https://host/b": "http://mirror/b",
        "http://mirror/b": "https://mirror/a",
    }

    def answer(request: httpx.Request) -> httpx.Response:
        if next_one := leads.get(str(request.url)):
            return httpx.Response(302, headers={"Location": next_one})
        return httpx.Response(200, stream=httpx.ByteStream(CONTENT))

    transport = httpx.MockTransport(answer)
    monkeypatch.setattr(downloads.httpx, "Client", functools.partial(httpx.Client, transport=transport))
    with pytest.raises(Invalid, match="unprotected"):
        download(["https://host/b"], tmp_path / "w", most_bytes=MOST)
    assert {file.name for file in tmp_path.iterdir()} == {"w.lock"}
    assert download(["https://host/a"], tmp_path / "w", most_bytes=MOST).sha256 == SHA256


def test_the_next_address_is_tried_where_the_first_has_nothing(host: FileHost, tmp_path: Path) -> None:
    with serving(b"gone") as other:
        other.status = 404
        found = download([other.url, host.url], tmp_path / "w", most_bytes=MOST, sha256=SHA256)
        assert found.url == host.url
        host.status = 404
        with pytest.raises(Invalid, match=r"404.*404"):
            download([other.url, host.url], tmp_path / "x", most_bytes=MOST)
    with pytest.raises(Unavailable, match="could not be read"):
        download([other.url], tmp_path / "x", most_bytes=MOST)


def test_two_processes_do_not_write_the_same_file(host: FileHost, tmp_path: Path) -> None:
    with (tmp_path / "w.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Conflict):
            download([host.url], tmp_path / "w", most_bytes=MOST)
    download([host.url], tmp_path / "w", most_bytes=MOST)
