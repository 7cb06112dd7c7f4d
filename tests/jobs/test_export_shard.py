"""What a shard of an export writes, in a world small enough to know every mask."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jobs.datasets import Sample, Skipped
from jobs.errors import Cancelled
from jobs.export_request import ExportRequest
from jobs.export_shard import Source, Written, export_all
from jobs.export_subjects import Choice
from jobs.mask_files import FILE_FORMATS
from models.bank import Bank
from tests.jobs import world
from tests.jobs.world import BLUE, GREEN, GREY, RED

REQUEST = ExportRequest(dataset="d", bank="world", size="original", batch_size=4)
TALL, WIDE = (160, 96), (96, 150)


def scene(height: int, width: int, **squares: tuple[tuple[int, int, int], tuple[int, int]]) -> np.ndarray:
    """uint8 [H, W, 3]: squares of 32 pixels on grey, each of a colour and at a place."""
    pixels = np.full((height, width, 3), GREY, dtype=np.uint8)
    for colour, (row, column) in squares.values():
        pixels[row : row + 32, column : column + 32] = colour
    return pixels


def choice(bank: Bank | None = None) -> Choice:
    labels = bank or world.bank()
    features = {index: labels.features(index) for index in labels.labelled_classes}
    return Choice(labels, ["hen", "owl"], np.array([0, 1], dtype=np.int32), {}, frozenset(range(3)), features)


def source(
    samples: Iterable[Sample], threads: ThreadPoolExecutor, of: Choice | None = None, **changes: object
) -> Source:
    fields = {
        "samples": samples,
        "choice": of or choice(),
        "backbone": world.backbone(),
        "usual": ".png",
        "max_pixels": 10**6,
        "threads": threads,
        "progress": lambda done: None,
    }
    return Source(**(fields | changes))  # type: ignore[arg-type]


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def exported(made: Source, request: ExportRequest, path: Path) -> tuple[Written, dict[str, np.ndarray]]:
    """What a shard left, and its masks by name, uint8 [H, W]."""
    with FILE_FORMATS[request.format].open(path, request.threshold) as file:
        written = export_all(made, request, file, path.name)
    with zipfile.ZipFile(path) as archive:
        masks = {name: np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in archive.namelist()}
    return written, masks


def overlap(mask: np.ndarray, at: tuple[int, int]) -> float:
    """Intersection over union of a mask's stronger half and a square of 32 pixels."""
    truth = np.zeros(mask.shape, dtype=bool)
    truth[at[0] : at[0] + 32, at[1] : at[1] + 32] = True
    shown = mask >= 128
    return float((truth & shown).sum() / (truth | shown).sum())


@pytest.mark.parametrize(("shape", "red", "green"), [(TALL, (40, 8), (90, 60)), (WIDE, (8, 40), (60, 90))])
def test_masks_lie_on_pictures_that_are_not_square(
    shape: tuple[int, int],
    red: tuple[int, int],
    green: tuple[int, int],
    threads: ThreadPoolExecutor,
    tmp_path: Path,
) -> None:
    pixels = scene(*shape, a=(RED, red), b=(GREEN, green))
    samples = [Sample(5, "hen/5.png", 0, world.png(pixels))]
    written, masks = exported(source(samples, threads), REQUEST, tmp_path / "m.zip")
    assert sorted(masks) == ["hen/feature_0/5.png", "hen/feature_1/5.png"]
    for name, at in (("hen/feature_0/5.png", red), ("hen/feature_1/5.png", green)):
        assert masks[name].shape == shape
        assert masks[name].dtype == np.uint8
        assert overlap(masks[name], at) > 0.75
    assert {(row.height, row.width) for row in written.masks} == {shape}


def test_on_the_networks_input_all_masks_are_its_size(threads: ThreadPoolExecutor, tmp_path: Path) -> None:
    samples = [
        Sample(i, f"hen/{i}.png", 0, world.png(scene(*s, a=(RED, (40, 40))))) for i, s in enumerate([TALL, WIDE])
    ]
    request = REQUEST.model_copy(update={"size": "input", "validity": "all"})
    written, masks = exported(source(samples, threads), request, tmp_path / "m.zip")
    assert len(masks) == 4
    assert {mask.shape for mask in masks.values()} == {(world.SIDE, world.SIDE)}
    assert masks["hen/feature_1/0.png"].max() == 0, (
        "a silent feature has an empty mask, not one of noughts over noughts"
    )
    assert [row.activation for row in written.masks if row.feature_index == 1] == [0.0, 0.0]


def test_only_valid_masks_are_written_unless_all_are_asked_for(threads: ThreadPoolExecutor, tmp_path: Path) -> None:
    bank = world.bank(world.feature(0, 0, 1, "core"), world.feature(0, 1, 2, "spurious", valid_from=0.9))
    samples = [Sample(0, "hen/0.png", 0, world.png(scene(96, 96, a=(RED, (0, 0)), b=(GREEN, (50, 50)))))]
    written, masks = exported(source(samples, threads, choice(bank)), REQUEST, tmp_path / "valid.zip")
    assert list(masks) == ["hen/feature_0/0.png"]
    assert [row.valid for row in written.masks] == [True]
    (sample,) = written.samples
    assert len(sample["of_class"]) == 2, "activations are written of all labelled features"
    every = REQUEST.model_copy(update={"validity": "all"})
    written, masks = exported(source(samples, threads, choice(bank)), every, tmp_path / "all.zip")
    assert [(row.feature_index, row.valid) for row in written.masks] == [(0, True), (1, False)]


def test_a_union_is_the_maximum_of_what_is_written(threads: ThreadPoolExecutor, tmp_path: Path) -> None:
    bank = world.bank(
        world.feature(0, 0, 1, "core"), world.feature(0, 2, 2, "core"), world.feature(0, 1, 3, "spurious")
    )
    pixels = scene(96, 96, a=(RED, (0, 0)), b=(BLUE, (50, 50)))
    request = REQUEST.model_copy(update={"unions": ["core", "spurious"]})
    made = source([Sample(0, "hen/0.png", 0, world.png(pixels))], threads, choice(bank))
    written, masks = exported(made, request, tmp_path / "m.zip")
    assert sorted(masks) == ["hen/core/0.png", "hen/feature_0/0.png", "hen/feature_2/0.png"]
    parts = np.maximum(masks["hen/feature_0/0.png"], masks["hen/feature_2/0.png"])
    assert np.array_equal(masks["hen/core/0.png"], parts)
    union = written.masks[-1]
    assert (union.feature_index, union.label, union.activation, union.votes) == (None, "core", None, None)


def test_the_predicted_class_decides_where_asked_for(threads: ThreadPoolExecutor, tmp_path: Path) -> None:
    pixels = world.png(scene(96, 96, a=(BLUE, (10, 10))))
    samples = [Sample(0, "hen/0.png", 0, pixels), Sample(1, "owl/0.png", 1, pixels)]
    request = REQUEST.model_copy(update={"class_of": "predicted"})
    written, masks = exported(source(samples, threads), request, tmp_path / "m.zip")
    assert sorted(masks) == ["owl/feature_2/hen/0.png", "owl/feature_2/owl/0.png"], "no two are called alike"
    assert [(s["label_index"], s["predicted_index"], s["class_index"]) for s in written.samples] == [
        (0, 1, 1),
        (1, 1, 1),
    ]
    assert [len(s["of_label"]) for s in written.samples] == [2, 1]


def test_what_cannot_be_read_is_left_out_with_its_reason(threads: ThreadPoolExecutor, tmp_path: Path) -> None:
    good = world.png(scene(96, 96, a=(RED, (0, 0))))
    samples = [
        Sample(0, "hen/0.png", 0, b""),
        Sample(1, "hen/1.png", 0, b"no picture"),
        Sample(2, "hen/2.png", 0, good[:200]),
        Sample(3, "hen/3.png", 0, Skipped("damaged", "checksum")),
        Sample(4, "hen/4.png", 0, world.png(np.zeros((2000, 2000, 3), np.uint8))),
        Sample(5, "hen/5.png", 0, good),
    ]
    written, masks = exported(source(samples, threads), REQUEST, tmp_path / "m.zip")
    assert list(masks) == ["hen/feature_0/5.png"]
    reasons = {s["row"]: s.get("reason") for s in written.samples}
    assert {reasons[row] for row in range(5)} == {"empty", "not_a_picture", "truncated", "damaged", "too_large"}
    assert reasons[5] is None


def test_a_cancelled_shard_stops_within_a_batch(threads: ThreadPoolExecutor, tmp_path: Path) -> None:
    asked: list[int] = []

    def progress(done: int) -> None:
        if done >= 8:
            raise Cancelled("stop")

    made = source(world.counted(world.samples(40, 0), asked), threads, progress=progress)
    with pytest.raises(Cancelled):
        exported(made, REQUEST, tmp_path / "m.zip")
    assert len(asked) == 8


@pytest.mark.parametrize("form", ["png", "webdataset", "rle"])
def test_the_same_masks_are_the_same_bytes(form: str, threads: ThreadPoolExecutor, tmp_path: Path) -> None:
    request = REQUEST.model_copy(update={"format": form, "unions": ["core"], "pictures": form == "webdataset"})
    files = [tmp_path / "first", tmp_path / "second"]
    for path in files:
        with FILE_FORMATS[request.format].open(path, 0.5) as file:
            export_all(source(world.samples(6, 6), threads), request, file, "m")
    assert files[0].read_bytes() == files[1].read_bytes() != b""
