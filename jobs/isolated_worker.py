"""The process an uploaded classifier runs in: it gives up what it can, opens the file and answers batch by batch.

Started by `jobs.isolation` as `python -m jobs.isolated_worker`, never by hand. It reads one `Launch` from standard
input, then talks in single JSON messages over a socket; pixels and scores lie in memory shared with the parent.
Until it is confined this module imports the standard library only: a process with threads cannot leave its user
namespace, and NumPy starts some.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobs.shared_batch import SharedFeatures
    from models.classifiers import Classifier

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38

MOST_BYTES_WRITTEN = 2**16
"""Of any file, standard error included."""
MOST_OPEN_FILES = 512
MOST_THREADS = 1024
LONGEST_MESSAGE = 2**15
LONGEST_TEXT = 2000
"""Characters; what a network makes a runtime say is not trusted to be short."""

EXHAUSTED = ("bad_alloc", "bad allocation", "Failed to allocate memory", "not enough memory", "out of memory")
"""What ONNX Runtime 1.31, libstdc++, torch 2.13 and CUDA say when an allocation fails."""


@dataclass(frozen=True)
class Launch:
    """Everything the process is told at start.

    Attributes:
        file: the classifier's file.
        spec: its `ClassifierSpec` as JSON.
        device: "auto", "cpu" or "cuda".
        threads: CPU threads of the runtime.
        allow_cpu_nodes: see `models.classifiers.open_classifier`.
        inspect: parse the file before it is opened.
        memory_bytes: what may be allocated beyond what the runtime itself takes.
        seconds_to_open, seconds_per_batch: CPU seconds of each thread, after which the process ends by itself; the
            parent's clock is stricter.
        parent: its process id.
        channel: file descriptor of the socket.
        memory: file descriptor of the memory shared with the parent, see `jobs.shared_batch`.
        features: file descriptor of the memory for its features, where they are asked for.
    """

    file: str
    spec: str
    device: str
    threads: int
    allow_cpu_nodes: bool
    inspect: bool
    memory_bytes: int
    seconds_to_open: float
    seconds_per_batch: float
    parent: int
    channel: int
    memory: int
    features: int | None = None


@dataclass(frozen=True)
class Task:
    """Pictures that lie in the shared memory, of which features are wanted too, or not.

    The process answers after every batch of them.
    """

    pictures: int
    batch: int
    features: bool = False


@dataclass(frozen=True)
class Opened:
    """First answer of the process: what runs the classifier, the width of its features, and whether SpuFix takes
    something off the scores that its head gives.

    Where features are asked for and the classifier has no linear head, `headless` says why, and `remedy` what to do.
    """

    provider: str
    fixed_batch: int | None
    network_isolated: bool
    width: int = 0
    spufix: bool = False
    headless: str | None = None
    remedy: str | None = None


@dataclass(frozen=True)
class Refusal:
    """Any answer that is not what was asked for.

    Attributes:
        reason: "refused" (the classifier does not fit its declaration), "device", "memory" or "error".
        message, field, remedy: as in `models.errors.ModelsError`, cut to `LONGEST_TEXT`.
    """

    reason: str
    message: str
    field: str | None = None
    remedy: str | None = None

    @classmethod
    def of(cls, error: Exception) -> Refusal:
        """What to answer where `error` was raised."""
        from models.errors import ClassifierError, DeviceError

        message = " ".join(str(error).split())[:LONGEST_TEXT]
        said = f"{error} {error.__cause__ or ''}"
        if isinstance(error, MemoryError) or any(phrase in said for phrase in EXHAUSTED):
            return cls("memory", message)
        if isinstance(error, ClassifierError | DeviceError):
            reason = "device" if isinstance(error, DeviceError) else "refused"
            return cls(reason, message, error.field, error.remedy and error.remedy[:LONGEST_TEXT])
        return cls("error", f"{type(error).__name__}: {message}")


def main() -> None:
    """Confine, open, then answer until the parent closes the socket."""
    launch = Launch(**json.load(sys.stdin))
    isolated = confine(launch.parent)
    channel = socket.socket(fileno=launch.channel)
    try:
        classifier, headless = _open(launch)
        shared = _shared_features(launch, classifier)
    except Exception as error:
        _send(channel, {"refusal": asdict(Refusal.of(error))})
        return
    opened = Opened(classifier.provider, classifier.fixed_batch, isolated)
    if classifier.head is not None:
        opened = replace(opened, width=classifier.head.weight.shape[1], spufix=classifier.spufix is not None)
    if headless is not None:
        opened = replace(opened, headless=headless.message, remedy=headless.remedy)
    _send(channel, {"opened": asdict(opened)})
    _serve(channel, classifier, launch, shared)


def confine(parent: int) -> bool:
    """Give up what running a classifier does not need. To be called before any thread is started.

    The network and the sight of other processes go with new namespaces where the kernel lets an ordinary user make
    them (most container engines do not: there a network policy has to do it). The process is the first the kernel
    kills when memory runs out, it gains no privileges, leaves no core, and dies with the thread that started it.

    Args:
        parent: process id of the one that started this one.

    Returns:
        Whether the network is gone.
    """
    with suppress(OSError):  # where /proc may not be written to
        Path("/proc/self/oom_score_adj").write_text("1000")
    libc = ctypes.CDLL(None, use_errno=True)
    isolated = libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # after unshare, which clears it
    if os.getppid() != parent:
        sys.exit("the parent was gone before the process was tied to it")
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, MOST_BYTES_WRITTEN)
    _lower(resource.RLIMIT_NOFILE, MOST_OPEN_FILES)
    if isolated:  # elsewhere the limit would count every process of this user, not just this one's threads
        _lower(resource.RLIMIT_NPROC, MOST_THREADS)
    return isolated


def limit_memory(allowance: int) -> None:
    """Let the process map `allowance` bytes beyond what it has mapped so far."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _lower(resource.RLIMIT_AS, pages * resource.getpagesize() + allowance)


def limit_seconds(seconds: float) -> None:
    """End the process once it has used `seconds` more of CPU time, should the parent be unable to."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime + seconds) + 1
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _lower(kind: int, limit: int) -> None:
    """Set a limit for good; one that is stricter already stays."""
    hard = resource.getrlimit(kind)[1]
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(kind, (limit, limit))


def cuda_devices() -> int:
    """CUDA devices the driver offers; 0 without a driver. Needs neither torch nor ONNX Runtime."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    usable = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return count.value if usable else 0


def _open(launch: Launch) -> tuple[Classifier, Refusal | None]:
    """The classifier, and why it has no features where they are asked for and it has none."""
    import numpy as np

    from jobs.shared_batch import MOST_PICTURES
    from models.classifiers import formats, inspect_file, open_classifier
    from models.classifiers.linear_head import HeadError
    from models.classifiers.spec import ClassifierSpec
    from models.errors import ClassifierError

    path, spec = Path(launch.file), ClassifierSpec.model_validate_json(launch.spec)
    formats[spec.format].load()
    device = launch.device
    if device == "auto":
        device = "cuda" if cuda_devices() else "cpu"
    if device == "cpu":  # CUDA maps far more addresses than it uses
        limit_memory(launch.memory_bytes)
    limit_seconds(launch.seconds_to_open * launch.threads)
    if launch.inspect:
        inspect_file(path, spec)

    def opened(features: bool) -> Classifier:
        return open_classifier(
            path,
            spec,
            device,
            launch.threads,
            allow_cpu_nodes=launch.allow_cpu_nodes,
            cuda_memory_bytes=launch.memory_bytes,
            features=features,
        )

    headless: Refusal | None = None
    try:
        classifier = opened(launch.features is not None)
        if classifier.head is not None:  # one picture tells whether the features found give the scores
            side = spec.preprocessing.size
            classifier.look(np.full((1, 3, side, side), 0.5, np.float32))
    except HeadError as error:
        headless, classifier = Refusal.of(error), opened(False)
    if classifier.fixed_batch is not None and classifier.fixed_batch > MOST_PICTURES:
        raise ClassifierError(
            f"the network takes {classifier.fixed_batch} pictures at once; at most {MOST_PICTURES} are sent",
            field="file",
            remedy="export it with a dynamic batch dimension",
        )
    return classifier, headless


def _shared_features(launch: Launch, classifier: Classifier) -> SharedFeatures | None:
    """Where its features go, its head written beside them; None where it shows none."""
    from jobs.shared_batch import SharedFeatures

    if launch.features is None or classifier.head is None:
        return None
    classes, width = classifier.head.weight.shape
    shared = SharedFeatures(launch.features, width, classes)
    shared.weight[:], shared.bias[:] = classifier.head.weight, classifier.head.bias
    return shared


def _serve(channel: socket.socket, classifier: Classifier, launch: Launch, shown: SharedFeatures | None) -> None:
    from jobs.shared_batch import SharedBatch

    spec = json.loads(launch.spec)
    shared = SharedBatch(launch.memory, spec["preprocessing"]["size"], len(spec["classes"]))
    while message := channel.recv(LONGEST_MESSAGE):
        task = Task(**json.loads(message))
        try:
            for start in range(0, task.pictures, task.batch):
                stop = min(start + task.batch, task.pictures)
                limit_seconds(launch.seconds_per_batch * launch.threads)
                pictures = shared.pictures[start:stop]
                if task.features and shown is not None:
                    shared.scores[start:stop], shown.features[start:stop] = classifier.look(pictures)
                else:
                    shared.scores[start:stop] = classifier.forward(pictures)
                _send(channel, {"done": stop})
        except Exception as error:
            _send(channel, {"refusal": asdict(Refusal.of(error))})


def _send(channel: socket.socket, message: dict[str, Any]) -> None:
    channel.send(json.dumps(message).encode())


if __name__ == "__main__":
    main()
