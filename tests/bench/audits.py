"""An audit beside the bare forwards it needs, and beside the released evaluation's way of doing it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from onnxruntime import InferenceSession

from jobs.archives import ArchiveLimits
from jobs.audit import audit_shard
from jobs.audit_request import AuditRequest
from jobs.audit_subjects import Subjects
from jobs.classifiers import import_classifier
from jobs.datasets import import_archive, read_rows
from jobs.settings import Settings
from jobs.store import Store
from jobs.subjects import open_subjects
from models.runtime import open_session
from tests.bench.harness import Ratio, paired_ratio
from tests.bench.subjects import (
    IMAGENET,
    archive,
    photograph_classes,
    resnet50_bank,
    resnet50_classifier,
)

PICTURES = 16
ROUNDS = 3


def measure(folder: Path) -> list[Ratio]:
    """Pictures per second of the audit over its forwards, ResNet-50 as backbone and as classifier."""
    settings = Settings(
        data_dir=folder / "audits", banks_dir=folder / "banks", threads=os.cpu_count(), classifier_dry_run_seconds=300
    )
    request, store = prepare_audit(folder, settings)
    bare = open_session(folder / "classifier.onnx", threads=settings.threads)
    seconds: dict[str, list[float]] = {"audit": [], "forwards": []}
    with counting(store, settings, request) as (subjects, forwards):
        audit(store, subjects, request, settings)
        for _ in range(ROUNDS):
            forwards.clear()
            start = time.perf_counter()
            audit(store, subjects, request, settings)
            seconds["audit"].append(time.perf_counter() - start)
            seconds["forwards"].append(_bare_seconds(subjects, bare, sum(forwards)))
    return [
        Ratio(
            "audit over the bare forwards it needs",
            paired_ratio(seconds["forwards"], seconds["audit"]),
            ">= 0.85",
            {
                "seconds": {name: [round(s, 2) for s in runs] for name, runs in seconds.items()},
                "pictures": PICTURES,
                "classifier_forwards_per_picture": sum(forwards) / PICTURES,
            },
        )
    ]


def prepare_audit(folder: Path, settings: Settings) -> tuple[AuditRequest, Store]:
    """The photographs and the ResNet-50s in a store of their own."""
    store = Store.from_settings(settings)
    classes = photograph_classes()
    bank = resnet50_bank(settings.banks_dir, classes)
    file, spec = resnet50_classifier(folder, classes)
    with store.scratch_file() as copy:
        shutil.copyfile(file, copy)
        classifier = import_classifier(store, copy, spec, settings)
    with store.scratch_file() as copy:
        shutil.copyfile(archive("imagenet-samples.zip"), copy)
        dataset = import_archive(store, copy, ArchiveLimits.from_settings(settings), "photographs")
    return (
        AuditRequest(classifier=classifier.id, dataset=dataset.id, bank=bank.name, max_pictures=PICTURES, batch_size=8),
        store,
    )


@contextmanager
def counting(store: Store, settings: Settings, request: AuditRequest) -> Iterator[tuple[Subjects, list[int]]]:
    """The subjects, and a list that every classifier forward adds its pictures to."""
    forwards: list[int] = []
    with open_subjects(store, settings, request) as subjects:

        def predict(batch: np.ndarray) -> np.ndarray:
            forwards.append(len(batch))
            return subjects.predict(batch)

        yield replace(subjects, predict=predict), forwards


def audit(store: Store, subjects: Subjects, request: AuditRequest, settings: Settings) -> None:
    """One shard of the first pictures, as a worker runs it."""
    audit_shard(
        read_rows(store, request.dataset, range(PICTURES)), subjects, request, settings.max_pixels, lambda done: None
    )


def _bare_seconds(subjects: Subjects, classifier: InferenceSession, forwards: int) -> float:
    """Seconds of as many backbone and classifier forwards, nothing else, in batches of the same size."""
    side = IMAGENET.size
    pixels = torch.zeros(8, 3, side, side, dtype=torch.uint8)
    values = np.zeros((8, 3, side, side), np.float32)
    start = time.perf_counter()
    for _ in range(PICTURES // 8):
        subjects.backbone.forward(pixels)
    backbone = time.perf_counter() - start
    start = time.perf_counter()
    whole = forwards // 8
    for _ in range(whole):
        classifier.run(None, {"images": values})
    return backbone + (time.perf_counter() - start) * forwards / (8 * whole)
