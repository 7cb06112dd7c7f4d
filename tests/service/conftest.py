"""A real service for the tests of this room: its own processes, a real Redis, real HTTP, and a small random bank."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from jobs.redis_server import RedisServer
from jobs.settings import PREFIX, Settings
from models import architectures
from models.bank import Bank, Exemplar
from models.bank_writing import write_bank
from tests.conftest import ROOT, WITH_US
from tests.models.conftest import ARGUMENTS, CLASSES, manifest

START_SECONDS = 300.0
STOP_SECONDS = 120.0
WORKER_COUNT = "PYTEST_XDIST_WORKER_COUNT"


@dataclass
class RunningServer:
    """A service in processes of its own.

    Attributes:
        url: where it answers.
        settings: it was started with.
        process: its main process.
        log: file with what it wrote.
    """

    url: str
    settings: Settings
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """Id of the main process."""
        return self.process.pid

    def worker(self) -> psutil.Process:
        """The model worker."""
        (worker,) = self.get("/readyz").json()["workers"]
        return psutil.Process(worker["process"])

    def get(self, path: str, timeout: float = 30) -> httpx.Response:
        """Something by a connection of its own; TLS, which no service here speaks, would take longest to set up."""
        return httpx.get(self.url + path, timeout=timeout, verify=False)

    def ask(self, *contents: bytes, **fields: str | list[str]) -> httpx.Response:
        """A request for masks."""
        return httpx.post(f"{self.url}/v1/masks", files=upload(*contents), data=fields, timeout=60, verify=False)

    def send(self, client: socket.socket, *contents: bytes, **fields: str) -> None:
        """A request for masks on a bare connection, for clients that behave badly afterwards."""
        request = httpx.Request("POST", self.url, files=upload(*contents), data=fields)
        content = request.read()
        client.connect(("127.0.0.1", self.settings.port))
        head = f"POST /v1/masks HTTP/1.1\r\nHost: cuecheck\r\nContent-Type: {request.headers['Content-Type']}\r\n"
        client.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)

    def metric(self, name: str) -> float:
        """A metric, its labels a part of the name; 0 where nothing was counted yet."""
        for line in self.get("/metrics").text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.rpartition(" ")[2])
        return 0.0

    def family(self) -> list[psutil.Process]:
        """The main process and all below it."""
        main = psutil.Process(self.pid)
        return [main, *main.children(recursive=True)]

    def is_ready(self) -> bool:
        """Whether /readyz says so."""
        try:
            return self.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def wait_until_ready(self) -> None:
        """Raises with the log if it does not become ready."""
        wait_for(self.is_ready, START_SECONDS, lambda: self.log.read_text()[-4000:], self.process)

    def stop(self) -> int:
        """Send SIGTERM; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)


def wait_for(
    happened: Callable[[], object],
    seconds: float,
    about: Callable[[], str] = lambda: "",
    process: subprocess.Popen[bytes] | None = None,
) -> None:
    """Wait for a condition of another process, which has no event to wait on."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline or (process is not None and process.poll() is not None):
            raise AssertionError(f"did not happen within {seconds} s. {about()}")
        time.sleep(0.02)


def free_port() -> int:
    """A port that nobody listens on, and that no test process beside this one takes before a service here does."""
    number, count = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]), int(os.environ.get(WORKER_COUNT, "1"))
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port // 2 % count == number:  # Linux binds to every other port when it may choose
            return port


def picture(height: int = 96, width: int = 96, seed: int = 0) -> np.ndarray:
    """A smooth random picture, uint8 [H, W, 3]."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def encoded(pixels: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    """A picture as a file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def upload(*contents: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    """The files of a request for masks."""
    return [("pictures", (f"{i}.png", content)) for i, content in enumerate(contents)]


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis of this room's own, which nobody empties while the service uses it."""
    with tempfile.TemporaryDirectory(prefix="cuecheck-") as folder, RedisServer(Path(folder)) as server:
        yield server.url


@pytest.fixture(scope="session")
def banks_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two random banks, `tiny` with one exemplar picture and `other`, and the damaged `broken`."""
    folder = tmp_path_factory.mktemp("banks")
    for seed, name in enumerate(("tiny", "other", "broken")):
        torch.manual_seed(seed)
        weights = folder / f"{name}.safetensors"
        save_file(architectures.build("small_resnet", len(CLASSES), ARGUMENTS).state_dict(), weights)
        shown = "exemplars/ant-0.jpg"
        exemplars = (
            Exemplar(class_index=0, feature_index=0, sample="ant/1.jpg", activation=1.5, picture=shown),
            Exemplar(class_index=0, feature_index=0, sample="ant/2.jpg", activation=1.0),
        )
        write_bank(
            folder / name,
            manifest(name=name, exemplars=exemplars),
            weights,
            {shown: encoded(picture(), "JPEG")},
        )
    damaged = folder / "broken" / "backbone.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    return folder


@pytest.fixture(scope="session")
def tiny_bank(banks_dir: Path) -> Bank:
    """The bank that the service under test answers with by default."""
    return Bank.load(banks_dir / "tiny")


StartServer = Callable[..., RunningServer]


@pytest.fixture(scope="session")
def start_server(banks_dir: Path, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Starts further services with settings of their own; each is stopped at the end of the session at the latest.

    They have a database of Redis apart from the shared service: whoever shares Redis shares the store too, and tells
    of the ends of jobs, or finds no webhooks to tell.
    """
    started: list[RunningServer] = []

    def start(*, wait: bool = True, **changes: object) -> RunningServer:
        folder = tmp_path_factory.mktemp("service")
        fields: dict[str, object] = {
            "data_dir": folder / "data",
            "banks_dir": banks_dir,
            "default_bank": "tiny",
            "redis_url": f"{redis_url}?db=5",
            "port": free_port(),
            "device": "cpu",
            "runtime": "torch",
            "threads": 1,
            "webhook_allowed_networks": "127.0.0.0/8",
        }
        settings = Settings.model_validate(fields | changes)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        log = folder / "log.txt"
        (folder / "tmp").mkdir()
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*WITH_US, sys.executable, "-m", "service.cli", "serve"],
                cwd=ROOT,
                env={**inherited, **settings.environment(), "OMP_NUM_THREADS": "1", "TMPDIR": str(folder / "tmp")},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        server = RunningServer(f"http://127.0.0.1:{settings.port}", settings, process, log)
        started.append(server)
        if wait:
            server.wait_until_ready()
        return server

    yield start
    _end([server for server in started if server.process.poll() is None])


def _end(servers: list[RunningServer]) -> None:
    """Stop services side by side, as each takes seconds; what one leaves behind is killed."""
    families = [process for server in servers for process in server.family()]
    for server in servers:
        server.process.terminate()
    try:
        for server in servers:
            server.process.wait(STOP_SECONDS)
    finally:
        for process in families:
            if process.is_running():
                process.kill()


@pytest.fixture(scope="session")
def server(start_server: StartServer, redis_url: str) -> RunningServer:
    """The service that most tests share; no test may stop it or change what others see."""
    return start_server(redis_url=redis_url)


@pytest.fixture(scope="session")
def http(server: RunningServer) -> Iterator[httpx.Client]:
    """A client of it."""
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


@contextmanager
def running_worker(settings: Settings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A real worker process for the queue of `settings`; ended with its session."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*WITH_US, sys.executable, "-m", "service.cli", "worker"],
            cwd=ROOT,
            env={**inherited, **settings.environment(), "OMP_NUM_THREADS": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="session")
def worker(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that runs the audits submitted to the shared service."""
    with running_worker(server.settings, tmp_path_factory.mktemp("worker") / "log.txt") as process:
        yield process
