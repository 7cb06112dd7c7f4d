"""Whatever a classifier does, its own job fails with a reason and a remedy, and the parent goes on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import TensorProto
from safetensors.torch import save_file

from jobs.errors import Unavailable
from jobs.isolation import ClassifierFailed, IsolatedClassifier
from jobs.settings import Settings
from models import architectures
from models.classifiers import open_classifier
from models.classifiers.spec import ClassifierSpec
from tests.networks import (
    CLASSES,
    SIDE,
    endless,
    external,
    hungry,
    pictures,
    pooled,
    scores_of,
    spec,
    undefined,
)


@pytest.fixture
def limits(tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path,
        device="cpu",
        threads=1,
        classifier_memory_bytes=2**29,
        classifier_seconds_per_batch=60,
        classifier_dry_run_seconds=60,
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "network"


def test_scores_come_back_for_any_number_of_pictures(file: Path, limits: Settings) -> None:
    with IsolatedClassifier(pooled(file), spec(), limits, batch_size=4) as classifier:
        assert classifier.provider == "CPUExecutionProvider"
        for count in (0, 1, 4, 11):
            scores = classifier.predict(pictures(count))
            assert scores.shape == (count, len(CLASSES))
            assert scores.dtype == np.float32
            np.testing.assert_allclose(scores, scores_of(pictures(count)), atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 8])
def test_a_fixed_batch_gives_the_same(file: Path, limits: Settings, batch_size: int) -> None:
    with IsolatedClassifier(pooled(file, batch=3), spec(), limits, batch_size=batch_size) as classifier:
        assert classifier.fixed_batch == 3
        np.testing.assert_allclose(classifier.predict(pictures(7)), scores_of(pictures(7)), atol=1e-5)


def test_a_torch_network_gives_the_same_as_in_this_process(file: Path, limits: Settings) -> None:
    arguments = {"blocks": [1, 1, 1, 1], "widths": [4, 4, 8, 8]}
    save_file(architectures.build("small_resnet", 3, arguments).state_dict(), file)
    declared = spec(format="safetensors", architecture="small_resnet", arguments=arguments)
    batch = pictures(5)
    with IsolatedClassifier(file, declared, limits, inspect=True) as classifier:
        assert classifier.provider == "torch-cpu"
        found = classifier.predict(batch)
    np.testing.assert_allclose(found, open_classifier(file, declared).forward(batch), atol=1e-5)


def test_an_onnx_file_runs_without_torch(file: Path, limits: Settings) -> None:
    with IsolatedClassifier(pooled(file), spec(), limits, inspect=True) as classifier:
        assert "libtorch" not in Path(f"/proc/{classifier.pid}/maps").read_text()


def _misfit(file: Path) -> Path:
    return pooled(file, scores=7, weights=np.zeros((3, 7), np.float32))


@pytest.mark.parametrize(
    ("make", "reason", "message", "remedy"),
    [
        (endless, "timeout", "longer than 1 s for a batch of 2 pictures", "loop without end"),
        (
            hungry,
            "memory",
            "more memory than the 512 MiB beside its file",
            "CUECHECK_CLASSIFIER_MEMORY_BYTES",
        ),
        (
            undefined,
            "nan",
            "not numbers for 2 of 2 pictures: \\[nan, nan, nan\\] for picture 0",
            "preprocessing",
        ),
        (
            _misfit,
            "refused",
            "gives 7 scores per picture; 3 classes are declared",
            "one class name per output",
        ),
        (lambda file: pooled(file, sides=(32, 32)), "refused", "'n', 3, 32, 32", "size and layout"),
        (
            lambda file: pooled(file, batch=300),
            "refused",
            "300 pictures at once; at most 256",
            "dynamic batch",
        ),
        (
            lambda file: external(file, "../x"),
            "refused",
            "lies in another file \\('../x'\\)",
            "embed the weights",
        ),
        (lambda file: file, "refused", "the file is empty", "upload the whole file"),
    ],
    ids=["endless", "hungry", "nan", "classes", "size", "batch", "external", "empty"],
)
def test_every_failure_has_a_reason_and_a_remedy_and_leaves_no_process(
    file: Path, limits: Settings, make: Callable[[Path], Path], reason: str, message: str, remedy: str
) -> None:
    file.touch()
    if reason == "timeout":
        limits = limits.model_copy(update={"classifier_seconds_per_batch": 1})
    dark = pictures(2) * 0.01
    before = _children()
    started = time.monotonic()
    with (
        pytest.raises(ClassifierFailed, match=message) as failed,
        IsolatedClassifier(make(file), spec(), limits, inspect=True) as classifier,
    ):
        classifier.predict(dark)
    assert failed.value.reason == reason
    assert remedy in (failed.value.remedy or "")
    assert _children() == before
    assert time.monotonic() - started < 50


def test_a_process_killed_from_outside_is_a_crash_and_stays_one(file: Path, limits: Settings) -> None:
    with IsolatedClassifier(pooled(file), spec(), limits) as classifier:
        classifier.predict(pictures(1))
        os.kill(classifier.pid, signal.SIGKILL)
        with pytest.raises(ClassifierFailed, match="ended by SIGKILL, as the kernel does") as failed:
            classifier.predict(pictures(1))
        assert failed.value.reason == "crash"
        with pytest.raises(ClassifierFailed, match="ended by SIGKILL"):
            classifier.predict(pictures(1))


def test_native_code_that_crashes_in_mid_batch_is_a_crash(file: Path, limits: Settings) -> None:
    with IsolatedClassifier(endless(file), spec(), limits) as classifier:
        signal.signal(signal.SIGALRM, lambda *_: os.kill(classifier.pid, signal.SIGSEGV))
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(ClassifierFailed, match="ended by SIGSEGV during a batch of 1 pictures") as failed:
            classifier.predict(pictures(1))
    assert failed.value.reason == "crash"


def test_a_deadline_is_stricter_than_the_settings(file: Path, limits: Settings) -> None:
    deadline = time.monotonic() + 3
    with (
        pytest.raises(ClassifierFailed, match="and was stopped") as failed,
        IsolatedClassifier(endless(file), spec(), limits, deadline=deadline) as classifier,
    ):
        classifier.predict(pictures(1))
    assert failed.value.reason == "timeout"
    assert time.monotonic() < deadline + 30


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA, so nothing can be missing")
@pytest.mark.parametrize("allow_cpu_nodes", [True, False])
def test_cuda_asked_for_and_not_had_is_no_fault_of_the_classifier(
    file: Path, limits: Settings, allow_cpu_nodes: bool
) -> None:
    cuda = limits.model_copy(update={"device": "cuda", "classifier_cpu_nodes": allow_cpu_nodes})
    with pytest.raises(Unavailable, match="'cuda' was asked for"):
        IsolatedClassifier(pooled(file), spec(), cuda)


def test_the_caller_s_own_mistake_is_no_failure_of_the_classifier(file: Path, limits: Settings) -> None:
    with IsolatedClassifier(pooled(file), spec(), limits) as classifier:
        with pytest.raises(ValueError, match=r"\[1, 3, 32, 32\], not \[N, 3, 16, 16\]"):
            classifier.predict(pictures(1, side=32))
        assert classifier.predict(pictures(1)).shape == (1, 3)


def test_a_hundred_thousand_class_names_are_no_obstacle(file: Path, limits: Settings) -> None:
    names = tuple(f"class number {index} of very many" for index in range(100_000))
    declared = spec(classes=names)
    assert isinstance(declared, ClassifierSpec)
    weights = np.zeros((3, len(names)), np.float32)
    with IsolatedClassifier(pooled(file, weights=weights, scores=len(names)), declared, limits) as classifier:
        assert classifier.predict(pictures(2)).shape == (2, len(names))


def test_uint8_networks_get_bytes(file: Path, limits: Settings) -> None:
    declared = spec(preprocessing={"size": SIDE, "scale": "byte"})
    with IsolatedClassifier(pooled(file, dtype=TensorProto.UINT8), declared, limits) as classifier:
        np.testing.assert_allclose(classifier.predict(pictures(2)), scores_of(np.rint(pictures(2) * 255)), rtol=1e-4)


def _children() -> set[str]:
    """Process ids of this process's children, zombies included."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())
