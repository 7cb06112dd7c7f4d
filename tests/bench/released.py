"""An audit beside the released way of doing it: how much faster, and how much of that is sharing, how much runtime."""

from __future__ import annotations

import os
import time
from pathlib import Path

import models.torchvision_ops  # noqa: F401  isort: skip  (before torchvision, see there)
import torch
from safetensors.torch import load_file
from torchvision.models import resnet50

from jobs.datasets import read_rows
from jobs.settings import Settings
from models.bank import WEIGHTS
from tests.bench.audits import PICTURES, audit, counting, prepare_audit
from tests.bench.harness import Ratio, paired_ratio
from tests.bench.released_evaluation import Picture, evaluate

ROUNDS = 2


def measure(folder: Path) -> list[Ratio]:
    """The same figures of the same pictures both ways, in turn; ResNet-50 as backbone and as classifier."""
    settings = Settings(
        data_dir=folder / "audits", banks_dir=folder / "banks", threads=os.cpu_count(), classifier_dry_run_seconds=300
    )
    torch.set_num_threads(settings.threads or 1)
    request, store = prepare_audit(folder, settings)
    seconds: dict[str, list[float]] = {"audit": [], "released": []}
    with counting(store, settings, request) as (subjects, forwards):
        bank = subjects.bank
        backbone = resnet50(weights=None, num_classes=len(bank.classes)).eval()
        backbone.load_state_dict(load_file(bank.path / WEIGHTS))
        torch.manual_seed(1)  # as in `tests.bench.subjects.resnet50_classifier`
        classifier = resnet50(weights=None, num_classes=len(bank.classes)).eval()
        pictures = [
            Picture(sample.sample, int(subjects.classes.of_label[sample.label]), sample.content)
            for sample in read_rows(store, request.dataset, range(PICTURES))
            if isinstance(sample.content, bytes)
        ]
        audit(store, subjects, request, settings)
        released_forwards = 0
        for _ in range(ROUNDS):
            forwards.clear()
            start = time.perf_counter()
            audit(store, subjects, request, settings)
            seconds["audit"].append(time.perf_counter() - start)
            start = time.perf_counter()
            outcomes = evaluate(
                pictures,
                bank,
                backbone,
                classifier,
                subjects.preprocessing,
                request.sigma,
                request.seed,
                request.batch_size,
            )
            seconds["released"].append(time.perf_counter() - start)
            released_forwards = sum(3 * outcome.n for outcome in outcomes.values())
    faster = paired_ratio(seconds["released"], seconds["audit"])
    sharing = released_forwards / (PICTURES + sum(forwards))
    return [
        Ratio(
            "audit over the released evaluation",
            faster,
            ">= 4.0",
            {
                "by sharing forwards": round(sharing, 2),
                "by runtime and the rest": round(faster / sharing, 2),
                "forwards": {"audit": PICTURES + sum(forwards), "released": released_forwards},
                "seconds": {name: [round(s, 2) for s in runs] for name, runs in seconds.items()},
                "pictures": PICTURES,
            },
        )
    ]
