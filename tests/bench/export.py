"""Writing masks beside making them, and the memory of an export over many pictures and few."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path, PurePosixPath

import torch

from jobs.archives import ArchiveLimits
from jobs.datasets import import_archive, read_rows
from jobs.encodings import soft_levels
from jobs.export_request import ExportRequest
from jobs.export_shard import Source, export_all
from jobs.export_subjects import choose
from jobs.mask_files import FILE_FORMATS
from jobs.mask_rows import mask_table, sample_table, to_parquet
from jobs.pictures import decode
from jobs.queue import JobQueue
from jobs.settings import Settings
from jobs.store import Store
from jobs.subjects import load_backbone
from models.geometry import carry, place, prepare
from models.masks import nams
from tests.bench.cluster import Memory, ended, redis, workers
from tests.bench.harness import Ratio, interleave, paired_ratio
from tests.bench.subjects import archive, photograph_classes, resnet50_bank

PHOTOGRAPHS, BATCH, FEATURES = 48, 8, 5
FEW, MANY = 5_000, 50_000


def measure(folder: Path) -> list[Ratio]:
    """Masks per second as an export writes them over masks per second in process; and peak memory."""
    return [_photographs(folder), _memory(folder)]


def _photographs(folder: Path) -> Ratio:
    settings = Settings(data_dir=folder / "export", banks_dir=folder / "banks", threads=os.cpu_count())
    resnet50_bank(settings.banks_dir, photograph_classes())
    store = Store.from_settings(settings)
    request = ExportRequest(
        dataset=_import(store, settings, "imagenet-samples.zip"), bank="resnet50", validity="all", batch_size=BATCH
    )
    with ThreadPoolExecutor(settings.threads) as threads:
        first = next(iter(read_rows(store, request.dataset, [0])))
        choice = choose(store, settings, request)
        source = Source(
            samples=(),
            choice=choice,
            backbone=load_backbone(choice.bank, settings),
            usual=PurePosixPath(first.sample).suffix,
            max_pixels=settings.max_pixels,
            threads=threads,
            progress=lambda done: None,
        )
        seconds = interleave(
            {
                "export": lambda: _export(store, source, request),
                "in process": _in_process(store, source, request),
            },
            rounds=3,
        )
    masks = PHOTOGRAPHS * FEATURES
    rates = {name: round(masks / sorted(runs)[len(runs) // 2], 1) for name, runs in seconds.items()}
    return Ratio(
        "masks written per second by an export over masks per second in process, ResNet-50 on photographs",
        paired_ratio(seconds["in process"], seconds["export"]),
        ">= 0.80",
        {"masks": masks, "masks_per_second": rates},
    )


def _export(store: Store, source: Source, request: ExportRequest) -> None:
    """What a shard does with its pictures, from the archive to files."""
    samples = read_rows(store, request.dataset, range(PHOTOGRAPHS))
    with tempfile.NamedTemporaryFile() as file:
        path = Path(file.name)
        with FILE_FORMATS[request.format].open(path, request.threshold) as masks:
            written = export_all(replace(source, samples=samples), request, masks, "masks")
        to_parquet(mask_table(written.masks))
        to_parquet(sample_table(written.samples, ""))
        if len(written.masks) != PHOTOGRAPHS * FEATURES:
            raise RuntimeError(f"{len(written.masks)} masks were written")


def _in_process(store: Store, source: Source, request: ExportRequest) -> Callable[[], None]:
    """The same masks as 8-bit levels, of pictures that are decoded and prepared already: forwards and masks alone."""
    preprocessing = source.backbone.preprocessing
    batches = []
    samples = list(read_rows(store, request.dataset, range(PHOTOGRAPHS)))
    for start in range(0, PHOTOGRAPHS, BATCH):
        pictures = [(s, decode(s.content)) for s in samples[start : start + BATCH] if isinstance(s.content, bytes)]
        pixels = torch.stack([prepare(picture, preprocessing) for _, picture in pictures])
        features = [source.choice.features[int(source.choice.of_label[s.label])] for s, _ in pictures]
        channels = torch.tensor([[feature.feature_index for feature in own] for own in features])
        batches.append((pixels, channels, [place(preprocessing, *picture.shape[:2]) for _, picture in pictures]))

    def run() -> None:
        for pixels, channels, placements in batches:
            found = source.backbone.forward(pixels)
            with torch.inference_mode():
                own = nams(found.maps[torch.arange(len(pixels))[:, None], channels])
                soft_levels(carry(own, placements, placements))

    return run


def _memory(folder: Path) -> Ratio:
    peaks: dict[int, int] = {}
    seconds: dict[int, float] = {}
    for pictures in (FEW, MANY):
        with redis(folder / f"export-{pictures}", threads=os.cpu_count() or 1) as settings:
            store = JobQueue(settings).store
            dataset = _import(store, settings, "cifar10-train.zip")
            request = ExportRequest(dataset=dataset, bank="cifar10", max_pictures=pictures, batch_size=100)
            with workers(settings, 1) as (pid,):
                memory = Memory(pid)
                memory.start()
                seconds[pictures] = ended(settings, request)
                peaks[pictures] = memory.stop()
    return Ratio(
        "peak memory of an export of 50,000 pictures over one of 5,000",
        peaks[MANY] / peaks[FEW],
        "<= 1.05",
        {
            "peak_mib": {count: round(peak / 2**20, 1) for count, peak in peaks.items()},
            "seconds": {count: round(spent, 1) for count, spent in seconds.items()},
        },
    )


def _import(store: Store, settings: Settings, name: str) -> str:
    with store.scratch_file() as copy:
        shutil.copyfile(archive(name), copy)
        return import_archive(store, copy, ArchiveLimits.from_settings(settings), name).id
