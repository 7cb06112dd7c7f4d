"""Uploaded classifiers run here, in a process of their own, so that what they do harms nobody else.

The parent never parses the file, unpickles nothing, and takes from the process only short messages and numbers.
Pixels and scores go through anonymous shared memory whose size is sealed: the process cannot shrink it under the
parent's feet. Nothing is written to disk, so nothing is left behind when either side is killed.

What this is not: a boundary against foreign code. It is meant for formats that hold none.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import nullcontext, suppress
from dataclasses import asdict
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NoReturn, Self

import numpy as np

from jobs.errors import Invalid, Unavailable
from jobs.isolated_worker import EXHAUSTED, LONGEST_MESSAGE, Launch, Opened, Refusal, Task
from jobs.settings import Settings
from jobs.shared_batch import MOST_PICTURES, SharedBatch, SharedFeatures, create, create_features
from models.classifiers.linear_head import MOST_FEATURES, REMEDY, HeadError, LinearHead
from models.classifiers.spec import ClassifierSpec

Reason = Literal["refused", "memory", "timeout", "crash", "nan", "error"]

FILE_COPIES = 3
"""A runtime reads, parses and rearranges the weights: so many times the file is allowed beside the setting."""

SECONDS_TO_LEAVE = 1.0
"""How long a process that closed its socket may take to end."""

NOWHERE = "/dev/null"
"""Home and scratch folder of the process: it has nothing to write, and here not even root can make a folder."""

KEPT_VARIABLES = (
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES",
)
"""What the process keeps of the parent's environment: where CUDA and its devices are."""

COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class ClassifierFailed(Invalid):
    """An uploaded classifier cannot be run, or failed while it ran; its process is gone.

    Attributes:
        reason: "refused" (file and declaration do not fit, or the file must not be run), "memory", "timeout",
            "crash" (the process died), "nan" (scores that are no numbers) or "error" (the runtime gave up).
    """

    def __init__(self, reason: Reason, message: str, *, field: str | None = None, remedy: str | None = None) -> None:
        super().__init__(message, field=field, remedy=remedy)
        self.reason = reason


class IsolatedClassifier:
    """A classifier opened in a process of its own. A context manager: the process ends with it.

    The process also ends with the thread that opened it, so open and use it in the same thread.

    Attributes:
        provider: what really runs it, e.g. "CPUExecutionProvider" or "torch-cuda".
        fixed_batch: the only number of pictures the network takes at once, or None for any.
        network_isolated: whether the kernel let the process give up the network.
        pid: of the process.
        head: the classifier's last linear layer, where its features were asked for and it has one.
        headless: why it has none, where they were asked for.
        spufix: whether something is taken off the scores behind that layer.
    """

    def __init__(
        self,
        file: Path,
        spec: ClassifierSpec,
        settings: Settings,
        *,
        batch_size: int | None = None,
        inspect: bool = False,
        deadline: float | None = None,
        features: bool = False,
    ) -> None:
        """Start the process and wait until it has opened the file.

        Args:
            file: the classifier's file on this machine.
            spec: what its owner declares.
            settings: device, threads and the limits of the process.
            batch_size: pictures per forward, 1..256; the setting of that name where None.
            inspect: parse the file first, as has to be done once for a file of unknown origin.
            deadline: on `time.monotonic()`, stricter than the limits of the settings where given.
            features: find its last linear layer, and let it `look`.

        Raises:
            ClassifierFailed: the file is refused, or opening it took too long, too much memory, or the process.
            Unavailable: the device asked for is not to be had on this machine.
        """
        self._classes, self._side = len(spec.classes), spec.preprocessing.size
        self._settings, self._deadline = settings, deadline
        self._failure: ClassifierFailed | None = None
        self._doing = "opening it"
        self._errors = FileIO(os.memfd_create("cuecheck-errors", os.MFD_CLOEXEC), "r+")
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with (
            theirs,
            create(self._side, self._classes) as memory,
            create_features(self._classes) if features else nullcontext() as room,
        ):
            self._shared = SharedBatch(memory.fileno(), self._side, self._classes)
            launch = Launch(
                file=str(file.absolute()),
                spec=spec.model_dump_json(),
                device=settings.device,
                threads=settings.threads or len(os.sched_getaffinity(0)),
                allow_cpu_nodes=settings.classifier_cpu_nodes,
                inspect=inspect,
                memory_bytes=settings.classifier_memory_bytes + FILE_COPIES * file.stat().st_size,
                seconds_to_open=settings.classifier_dry_run_seconds,
                seconds_per_batch=settings.classifier_seconds_per_batch,
                parent=os.getpid(),
                channel=theirs.fileno(),
                memory=memory.fileno(),
                features=None if room is None else room.fileno(),
            )
            self._process = _start(launch, self._errors)
            theirs.close()
            try:
                opened = Opened(**self._receive(settings.classifier_dry_run_seconds)["opened"])
                self._see_head(opened, room)
            except BaseException:
                self.close()
                raise
        self.pid = self._process.pid
        self.provider, self.network_isolated = opened.provider, opened.network_isolated
        self.fixed_batch, self.spufix = opened.fixed_batch, opened.spufix
        whole = self.fixed_batch or 1
        self._batch = max(1, min(batch_size or settings.batch_size, MOST_PICTURES) // whole) * whole

    def predict(self, batch: np.ndarray) -> np.ndarray:
        """Scores of pictures, waited for.

        Args:
            batch: float32 [N, 3, s, s] in [0, 1], RGB, before `mean` and `std`; s is the declared size.

        Returns:
            float32 [N, C], the network's raw outputs; the largest of each row is finite.

        Raises:
            ClassifierFailed: now, or at an earlier call: a classifier that failed stays failed.
        """
        if batch.shape[1:] != (3, self._side, self._side):
            raise ValueError(f"pictures of shape {list(batch.shape)}, not [N, 3, {self._side}, {self._side}]")
        scores = np.empty((len(batch), self._classes), np.float32)
        most = max(1, MOST_PICTURES // self._batch) * self._batch
        for start in range(0, len(batch), most):
            part = batch[start : start + most]
            scores[start : start + len(part)] = self._forward(part)
        return scores

    def look(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores of pictures and the features they come from; only where there is a `head`.

        Args:
            batch: as for `predict`.

        Returns:
            float32 [N, C] as `predict` gives, and float32 [N, D], finite.

        Raises:
            ClassifierFailed: as `predict`, or features that are no numbers, or that do not give these scores.
        """
        assert self._shown is not None
        scores = np.empty((len(batch), self._classes), np.float32)
        features = np.empty((len(batch), self._shown.features.shape[1]), np.float32)
        most = max(1, MOST_PICTURES // self._batch) * self._batch
        for start in range(0, len(batch), most):
            part = slice(start, min(start + most, len(batch)))
            scores[part] = self._forward(batch[part], features=True)
            features[part] = self._shown.features[: part.stop - start]
        if not np.isfinite(features).all():
            self._fail("nan", "features are not numbers", remedy="run the file on a plain picture with onnxruntime")
        return scores, features

    def close(self) -> None:
        """End the process and all it may have started. Harmless when repeated."""
        self._stop()
        self._channel.close()
        self._errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _see_head(self, opened: Opened, room: FileIO | None) -> None:
        """Take over what the process says of the classifier's last linear layer."""
        self.head: LinearHead | None = None
        self.headless: HeadError | None = None
        self._shown: SharedFeatures | None = None
        if opened.headless is not None:
            self.headless = HeadError(opened.headless, opened.remedy or REMEDY)
        elif room is not None and 0 < opened.width <= MOST_FEATURES:
            self._shown = SharedFeatures(room.fileno(), opened.width, self._classes)
            self.head = LinearHead(self._shown.weight.copy(), self._shown.bias.copy())

    def _forward(self, part: np.ndarray, features: bool = False) -> np.ndarray:
        if self._failure is not None:
            raise self._failure
        self._shared.pictures[: len(part)] = part
        with suppress(BrokenPipeError, ConnectionResetError):  # receiving says why
            self._channel.send(json.dumps(asdict(Task(len(part), self._batch, features))).encode())
        for start in range(0, len(part), self._batch):
            self._doing = f"a batch of {min(self._batch, len(part) - start)} pictures"
            self._receive(self._settings.classifier_seconds_per_batch)
        scores = self._shared.scores[: len(part)].copy()
        broken = np.flatnonzero(~np.isfinite(scores.max(axis=1)))
        if len(broken):
            self._fail(
                "nan",
                f"scores are not numbers for {len(broken)} of {len(part)} pictures: "
                f"{scores[broken[0]][:5].tolist()} for picture {broken[0]}",
                remedy="check the declared preprocessing, and run the file on a plain picture with onnxruntime",
            )
        return scores

    def _receive(self, seconds: float) -> dict[str, Any]:
        """The process's answer, waited for `seconds`; fails unless it is what was asked for."""
        if self._deadline is not None:
            seconds = max(0.0, min(seconds, self._deadline - time.monotonic()))
        poll = select.poll()  # select.select refuses descriptors from 1024 on
        poll.register(self._channel, select.POLLIN)
        if not poll.poll(seconds * 1000):
            self._fail_slow(seconds)
        try:
            data = self._channel.recv(LONGEST_MESSAGE)
        except ConnectionResetError:
            data = b""
        if not data:
            self._fail_dead()
        answer: dict[str, Any] = json.loads(data)
        if "refusal" in answer:
            self._fail_refused(Refusal(**answer["refusal"]))
        return answer

    def _fail_refused(self, refusal: Refusal) -> NoReturn:
        if refusal.reason == "device":
            self._stop()
            raise Unavailable(refusal.message, remedy=refusal.remedy)
        if refusal.reason == "memory":
            self._fail_hungry(refusal.message)
        self._fail(
            "refused" if refusal.reason == "refused" else "error",
            refusal.message,
            field=refusal.field,
            remedy=refusal.remedy,
        )

    def _fail_dead(self) -> NoReturn:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(SECONDS_TO_LEAVE)
        code = self._stop()
        words = _last_words(self._errors)
        if code == -signal.SIGXCPU:
            self._fail_slow(self._settings.classifier_seconds_per_batch)
        if any(phrase in words for phrase in EXHAUSTED):
            self._fail_hungry(words)
        cause = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        hint = ", as the kernel does when memory runs out" if code == -signal.SIGKILL else ""
        self._fail(
            "crash",
            f"its process {cause}{hint} during {self._doing}{': ' if words else ''}{words}",
            remedy="run the file with onnxruntime or torch on the same kind of machine to see it fail",
        )

    def _fail_slow(self, seconds: float) -> NoReturn:
        self._fail(
            "timeout",
            f"it took longer than {seconds:.3g} s for {self._doing} and was stopped",
            remedy="look for a loop without end, make the network smaller, or raise "
            "CUECHECK_CLASSIFIER_SECONDS_PER_BATCH and CUECHECK_CLASSIFIER_DRY_RUN_SECONDS",
        )

    def _fail_hungry(self, detail: str) -> NoReturn:
        allowed = self._settings.classifier_memory_bytes / 2**20
        self._fail(
            "memory",
            f"it wanted more memory than the {allowed:.0f} MiB beside its file for {self._doing}: {detail}",
            remedy="make the network or the batch smaller, or raise CUECHECK_CLASSIFIER_MEMORY_BYTES",
        )

    def _fail(self, reason: Reason, message: str, *, field: str | None = None, remedy: str | None = None) -> NoReturn:
        self._stop()
        verdict = "is refused" if reason == "refused" else "failed"
        self._failure = ClassifierFailed(reason, f"The classifier {verdict}: {message}", field=field, remedy=remedy)
        raise self._failure

    def _stop(self) -> int:
        """Kill the process's whole session, if it is still there; its exit code."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait()


def _start(launch: Launch, errors: FileIO) -> subprocess.Popen[bytes]:
    """The process, in a session and an environment of its own, with the launch on its standard input."""
    with FileIO(os.memfd_create("cuecheck-launch", os.MFD_CLOEXEC), "r+") as order:
        order.write(json.dumps(asdict(launch)).encode())
        order.seek(0)
        return subprocess.Popen(
            # -P and -s: nothing is imported from the working folder or a user's own packages; -B: nothing is written.
            [sys.executable, "-P", "-s", "-B", "-m", "jobs.isolated_worker"],
            stdin=order,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=environment(launch.threads),
            cwd="/",
            pass_fds=[launch.channel, launch.memory, *([] if launch.features is None else [launch.features])],
            start_new_session=True,
        )


def environment(threads: int) -> dict[str, str]:
    """The whole environment of the process: no address, key or password of the parent's is in it."""
    return {
        **{name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ},
        "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
        "HOME": NOWHERE,
        "TMPDIR": NOWHERE,
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": str(threads),
        "CUDA_CACHE_DISABLE": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        "MALLOC_ARENA_MAX": "2",  # every further arena of glibc would take 64 MiB of the address space allowed
    }


def _last_words(errors: FileIO) -> str:
    """The last line a process wrote to standard error, printable and short."""
    end = os.fstat(errors.fileno()).st_size
    text = COLOURS.sub("", os.pread(errors.fileno(), 4096, max(0, end - 4096)).decode(errors="replace"))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "".join(letter for letter in lines[-1] if letter.isprintable())[:400] if lines else ""
