"""What the tests upload: small archives, a classifier that is quick and one that takes its time."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from models.classifiers.spec import ClassifierSpec
from models.preprocessing import Preprocessing
from tests import networks
from tests.models.conftest import CLASSES
from tests.service.conftest import encoded, picture

SIDE = 32
WEIGHTS = np.random.default_rng(5).normal(size=(3, len(CLASSES))).astype(np.float32)


def spec(**changes: object) -> ClassifierSpec:
    """What the classifiers here are declared as."""
    fields: dict[str, object] = {"format": "onnx", "classes": CLASSES, "preprocessing": Preprocessing(size=SIDE)}
    return ClassifierSpec.model_validate(fields | changes)


def classifier(path: Path) -> Path:
    """A quick classifier of the tiny bank's classes."""
    return networks.pooled(path, sides=(SIDE, SIDE), weights=WEIGHTS, scores=len(CLASSES))


def slow_classifier(path: Path, trips: int = 30_000) -> Path:
    """The same, with an idle loop in every forward."""
    return networks.endless(path, trips=trips, sides=(SIDE, SIDE), weights=WEIGHTS, scores=len(CLASSES))


@cache
def archive(per_class: int = 4, classes: Sequence[str] = CLASSES, seed: int = 0) -> bytes:
    """A zip with `per_class` pictures of every class, the same bytes for the same arguments."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as members:
        for place, name in enumerate(classes):
            for number in range(per_class):
                pixels = picture(48, 48, seed=1000 * seed + 100 * place + number)
                members.writestr(zipfile.ZipInfo(f"{name}/{number}.png"), encoded(pixels))
    return stream.getvalue()


def upload_dataset(http: httpx.Client, content: bytes) -> str:
    """Id of an archive on the service."""
    answer = http.post("/v1/datasets", files={"file": ("pictures.zip", content)})
    assert answer.status_code in (200, 201), answer.text
    return str(answer.json()["id"])


def upload_classifier(http: httpx.Client, file: Path, declared: ClassifierSpec | None = None) -> httpx.Response:
    """The answer to the upload of a classifier."""
    with file.open("rb") as stream:
        form = {"spec": (declared or spec()).model_dump_json(exclude_none=True)}
        return http.post("/v1/classifiers", files={"file": (file.name, stream)}, data=form)


def ended(http: httpx.Client, job: str, seconds: float = 120) -> dict[str, Any]:
    """The job's record as soon as it is final."""
    deadline = time.monotonic() + seconds
    while (record := http.get(f"/v1/jobs/{job}").json())["state"] in ("queued", "running"):
        assert time.monotonic() < deadline, record
        time.sleep(0.1)
    return dict(record)
