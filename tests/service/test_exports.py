"""Exports over HTTP and on the command line, done by a real worker: their masks are those of the live service."""

from __future__ import annotations

import base64
import io
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from jobs.export_request import ExportRequest
from jobs.mask_dataset import MaskDataset
from service.client import Client
from service.problems import TYPE_PREFIX
from tests.models.conftest import CLASSES
from tests.service.conftest import RunningServer, encoded, picture
from tests.service.material import archive, ended, upload_dataset
from tests.service.test_cli import Run, asking, cuecheck

__all__ = ["asking", "cuecheck"]

SHAPES = ((90, 60), (50, 140), (64, 64))


def shapes() -> dict[str, bytes]:
    """Pictures that are not square, by name."""
    return {
        f"{name}/{number}.png": encoded(picture(*shape, seed=10 * place + number))
        for place, name in enumerate(CLASSES[:2])
        for number, shape in enumerate(SHAPES)
    }


def packed() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as target:
        for name, content in shapes().items():
            target.writestr(zipfile.ZipInfo(name), content)
        target.writestr(zipfile.ZipInfo("ant/broken.png"), b"no picture")
    return stream.getvalue()


def test_the_same_inputs_are_the_same_export(http: httpx.Client) -> None:
    body = {"dataset": upload_dataset(http, archive(2, seed=90)), "bank": "tiny", "seed": 1}
    answer = http.post("/v1/exports", json=body, headers={"Idempotency-Key": "export-1"})
    assert answer.status_code == 202, answer.text
    record = answer.json()
    assert record["kind"] == "export"
    assert answer.headers["Location"] == f"/v1/jobs/{record['id']}"
    assert http.post("/v1/exports", json=body).json()["id"] == record["id"]
    assert http.post("/v1/exports", json=body | {"seed": 2}).json()["id"] != record["id"]
    reused = http.post("/v1/exports", json=body | {"seed": 3}, headers={"Idempotency-Key": "export-1"})
    assert reused.json()["type"] == TYPE_PREFIX + "key-reused"
    assert record["id"] in [found["id"] for found in http.get("/v1/exports").json()["items"]]
    assert http.get(f"/v1/exports/{record['id']}").json()["kind"] == "export"
    assert http.get(f"/v1/audits/{record['id']}").status_code == 404


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"dataset": "0" * 64}, 404, "dataset"),
        ({"bank": "nowhere"}, 404, "bank"),
        ({"classes": ["wolf"]}, 422, "classes"),
        ({"classes": ["eel"]}, 422, "features"),
        ({"features": [999]}, 422, "features"),
        ({"features": []}, 422, "features"),
        ({"features": "core", "unions": ["spurious"]}, 422, "unions"),
        ({"pictures": True}, 422, "pictures"),
        ({"validity": "top:2"}, 422, "validity"),
        ({"format": "gif"}, 422, "format"),
        ({"threshold": 0}, 422, "threshold"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(
    http: httpx.Client, change: dict[str, Any], status: int, field: str
) -> None:
    body = {"dataset": upload_dataset(http, archive(2, seed=90)), "bank": "tiny"}
    answer = http.post("/v1/exports", json=body | change)
    assert answer.status_code == status, answer.text
    assert answer.json()["field"].startswith(field)


def test_capabilities_name_formats_and_rules(http: httpx.Client) -> None:
    told = http.get("/v1/capabilities").json()["exports"]
    assert set(told["formats"]) == {"png", "webdataset", "rle"}
    assert set(told["validities"]) == {"valid", "top:<share>", "all"}
    assert told["defaults"]["validity"] == "valid"


def live(http: httpx.Client, content: bytes, class_index: int, size: str) -> dict[str, np.ndarray]:
    """The service's masks of a class on a picture, uint8 [H, W], by feature and by label."""
    fields = {"bank": "tiny", "classes": str(class_index), "features": "all", "size": size}
    answer = http.post("/v1/masks", files=[("pictures", ("p.png", content))], data=fields)
    (told,) = answer.json()["pictures"][0]["classes"]

    def pixels(mask: dict[str, Any]) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(mask["data"]))))

    found = {str(one["feature"]): pixels(one["mask"]) for one in told["features"]}
    return found | {label: pixels(told["masks"][label]) for label in ("core", "spurious")}


@pytest.mark.parametrize("size", ["original", "input"])
def test_written_masks_lie_where_live_masks_lie(
    asking: Run, http: httpx.Client, worker: subprocess.Popen[bytes], tmp_path: Path, size: str
) -> None:
    """From a file to a folder tree, read back and compared, level by level, with what the service answers now."""
    (tmp_path / "pictures.zip").write_bytes(packed())
    options = ("--bank", "tiny", "--validity", "all", "--size", size, "--union", "core", "--union", "spurious")
    done = asking("bank", "export-masks", "pictures.zip", *options, "--out", "masks")
    assert done.code == 0, done
    assert "1 not a picture" in done.stdout
    folder = tmp_path / "masks"
    assert (folder / "masks" / "ant" / "feature_0" / "1.png").is_file()
    assert not list(folder.rglob("*.zip"))
    items = list(MaskDataset(folder, tmp_path / "pictures.zip"))
    assert len(items) == 3 * (3 + 2) + 3 * (4 + 2)
    answers = {name: live(http, content, CLASSES.index(name.split("/")[0]), size) for name, content in shapes().items()}
    for item in items:
        key = item.row.label if item.row.feature_index is None else str(item.row.feature_index)
        expected = answers[item.row.sample][key]
        assert item.mask.shape == expected.shape
        assert np.abs(item.mask * 255 - expected.astype(float)).max() <= 1.01
        assert item.picture is not None
        assert item.picture.shape[:2] == item.mask.shape
    before = {path: path.stat().st_mtime_ns for path in (folder / "rows").iterdir()}
    again = asking("bank", "export-masks", "pictures.zip", *options, "--out", "masks")
    assert again.code == 0
    assert {path: path.stat().st_mtime_ns for path in (folder / "rows").iterdir()} == before, "not fetched twice"
    other = asking("bank", "export-masks", "pictures.zip", "--bank", "tiny", "--out", "masks")
    assert other.code == 2, "another export does not go into the same folder"
    assert "another export" in other.stderr


def test_artefacts_are_listed_in_pages_and_sent_in_parts(
    http: httpx.Client, server: RunningServer, worker: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    dataset = upload_dataset(http, packed())
    with Client(server.url) as client:
        job = client.submit_export(ExportRequest(dataset=dataset, bank="tiny", format="webdataset", validity="all"))
        assert ended(http, job.id)["state"] == "succeeded"
        manifest = client.export_manifest(job.id)
        listed = {one.name: one for one in client.export_artefacts(job.id)}
        for shard in manifest.shards:
            assert {shard.masks, shard.rows, shard.samples} <= set(listed)
        first = http.get(f"/v1/exports/{job.id}/artefacts", params={"limit": 2}).json()
        second = http.get(f"/v1/exports/{job.id}/artefacts", params={"limit": 2, "cursor": first["next"]}).json()
        assert [one["name"] for one in first["items"] + second["items"]] == sorted(listed)[:4]
        name = str(manifest.shards[0].masks)
        client.download_export(job.id, name, tmp_path / "masks.tar")
        assert (tmp_path / "masks.tar").stat().st_size == listed[name].bytes
        assert listed[name].media_type == "application/x-tar"
    part = http.get(listed[name].href, headers={"Range": "bytes=0-9"})
    assert part.status_code == 206
    assert part.content == (tmp_path / "masks.tar").read_bytes()[:10]
    for missing in ("masks/none.tar", "../keys", "rows", "masks/..%2Fplan.json"):
        assert http.get(f"/v1/exports/{job.id}/artefacts/{missing}").status_code == 404


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["none.zip"], 2, "none.zip"),
        (["0" * 64], 1, "0000"),
        (["0" * 64, "--features", "red"], 2, "features"),
        (["0" * 64, "--validity", "top:7"], 2, "validity"),
        (["0" * 64, "--format", "gif"], 2, "format"),
        (["0" * 64, "--map", "ant"], 2, "THEIRS=OURS"),
    ],
)
def test_what_cannot_be_done_ends_with_its_exit_code(asking: Run, options: list[str], code: int, said: str) -> None:
    done = asking("bank", "export-masks", *options)
    assert done.code == code, done
    assert said in done.stderr
