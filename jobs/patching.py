"""Changing the file of an uploaded classifier: its bytes are parsed in a process of their own, not here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path

import numpy as np

from jobs.isolated_patch import Method, Order
from jobs.isolated_worker import LONGEST_MESSAGE, Refusal
from jobs.isolation import FILE_COPIES, ClassifierFailed, environment
from jobs.settings import Settings
from jobs.shared_batch import sealed
from models.classifiers.spec import ClassifierSpec

ROOM = 2**20
"""Bytes that a changed file may be longer than the old one and what it was changed by."""

GRAPH_ROOM, WIDENED = 2**26, 4
"""An exported network may be so many bytes longer, and every byte of its weights become so many: float32 of them."""

EXPORT_PATIENCE = 10
"""Tracing a deep network takes so many times as long as opening a classifier may."""


@dataclass(frozen=True)
class Patch:
    """How a classifier is changed.

    Attributes:
        method: "spufix" or "head-refit".
        arrays: spufix: `weight` float [L, D] and `offset` float [L] of `models.spufix.Evidence`, and `outputs` int [L],
            the score that each piece is taken off; head-refit: `weight` float32 [C, D] and `bias` float32 [C].
        notes: what the file says about it.
    """

    method: Method
    arrays: Mapping[str, np.ndarray]
    notes: Mapping[str, str]


def patch_file(file: Path, spec: ClassifierSpec, patch: Patch, target: Path, settings: Settings) -> None:
    """Write the changed file to `target`.

    Args:
        file: of the classifier, on this machine.
        spec: what its owner declares.
        patch: what is changed.
        target: is overwritten.
        settings: the limits of the process.

    Raises:
        ClassifierFailed: it cannot be changed so, with the reason.
    """
    exports = patch.method == "spufix" and spec.format == "safetensors"
    size = WIDENED * file.stat().st_size + GRAPH_ROOM if exports else file.stat().st_size
    seconds = settings.classifier_dry_run_seconds * (EXPORT_PATIENCE if exports else 1)
    room = size + 2 * sum(values.nbytes for values in patch.arrays.values()) + ROOM
    with (
        _memory("cuecheck-arrays") as arrays,
        _memory("cuecheck-order") as stdin,
        _memory("cuecheck-answer") as stdout,
        sealed("cuecheck-patched", room) as result,
    ):
        np.savez(arrays, **patch.arrays)  # type: ignore[arg-type]  # NumPy's stub takes no mapping of arrays
        arrays.seek(0)
        order = Order(
            file=str(file.absolute()),
            spec=spec.model_dump_json(),
            method=patch.method,
            notes=dict(patch.notes),
            arrays=arrays.fileno(),
            result=result.fileno(),
            memory_bytes=settings.classifier_memory_bytes + 2 * FILE_COPIES * room,
            seconds=seconds,
            parent=os.getpid(),
        )
        stdin.write(json.dumps(asdict(order)).encode())
        stdin.seek(0)
        _run(order, stdin, stdout, seconds)
        answer = json.loads(os.pread(stdout.fileno(), LONGEST_MESSAGE, 0) or b"{}")
        if "refusal" in answer:
            refused = Refusal(**answer["refusal"])
            message = f"The classifier cannot be changed: {refused.message}"
            raise ClassifierFailed("refused", message, field=refused.field, remedy=refused.remedy)
        length = answer.get("bytes")
        if not isinstance(length, int) or not 0 < length <= room:
            raise ClassifierFailed("crash", "The process that changes the classifier died.", field="classifier")
        result.seek(0)
        with target.open("wb") as out:
            out.write(result.read(length))


def _run(order: Order, stdin: FileIO, stdout: FileIO, seconds: float) -> None:
    try:
        subprocess.run(
            [sys.executable, "-P", "-s", "-B", "-m", "jobs.isolated_patch"],
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.DEVNULL,
            env=environment(1),
            cwd="/",
            pass_fds=(order.arrays, order.result),
            start_new_session=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ClassifierFailed(
            "timeout",
            f"Changing the classifier took longer than {seconds:.3g} s.",
            remedy="raise CUECHECK_CLASSIFIER_DRY_RUN_SECONDS",
        ) from error


def _memory(name: str) -> FileIO:
    return FileIO(os.memfd_create(name, os.MFD_CLOEXEC), "r+")
