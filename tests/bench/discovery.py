"""Discovery beside the encoder's bare forward, and its memory over many pictures and few."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import torch

from jobs.archives import ArchiveLimits
from jobs.class_statistics import ClassStatistics
from jobs.datasets import import_archive, read_rows
from jobs.discovery_request import DiscoveryRequest
from jobs.discovery_subjects import Subjects, open_subjects
from jobs.look import look
from jobs.phi_sample import thin
from jobs.queue import JobQueue
from jobs.settings import Settings
from jobs.store import Store
from tests.bench.cluster import Memory, ended, redis, workers
from tests.bench.harness import Ratio, interleave, paired_ratio
from tests.bench.subjects import archive, photograph_classes, resnet50_bank

PHOTOGRAPHS, BATCH = 96, 8
FEW, MANY = 5_000, 50_000


def measure(folder: Path) -> list[Ratio]:
    """The first pass over the forwards it makes, for a large encoder and a small one; and peak memory."""
    return [_photographs(folder), *_cifar10(folder)]


def _photographs(folder: Path) -> Ratio:
    settings = Settings(data_dir=folder / "discovery", banks_dir=folder / "banks", threads=os.cpu_count())
    resnet50_bank(settings.banks_dir, photograph_classes())
    store = Store.from_settings(settings)
    request = DiscoveryRequest(
        dataset=_import(store, settings, "imagenet-samples.zip"), encoder="bank:resnet50", batch_size=BATCH
    )
    subjects = open_subjects(store, settings, request)
    seconds = interleave(
        {
            "first pass": lambda: first_pass(subjects, request, PHOTOGRAPHS),
            "forward": lambda: bare_forward(subjects, PHOTOGRAPHS),
        },
        rounds=3,
    )
    return Ratio(
        "first pass of a discovery over its bare forward, ResNet-50 on photographs",
        paired_ratio(seconds["forward"], seconds["first pass"]),
        ">= 0.90",
        {"pictures": PHOTOGRAPHS, "seconds": {name: [round(s, 2) for s in runs] for name, runs in seconds.items()}},
    )


def _cifar10(folder: Path) -> list[Ratio]:
    """By a real worker: 32 px pictures, whose reading and decoding cost as much as a small encoder's forward."""
    peaks: dict[int, int] = {}
    spent: dict[int, float] = {}
    bare = first = 0.0
    for pictures in (FEW, MANY):
        with redis(folder / f"discovery-{pictures}", threads=os.cpu_count() or 1) as settings:
            store = JobQueue(settings).store
            request = DiscoveryRequest(
                dataset=_import(store, settings, "cifar10-train.zip"),
                encoder="bank:cifar10",
                max_pictures=pictures,
                attack_steps=1,
                batch_size=100,
            )
            with workers(settings, 1) as (pid,):
                memory = Memory(pid)
                memory.start()
                spent[pictures] = ended(settings, request)
                peaks[pictures] = memory.stop()
            if pictures == MANY:
                first, bare = _in_process(store, settings, request)
    return [
        Ratio(
            "first pass of a discovery over its bare forward, the cifar10 encoder on 50,000 pictures",
            bare / first,
            ">= 0.90",
            {"seconds": {"first pass": round(first, 1), "forward": round(bare, 1), "whole job": round(spent[MANY], 1)}},
        ),
        Ratio(
            "peak memory of a discovery over 50,000 pictures over one of 5,000",
            peaks[MANY] / peaks[FEW],
            "<= 1.05",
            {"peak_mib": {count: round(peak / 2**20, 1) for count, peak in peaks.items()}},
        ),
    ]


def _in_process(store: Store, settings: Settings, request: DiscoveryRequest) -> tuple[float, float]:
    """Seconds of the first pass over all pictures, and of its bare forwards."""
    subjects = open_subjects(store, settings, request)
    first_pass(subjects, request, FEW)
    start = time.perf_counter()
    first_pass(subjects, request, MANY)
    middle = time.perf_counter()
    bare_forward(subjects, MANY, request.batch_size)
    return middle - start, time.perf_counter() - middle


def first_pass(subjects: Subjects, request: DiscoveryRequest, pictures: int) -> ClassStatistics:
    """What a shard does with its pictures, from the archive to the statistics."""
    samples = read_rows(subjects.store, subjects.dataset, range(pictures))
    seen = look(
        samples,
        subjects.backbone,
        subjects.of_label,
        request.grouping,
        request.batch_size,
        subjects.settings.max_pixels,
        None,
        lambda done: None,
    )
    thin(seen.sample, request.seed, subjects.class_sizes)
    return ClassStatistics.of(seen, request.exemplars, subjects.ran_on())


def bare_forward(subjects: Subjects, pictures: int, batch: int = BATCH) -> None:
    """As many forwards of the encoder, nothing else."""
    side = subjects.backbone.preprocessing.size
    pixels = torch.zeros(batch, 3, side, side, dtype=torch.uint8)
    for _ in range(pictures // batch):
        subjects.backbone.forward(pixels)


def _import(store: Store, settings: Settings, name: str) -> str:
    with store.scratch_file() as copy:
        shutil.copyfile(archive(name), copy)
        return import_archive(store, copy, ArchiveLimits.from_settings(settings), name).id
