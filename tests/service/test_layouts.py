"""The layout of a data set, told over HTTP and on the command line."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import httpx
import pytest

from service.client import Client
from tests.service.conftest import RunningServer

FOLDER = "spurious_class_13_junco_component_2"


def archive(picture: bytes, version: bool = True) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as target:
        target.writestr(f"{FOLDER}/1.jpg", picture)
        if version:
            target.writestr("timestamp.txt", "1678886400\n")
    return stream.getvalue()


def test_a_layout_is_recognised_and_shown(http: httpx.Client) -> None:
    record = http.post("/v1/datasets", files={"file": ("a.zip", archive(b"1"))}).json()
    assert (record["layout"], record["version"]) == ("spurious_imagenet", "1678886400")
    assert record["folders"] == [{"class_index": 13, "component": 2}]


def test_a_layout_is_told(server: RunningServer) -> None:
    with Client(server.url) as client:
        record = client.upload_dataset(io.BytesIO(archive(b"2", version=False)), "told", layout="spurious_imagenet")
        assert record.folders is not None
        assert record.folders[0].component == 2


@pytest.mark.parametrize(
    ("content", "layout", "status", "field"),
    [
        (archive(b"3"), "flat", 422, "layout"),
        (archive(b"4").replace(FOLDER.encode(), b"junco".ljust(len(FOLDER), b"o")), "spurious_imagenet", 422, "layout"),
    ],
)
def test_a_layout_that_does_not_fit_is_refused(
    http: httpx.Client, content: bytes, layout: str, status: int, field: str
) -> None:
    answer = http.post("/v1/datasets", files={"file": ("a.zip", content)}, data={"layout": layout})
    assert (answer.status_code, answer.json()["field"]) == (status, field)


def test_the_same_bytes_in_another_layout_are_a_conflict(http: httpx.Client) -> None:
    content = archive(b"5")
    assert http.post("/v1/datasets", files={"file": ("a.zip", content)}).status_code == 201
    answer = http.post("/v1/datasets", files={"file": ("a.zip", content)}, data={"layout": "image_folder"})
    assert answer.status_code == 409


def test_the_command_line_tells_and_shows_it(
    server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from service.cli import app

    (tmp_path / "set.zip").write_bytes(archive(b"6", version=False))
    monkeypatch.setenv("CUECHECK_URL", server.url)
    app(
        ["dataset", "upload", str(tmp_path / "set.zip"), "--layout", "spurious_imagenet"],
        standalone_mode=False,
    )
    identifier = capfd.readouterr().out.strip()
    app(["dataset", "show", identifier], standalone_mode=False)
    assert "spurious_imagenet" in capfd.readouterr().out
