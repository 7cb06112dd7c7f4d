"""A written export is read again by our own reader, by webdataset, by pycocotools and by pyarrow, all of one mind."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image
from pycocotools import mask as coco

from jobs.datasets import Sample
from jobs.errors import Invalid, NotFound
from jobs.export_manifest import ExportedShard, ExportManifest
from jobs.export_request import ExportRequest
from jobs.export_shard import export_all
from jobs.mask_dataset import MaskDataset, MaskItem
from jobs.mask_files import FILE_FORMATS
from jobs.mask_rows import MASKS, mask_table, to_parquet
from tests.jobs import world
from tests.jobs.test_export_shard import TALL, WIDE, scene, source
from tests.jobs.world import GREEN, RED

SHAPES = (TALL, WIDE, (96, 96))


def samples() -> list[Sample]:
    pixels = [scene(*shape, a=(RED, (34 - i, 28)), b=(GREEN, (62, 62))) for i, shape in enumerate(SHAPES)]
    return [Sample(i, f"hen/{i}.png", 0, world.png(one)) for i, one in enumerate(pixels)]


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def write(folder: Path, threads: ThreadPoolExecutor, **changes: object) -> Path:
    """An export of one shard, as the job leaves it."""
    fields = {"dataset": "d", "bank": "world", "size": "original", "unions": ["core"], "batch_size": 2}
    request = ExportRequest.model_validate(fields | changes)
    form = FILE_FORMATS[request.format]
    for part in ("masks", "rows", "samples"):
        (folder / part).mkdir(parents=True)
    name = f"masks/00000-0.{form.suffix}"
    with form.open(folder / name, request.threshold) as file:
        written = export_all(source(samples(), threads), request, file, name)
    (folder / "rows/00000-0.parquet").write_bytes(to_parquet(mask_table(written.masks)))
    manifest = ExportManifest(
        id="e",
        code_version="0",
        bank="sha256:0",
        bank_name="world",
        dataset="d",
        parameters=request.model_dump(mode="json"),
        format=request.format,
        size=request.size,
        threshold=None if form.soft else request.threshold,
        preprocessing=world.PREPROCESSING,
        ran_on=[],
        pictures=3,
        masked=3,
        masks=len(written.masks),
        labels={},
        skipped={},
        classes=[],
        shards=[ExportedShard(samples="", rows="rows/00000-0.parquet", masks=name, count=len(written.masks))],
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    return folder


def by_feature(folder: Path) -> dict[tuple[int, int | None], MaskItem]:
    return {(item.row.row, item.row.feature_index): item for item in MaskDataset(folder)}


def test_all_formats_hold_the_same_masks(threads: ThreadPoolExecutor, tmp_path: Path) -> None:
    forms = {form: by_feature(write(tmp_path / form, threads, format=form)) for form in ("png", "webdataset", "rle")}
    assert len(forms["png"]) == 3 * 3
    for key, item in forms["png"].items():
        assert item.mask.dtype == np.float32
        assert item.mask.shape == SHAPES[key[0]]
        assert np.array_equal(item.mask, forms["webdataset"][key].mask)
        cut = forms["rle"][key].mask
        assert set(np.unique(cut)) <= {0.0, 1.0}
        doubtful = np.abs(item.mask - 0.5) < 0.5 / 255
        assert np.array_equal(cut[~doubtful], (item.mask >= 0.5).astype(np.float32)[~doubtful])


def test_a_zip_that_was_unpacked_is_read_the_same(threads: ThreadPoolExecutor, tmp_path: Path) -> None:
    folder = write(tmp_path / "export", threads)
    packed = by_feature(folder)
    (file,) = (folder / "masks").iterdir()
    with zipfile.ZipFile(file) as archive:
        archive.extractall(folder / "masks")
    file.unlink()
    assert sorted(str(p.relative_to(folder)) for p in folder.rglob("0.png")) == [
        "masks/hen/core/0.png",
        "masks/hen/feature_0/0.png",
        "masks/hen/feature_1/0.png",
    ]
    unpacked = by_feature(folder)
    assert packed.keys() == unpacked.keys()
    assert all(np.array_equal(item.mask, unpacked[key].mask) for key, item in packed.items())


@pytest.mark.parametrize("size", ["original", "input"])
@pytest.mark.parametrize("own", [True, False])
def test_pictures_lie_under_their_masks(size: str, own: bool, threads: ThreadPoolExecutor, tmp_path: Path) -> None:
    """Whether the export has them or the data set's archive does: red is where the mask of red is."""
    form = "webdataset" if own else "png"
    folder = write(tmp_path / "export", threads, format=form, pictures=own, size=size)
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        for sample in samples():
            assert isinstance(sample.content, bytes)
            archive.writestr(sample.sample, sample.content)
    items = list(MaskDataset(folder, None if own else tmp_path / "pictures.zip"))
    assert len(items) == 9
    for item in items:
        assert item.picture is not None
        assert item.picture.shape == (*item.mask.shape, 3)
        if item.row.feature_index == 0:
            red = np.abs(item.picture.astype(int) - RED).max(axis=2) < 40
            shown = item.mask >= 0.5
            assert (red & shown).sum() / (red | shown).sum() > 0.7


def test_without_pictures_there_are_none(threads: ThreadPoolExecutor, tmp_path: Path) -> None:
    assert all(item.picture is None for item in MaskDataset(write(tmp_path / "export", threads)))


def test_webdataset_reads_it(threads: ThreadPoolExecutor, tmp_path: Path) -> None:
    folder = write(tmp_path / "export", threads, format="webdataset", pictures=True)
    ours = by_feature(folder)
    (file,) = (folder / "masks").iterdir()
    found = list(webdataset.WebDataset(f"file:{file}", shardshuffle=False).decode("l8"))
    assert [sample["__key__"] for sample in found] == ["0000000000", "0000000001", "0000000002"]
    for row, sample in enumerate(found):
        assert sample["json"]["sample"] == f"hen/{row}.png"
        assert sample["png"].shape == SHAPES[row]
        for about in sample["json"]["masks"]:
            mask = sample[about["member"]]
            assert np.array_equal(mask / np.float32(255), ours[row, about["feature_index"]].mask)
            assert about["label"] in ("core", "spurious")
            assert about["feature_index"] is None or about["votes"]["main_object"] in (0, 5)


def test_pycocotools_reads_run_lengths(threads: ThreadPoolExecutor, tmp_path: Path) -> None:
    folder = write(tmp_path / "export", threads, format="rle", threshold=0.25)
    ours = by_feature(folder)
    (file,) = (folder / "masks").iterdir()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(lines) == 9
    for line in lines:
        assert line["threshold"] == 0.25
        own = ours[line["row"], line["feature_index"]].mask
        assert np.array_equal(coco.decode(line["segmentation"]), own)
        assert coco.area(line["segmentation"]) == own.sum()


def test_pyarrow_reads_the_rows(threads: ThreadPoolExecutor, tmp_path: Path) -> None:
    folder = write(tmp_path / "export", threads)
    table = pq.read_table(folder / "rows")
    assert table.schema.equals(MASKS)
    assert [field.metadata[b"about"] for field in table.schema], "every column says what it is"
    rows = table.to_pylist()
    assert [row["member"] for row in rows[:3]] == ["hen/feature_0/0.png", "hen/feature_1/0.png", "hen/core/0.png"]
    assert rows[0]["votes"] == {"main_object": 5, "background": 0, "separate_object": 0}
    with zipfile.ZipFile(folder / rows[0]["file"]) as archive:
        assert Image.open(io.BytesIO(archive.read(rows[0]["member"]))).size == (rows[0]["width"], rows[0]["height"])


def test_what_is_no_export_is_said(threads: ThreadPoolExecutor, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no finished export"):
        MaskDataset(tmp_path / "nothing")
    (tmp_path / "manifest.json").write_text('{"schema_version": 2}')
    with pytest.raises(Invalid, match="no manifest"):
        MaskDataset(tmp_path)
    folder = write(tmp_path / "export", threads)
    next((folder / "masks").iterdir()).unlink()
    with pytest.raises(NotFound, match=r"hen/feature_\d/0"):
        list(MaskDataset(folder))
