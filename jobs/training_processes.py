"""A training in several processes under torch's own launcher, and the words that come back from the first of them.

`python -m torch.distributed.run ... -m jobs.training_processes ORDER` is what each process runs. The first writes one
JSON text per line to its standard output, begun by a record separator (RFC 7464) so that nothing else is taken for one.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from jobs import errors
from jobs.errors import JobsError
from jobs.scratch import room_for
from jobs.settings import Settings
from jobs.store import Store
from jobs.training_order import Order, carry_out
from models.errors import DeviceError, ModelsError, TrainingError
from models.training.following import Batch, EpochRecord, Follower, Silent

SEPARATOR = "\x1e"
LOOK_SECONDS = 1.0
"""Between two looks whether the job is still wanted, while the processes say nothing."""
GOODBYE_SECONDS = 40.0
"""The launcher gives its processes 30 s to end before it kills them."""


def train_in_processes(
    order: Order, processes: int, settings: Settings, follower: Follower, path: Path
) -> tuple[float, tuple[EpochRecord, ...]]:
    """Carry an order out in several processes of this machine.

    Args:
        order: what to do; its device is that of each process.
        processes: how many.
        settings: handed on through the environment.
        follower: told what the first process says; what it raises ends all of them.
        path: scratch file for the order.

    Returns:
        Minutes of training, and all epochs.

    Raises:
        DeviceError: There are fewer CUDA devices. Otherwise what the first process failed with.
    """
    if order.device == "cuda" and torch.cuda.device_count() < processes:
        raise DeviceError(
            f"{processes} processes need as many CUDA devices, and there are {torch.cuda.device_count()}.",
            field="processes",
            remedy="Ask for as many processes as there are GPUs.",
        )
    with room_for("the training's order"):
        path.write_text(order.model_dump_json(), encoding="utf-8")
    launcher = ("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}")
    root = str(Path(__file__).resolve().parent.parent)
    environment = {**os.environ, **settings.environment(), "PYTHONPATH": root}
    command = [sys.executable, *launcher, "-m", "jobs.training_processes", str(path)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
    trained: tuple[float, tuple[EpochRecord, ...]] | None = None
    try:
        for said in _said(process, follower.evaluating):
            if "batch" in said:
                follower.batch(Batch(**said["batch"]))
            elif "epoch" in said:
                follower.epoch(EpochRecord(**said["epoch"]))
            elif "failed" in said:
                raise _failure(**said["failed"])
            elif "minutes" in said:
                trained = said["minutes"], tuple(EpochRecord(**record) for record in said["epochs"])
            else:
                follower.evaluating()
        code = process.wait()
    finally:
        _end(process)
    if trained is None:
        raise RuntimeError(f"the training's processes ended with exit code {code}; the worker's log says more")
    return trained


def _said(process: subprocess.Popen[bytes], idle: Callable[[], None]) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(LOOK_SECONDS):
                idle()
                continue
            chunk = os.read(process.stdout.fileno(), 2**16)
            if not chunk:
                return
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                _, mark, text = line.decode(errors="replace").rpartition(SEPARATOR)
                if mark:
                    yield json.loads(text)


def _end(process: subprocess.Popen[bytes]) -> None:
    """The launcher ends its processes when it is told to end itself."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(GOODBYE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _failure(kind: str, message: str, remedy: str | None) -> Exception:
    found = getattr(errors, kind, None)
    if isinstance(found, type) and issubclass(found, JobsError):
        return found(message, remedy=remedy)
    return TrainingError(message, remedy=remedy)


class _Speaker:
    """Tells the process that started the launcher. Once that one is gone, writing fails and ends this one too."""

    def batch(self, at: Batch) -> None:
        _say(batch=asdict(at))

    def evaluating(self) -> None:
        _say(evaluating=True)

    def epoch(self, record: EpochRecord) -> None:
        _say(epoch=asdict(record))


def _say(**what: object) -> None:
    print(SEPARATOR + json.dumps(what), flush=True)


def main(path: Path) -> None:
    """Take part in the training that an order describes."""
    settings = Settings()
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    order = Order.model_validate_json(path.read_text(encoding="utf-8"))
    if order.device == "cuda":
        order = order.model_copy(update={"device": f"cuda:{os.environ['LOCAL_RANK']}"})
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    else:
        # All are on this machine, whose own name gloo could not always resolve.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    distributed.init_process_group("nccl" if order.device.startswith("cuda") else "gloo")
    first = distributed.get_rank() == 0
    try:
        trained = carry_out(order, Store.from_settings(settings), _Speaker() if first else Silent())
    except (JobsError, ModelsError) as error:
        if first:
            _say(failed={"kind": type(error).__name__, "message": str(error), "remedy": error.remedy})
        raise
    if first:
        _say(minutes=trained.minutes, epochs=[asdict(record) for record in trained.epochs])
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
