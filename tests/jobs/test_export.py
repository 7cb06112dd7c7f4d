"""Exports as jobs: refused or done, resumed, the same bytes whoever does them and however often they are killed."""

from __future__ import annotations

import io
import json
import resource
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from jobs import export_pictures
from jobs.archives import ArchiveLimits
from jobs.datasets import Skipped, import_archive, read_samples
from jobs.errors import Invalid, NotFound
from jobs.export_manifest import ExportManifest
from jobs.export_request import ExportRequest
from jobs.mask_dataset import MaskDataset
from jobs.pictures import PictureError, decode, read_picture
from jobs.queue import JobQueue
from jobs.records import JobState
from jobs.settings import Settings
from jobs.spuriosity import Rankings
from jobs.subjects import find_bank, load_backbone
from jobs.tasks import perform
from models.bank_writing import write_bank
from models.components import Components
from models.geometry import place, prepare
from models.masks import nams
from tests.jobs.installation import Installation, work
from tests.models.conftest import manifest
from tests.models.test_component_rows import component_row

CAT, DOG = 2, 3


@pytest.fixture
def request_(in_process: Installation) -> ExportRequest:
    """Masks of all 261 noisy pictures, valid or not, in four shards of small batches."""
    return ExportRequest(dataset=in_process.request.dataset, bank="tiny", validity="all", batch_size=8)


def run(queue: JobQueue, request: ExportRequest) -> str:
    job = queue.submit(request).id
    work(queue)
    record = queue.get(job, "export")
    assert record.state is JobState.SUCCEEDED, record.message
    assert record.done == record.total
    return job


def folder(queue: JobQueue, job: str) -> Path:
    return Path(queue.store.url.removeprefix("file://"), "exports", job)


def files(queue: JobQueue, job: str) -> dict[str, bytes]:
    """Everything that an export left, by name."""
    where = folder(queue, job)
    kept = {"job.json", "request.json"}  # they say when
    found = (path for path in sorted(where.rglob("*")) if path.is_file() and path.name not in kept)
    return {str(path.relative_to(where)): path.read_bytes() for path in found}


def manifest_of(queue: JobQueue, job: str) -> ExportManifest:
    return ExportManifest.model_validate_json((folder(queue, job) / "manifest.json").read_bytes())


class Plain:
    """Activations and maps of all pictures at once, the way one would compute them without any of this."""

    def __init__(self, installation: Installation) -> None:
        self.bank = find_bank(installation.settings, "tiny")
        backbone = load_backbone(self.bank, installation.settings)
        rows, labels, pixels = [], [], []
        for sample in read_samples(installation.queue.store, installation.request.dataset, 0, 261):
            if not isinstance(sample.content, Skipped):
                try:
                    pixels.append(prepare(decode(sample.content), backbone.preprocessing))
                except PictureError:
                    continue
                rows.append(sample.row)
                labels.append(sample.label + CAT)
        self.rows, self.labels = np.array(rows), np.array(labels)
        features = backbone.forward(torch.stack(pixels))
        self.phi, self.maps = features.phi.numpy(), features.maps

    def of(self, row: int) -> int:
        return int(np.flatnonzero(self.rows == row)[0])


def test_the_manifest_says_what_was_written_and_what_was_left_out(
    in_process: Installation, request_: ExportRequest
) -> None:
    job = run(in_process.queue, request_)
    told, plain = manifest_of(in_process.queue, job), Plain(in_process)
    assert (told.id, told.bank, told.dataset) == (job, plain.bank.digest, request_.dataset)
    assert (told.pictures, told.masked, told.skipped) == (261, 260, {"not_a_picture": 1})
    assert told.masks == 130 * 3 + 130 * 4 == len(MaskDataset(folder(in_process.queue, job)))
    assert told.labels == {"core": 520, "spurious": 390}
    assert [(c.name, c.pictures, c.masks) for c in told.classes] == [("cat", 130, 390), ("dog", 130, 520)]
    assert told.parameters["bank"] == plain.bank.digest, "a name is pinned by its digest"
    assert len(told.shards) == 4
    assert told.ran_on[0]["device"] == "cpu"
    for item in MaskDataset(folder(in_process.queue, job)).rows():
        at = plain.of(item.row)
        (feature,) = [f for f in plain.bank.features(item.class_index) if f.feature_index == item.feature_index]
        assert item.class_index == plain.labels[at]
        assert item.activation == pytest.approx(float(plain.phi[at, feature.feature_index]), abs=1e-5)
        assert item.valid == (item.activation >= feature.statistics.valid_from)
        assert (item.rank, item.label, item.kind) == (feature.rank, feature.label, feature.kind)
        assert item.votes == feature.votes.model_dump()


def test_masks_are_the_features_maps_over_their_maximum(in_process: Installation, request_: ExportRequest) -> None:
    job = run(in_process.queue, request_)
    plain = Plain(in_process)
    for item in list(MaskDataset(folder(in_process.queue, job)))[::40]:
        own = nams(plain.maps[plain.of(item.row.row), item.row.feature_index])
        expected = torch.nn.functional.interpolate(own[None, None], item.mask.shape, mode="bilinear")[0, 0]
        assert np.abs(item.mask - expected.numpy()).max() <= 0.6 / 255


def test_spuriosity_and_rankings_are_what_a_plain_look_says(in_process: Installation, request_: ExportRequest) -> None:
    job = run(in_process.queue, request_.model_copy(update={"ranked": 10}))
    plain = Plain(in_process)
    table = pq.read_table(folder(in_process.queue, job) / "spuriosity.parquet").to_pylist()
    found = {one["row"]: one["spuriosity"] for one in table}
    rankings = Rankings.model_validate_json((folder(in_process.queue, job) / "rankings.json").read_bytes())
    assert len(found) == 260
    for ranking in rankings.classes:
        own = plain.labels == ranking.class_index
        channels = [f.feature_index for f in plain.bank.spurious(ranking.class_index)]
        assert ranking.features == channels
        phi = plain.phi[own][:, channels].astype(np.float64)
        std = phi.std(axis=0)
        scores = np.where(std > 0, (phi - phi.mean(axis=0)) / np.where(std > 0, std, 1), 0).mean(axis=1)
        rows = plain.rows[own]
        assert [found[row] for row in rows] == pytest.approx(scores, abs=1e-3)
        order = sorted(range(len(rows)), key=lambda at: (-found[int(rows[at])], rows[at]))
        assert [one.row for one in ranking.highest] == [rows[at] for at in order[:10]]
        assert {one.row for one in ranking.lowest} == {rows[at] for at in order[-10:]}
        assert ranking.lowest[0].spuriosity <= ranking.lowest[-1].spuriosity < ranking.highest[-1].spuriosity


def test_a_top_share_is_the_strongest_pictures_of_the_class(in_process: Installation, request_: ExportRequest) -> None:
    job = run(in_process.queue, request_.model_copy(update={"validity": "top:0.05"}))
    plain = Plain(in_process)
    shown: dict[tuple[int, int], set[int]] = {}
    for row in MaskDataset(folder(in_process.queue, job)).rows():
        assert row.feature_index is not None
        shown.setdefault((row.class_index, row.feature_index), set()).add(row.row)
    for class_index in (CAT, DOG):
        own = plain.labels == class_index
        for feature in plain.bank.features(class_index):
            phi = plain.phi[own, feature.feature_index]
            alive = np.argsort(-phi, kind="stable")[: int(0.05 * own.sum() + 0.5)]
            expected = {int(row) for row in plain.rows[own][alive[phi[alive] > 0]]}
            assert shown.get((class_index, feature.feature_index), set()) == expected
    record = in_process.queue.get(job)
    assert record.total == 261 + len(set().union(*shown.values())), "the second pass opens chosen pictures alone"


def test_the_cut_by_an_installation_changes_no_byte(
    in_process: Installation, request_: ExportRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = request_.model_copy(update={"validity": "top:0.3", "unions": ["spurious"]})
    first = files(in_process.queue, run(in_process.queue, asked))
    in_process.queue.store.delete("exports")
    in_process.queue.ledger.client.flushall()
    monkeypatch.setenv("CUECHECK_SHARD_PICTURES", "40")
    assert files(in_process.queue, run(JobQueue(Settings()), asked)) == first


def test_finer_shards_hold_the_same_masks(in_process: Installation, request_: ExportRequest) -> None:
    jobs = [run(in_process.queue, request_.model_copy(update={"pictures_per_shard": size})) for size in (1000, 24)]
    members: list[dict[str, bytes]] = []
    for job in jobs:
        found: dict[str, bytes] = {}
        for path in (folder(in_process.queue, job) / "masks").iterdir():
            with zipfile.ZipFile(path) as archive:
                found |= {name: archive.read(name) for name in archive.namelist()}
        members.append(found)
    assert members[0] == members[1]
    assert len(list((folder(in_process.queue, jobs[1]) / "masks").iterdir())) == 11
    tables = [pq.read_table(folder(in_process.queue, job) / "spuriosity.parquet") for job in jobs]
    assert tables[0]["row"] == tables[1]["row"]
    assert np.allclose(tables[0]["spuriosity"], tables[1]["spuriosity"], atol=1e-5)


@pytest.mark.parametrize("validity", ["all", "top:0.2"])
def test_what_is_done_is_not_done_again(in_process: Installation, request_: ExportRequest, validity: str) -> None:
    queue, asked = in_process.queue, request_.model_copy(update={"validity": validity})
    job = run(queue, asked)
    before = files(queue, job)
    queue.ledger.client.flushall()
    lost = next(name for name in sorted(before) if name.startswith("rows/" if validity != "all" else "samples/"))
    for name in ("job.json", "manifest.json", lost):
        queue.store.delete(f"exports/{job}/{name}")
    assert queue.submit(asked).id == job
    assert work(queue) == ["plan", "shard-0" if validity == "all" else "shard-4", "reduce"]
    assert files(queue, job) == before


def test_a_killed_worker_leaves_no_torn_file_and_the_same_bytes(
    installation: Installation, request_: ExportRequest
) -> None:
    asked = request_.model_copy(update={"batch_size": 1})
    undisturbed = files(installation.queue, run(installation.queue, asked))
    installation.queue.store.delete("exports")
    installation.queue.ledger.client.flushall()
    with installation.worker() as victim:
        job = installation.queue.submit(asked).id
        installation.wait_for_mid_shard(job, finished=1)
        victim.kill()
    torn = files(installation.queue, job)
    assert any(name.startswith("masks/") for name in torn)
    assert all(undisturbed[name] == content for name, content in torn.items()), "what is there is whole"
    with installation.worker():
        installation.wait_until(job, JobState.SUCCEEDED)
    assert files(installation.queue, job) == undisturbed


def test_a_cancelled_export_stops_and_is_taken_up_again(
    in_process: Installation, request_: ExportRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = in_process.queue
    job = queue.submit(request_).id
    perform(job, "plan")
    opened: list[int] = []

    def cancelling(data: bytes, max_pixels: int) -> object:
        opened.append(len(data))
        if len(opened) == 10:
            queue.cancel(job)
        return read_picture(data, max_pixels)

    with monkeypatch.context() as patch:
        patch.setattr(export_pictures, "read_picture", cancelling)
        perform(job, "shard-0")
    assert len(opened) <= 16, "within the batch of 8 in which it was cancelled"
    assert queue.get(job).state is JobState.CANCELLED
    assert not (folder(queue, job) / "masks").exists()
    queue.retry(job)
    work(queue)
    assert queue.get(job).state is JobState.SUCCEEDED


def test_a_full_disk_is_said_and_the_export_goes_on_when_there_is_room(
    in_process: Installation, request_: ExportRequest
) -> None:
    queue = in_process.queue
    undisturbed = files(queue, run(queue, request_))
    queue.store.delete("exports")
    queue.ledger.client.flushall()
    job = queue.submit(request_).id
    perform(job, "plan")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        perform(job, "shard-0")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    record = queue.get(job)
    assert record.state is JobState.RUNNING
    assert "No room in the store" in str(record.message)
    assert set(files(queue, job)) == {"plan.json"}
    assert list(Path(queue.store.url.removeprefix("file://"), ".scratch").iterdir()) == []
    perform(job, "shard-0")
    work(queue)
    assert queue.get(job).state is JobState.SUCCEEDED
    assert files(queue, job) == undisturbed


def test_components_are_rows_like_others(in_process: Installation, request_: ExportRequest) -> None:
    tiny = find_bank(in_process.settings, "tiny")
    rows = (component_row(0), component_row(1, label="core", kind="main_object"))
    stated = manifest(name="parts", components=2, features=(*manifest().features, *rows))
    generator = torch.Generator().manual_seed(1)
    directions = Components(torch.randn(2, 24, generator=generator), torch.tensor([0.25, -0.5]))
    path = in_process.settings.banks_dir / "parts"
    write_bank(path, stated, tiny.path / "backbone.safetensors", components=directions)
    asked = request_.model_copy(update={"bank": "parts", "features": [24, 25], "max_pictures": 40})
    job = run(in_process.queue, asked)
    items = list(MaskDataset(folder(in_process.queue, job)))
    assert {(item.row.feature_index, item.row.component, item.row.label) for item in items} == {
        (24, 0, "spurious"),
        (25, 3, "core"),
    }
    plain = Plain(in_process)
    for item in items:
        assert item.row.feature_index is not None
        k = item.row.feature_index - 24
        phi = torch.from_numpy(plain.phi[plain.of(item.row.row)])
        assert item.row.activation == pytest.approx(
            float(phi @ directions.directions[k] - directions.offsets[k]), abs=1e-4
        )
        own = torch.einsum("d,dhw->hw", directions.directions[k], plain.maps[plain.of(item.row.row)])
        expected = torch.nn.functional.interpolate(nams(own)[None, None], item.mask.shape, mode="bilinear")[0, 0]
        assert np.abs(item.mask - expected.numpy()).max() <= 0.6 / 255


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"bank": "nobody"}, "bank", "no bank"),
        ({"dataset": "0" * 64}, "dataset", "no data set"),
        ({"bank": "planted"}, "class_map", "None of the data set's 2 classes"),
        ({"classes": ["unicorn"]}, "classes", "unicorn"),
        ({"classes": ["ant"]}, "classes", "not among them"),
        ({"classes": ["eel"]}, "features", "nothing to write"),
        ({"class_map": {"cat": "unicorn"}}, "class_map", "unicorn"),
        ({"features": [10, 999]}, "features", "no labelled feature 999"),
        ({"features": [0]}, "features", "no labelled feature of those"),
        ({"features": []}, "features", "nothing to write"),
        ({"features": "core", "unions": ["spurious"]}, "unions", "No spurious feature"),
        ({"pictures": True}, "pictures", "no place for pictures"),
    ],
)
def test_what_leaves_nothing_to_write_is_refused_before_it_is_queued(
    in_process: Installation, request_: ExportRequest, changes: dict[str, object], field: str, message: str
) -> None:
    with pytest.raises((NotFound, Invalid), match=message) as refused:
        in_process.queue.submit(request_.model_copy(update=changes))
    assert refused.value.field == field
    assert in_process.queue.page().jobs == []


@pytest.mark.parametrize("text", ["top:0", "top:1.5", "top:", "top:x", "top:nan", "best", "top:-1"])
def test_a_rule_that_is_none_is_no_request(text: str) -> None:
    with pytest.raises(ValueError, match="is none of"):
        ExportRequest(dataset="d", validity=text)


def test_pictures_that_are_not_square_stay_aligned_at_their_own_size(
    in_process: Installation, request_: ExportRequest, tmp_path: Path
) -> None:
    generator = np.random.default_rng(4)
    path = tmp_path / "shapes.zip"
    shapes = {"cat/tall.png": (210, 70), "cat/wide.png": (60, 180), "dog/turned.jpg": (90, 140)}
    with zipfile.ZipFile(path, "w") as target:
        for name, (height, width) in shapes.items():
            stream = io.BytesIO()
            noise = Image.fromarray(generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((width, height))
            if name.endswith("jpg"):
                exif = Image.Exif()
                exif[0x0112] = 6
                noise.save(stream, "JPEG", exif=exif)
            else:
                noise.save(stream, "PNG")
            target.writestr(name, stream.getvalue())
    dataset = import_archive(
        in_process.queue.store, path, ArchiveLimits.from_settings(in_process.settings), "shapes"
    ).id
    asked = {"dataset": dataset, "size": "original", "format": "webdataset", "pictures": True}
    job = run(in_process.queue, request_.model_copy(update=asked))
    bank = find_bank(in_process.settings, "tiny")
    backbone = load_backbone(bank, in_process.settings)
    for item in MaskDataset(folder(in_process.queue, job)):
        height, width = shapes[item.row.sample] if "turned" not in item.row.sample else (140, 90)
        assert item.picture is not None
        assert item.picture.shape[:2] == item.mask.shape == (height, width) == (item.row.height, item.row.width)
        features = backbone.forward(prepare(item.picture, backbone.preprocessing)[None])
        own = nams(features.maps[0, item.row.feature_index])
        source = place(backbone.preprocessing, height, width)
        rows = (np.arange(height) + 0.5) * source.rows.resized / height - source.rows.offset
        columns = (np.arange(width) + 0.5) * source.columns.resized / width - source.columns.offset
        cells = own.shape[0] / backbone.preprocessing.size
        inside = [(seen > 0) & (seen < backbone.preprocessing.size) for seen in (rows, columns)]
        assert (item.mask[~inside[0]] == 0).all()
        assert (item.mask[:, ~inside[1]] == 0).all(), "zero where the backbone saw nothing"
        at_row, at_column = (int(np.flatnonzero(i)[i.sum() // 2]) for i in inside)
        near = own[
            max(0, int(rows[at_row] * cells) - 1) : int(rows[at_row] * cells) + 2,
            max(0, int(columns[at_column] * cells) - 1) : int(columns[at_column] * cells) + 2,
        ]
        assert float(near.min()) - 0.01 <= item.mask[at_row, at_column] <= float(near.max()) + 0.01


def test_rankings_name_their_bank_and_data_set(in_process: Installation, request_: ExportRequest) -> None:
    job = run(in_process.queue, request_.model_copy(update={"max_pictures": 20, "classes": ["cat"]}))
    told = json.loads((folder(in_process.queue, job) / "rankings.json").read_bytes())
    assert told["dataset"] == request_.dataset
    assert told["bank"].startswith("sha256:")
    assert [one["class_name"] for one in told["classes"]] == ["cat"]
    assert manifest_of(in_process.queue, job).skipped["class_not_chosen"] > 0
