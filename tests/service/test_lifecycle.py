"""From start to end: nothing in flight is lost when the service is stopped, and nothing is left when it has."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import psutil
import pytest
import torch

from tests.service.conftest import STOP_SECONDS, RunningServer, StartServer, encoded, picture, wait_for

WAITING = "cuecheck_pictures_waiting"
COMPUTED = "cuecheck_batch_pictures_sum"


def large_pictures(count: int) -> list[bytes]:
    """Pictures that take a worker some seconds."""
    return [encoded(picture(5000, 5000, seed), "PNG", compress_level=1) for seed in range(count)]


def refuses_connections(server: RunningServer) -> bool:
    """Whether nobody answers any more: the socket is open until the last process has ended."""
    try:
        server.get("/livez", timeout=5)
    except httpx.TransportError:
        return True
    return False


@pytest.fixture(scope="module")
def rough(start_server: StartServer) -> RunningServer:
    """A service whose worker the tests here stop and kill."""
    return start_server(deadline_seconds=120)


def to_main_process(server: RunningServer) -> None:
    server.process.send_signal(signal.SIGTERM)


def to_whole_group(server: RunningServer) -> None:
    """What Ctrl-C in a terminal does."""
    for process in server.family():
        process.send_signal(signal.SIGINT)


@pytest.mark.parametrize("stop", [to_main_process, to_whole_group])
def test_a_stopped_service_answers_what_is_in_flight_and_leaves_nothing(
    start_server: StartServer, stop: Callable[[RunningServer], None]
) -> None:
    server = start_server()
    family = server.family()
    worker = server.worker()
    worker.suspend()
    with ThreadPoolExecutor() as clients:
        answers = [clients.submit(server.ask, encoded(picture())) for _ in range(3)]
        wait_for(lambda: server.metric(WAITING) == 3, 120)
        stop(server)
        wait_for(lambda: refuses_connections(server), 120)
        worker.resume()
        assert [answer.result().status_code for answer in answers] == [200, 200, 200]
    assert server.process.wait(STOP_SECONDS) == 0
    assert not psutil.wait_procs(family, timeout=60)[1], "a process was left behind"
    assert not list((server.log.parent / "tmp").iterdir()), "a file was left behind"


def test_stopped_while_it_starts_it_ends_in_good_order(start_server: StartServer) -> None:
    server = start_server(wait=False)
    wait_for(lambda: "starting" in server.log.read_text(), 120)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(STOP_SECONDS) == 0
    wait_for(lambda: not session(server), 60)


def session(server: RunningServer) -> list[int]:
    """Processes of the service, also those that lost their parent."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(process.pid) == server.pid and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_is_not_there_ends_it_with_the_reason(start_server: StartServer) -> None:
    server = start_server(wait=False, device="cuda")
    assert server.process.wait(STOP_SECONDS) != 0
    assert "torch finds no CUDA device" in server.log.read_text()
    assert "could not start" in server.log.read_text()
    wait_for(lambda: not session(server), 60)


def test_no_process_outlives_a_killed_service(start_server: StartServer) -> None:
    server = start_server()
    family = server.family()
    server.process.kill()
    server.process.wait()
    assert not psutil.wait_procs(family, timeout=60)[1]


def begun_by(server: RunningServer) -> set[int]:
    """The workers that have taken a picture out of the queue, as the table of tickets says."""
    (table,) = (server.log.parent / "tmp").glob("cuecheck-serve-*/tickets")
    return set(np.fromfile(table, np.uint64)[1:-2:2].tolist())


def test_a_worker_killed_at_work_fails_its_pictures_at_once_and_is_replaced(rough: RunningServer) -> None:
    worker = rough.worker()
    large, other = large_pictures(2)
    with ThreadPoolExecutor() as clients:
        begun = clients.submit(rough.ask, large)
        wait_for(lambda: worker.pid in begun_by(rough), 60)
        waiting = [clients.submit(rough.ask, other) for _ in range(3)]
        worker.kill()
        response = begun.result()
        assert httpx.get(f"{rough.url}/readyz").status_code == 503
        assert httpx.get(f"{rough.url}/livez").status_code == 200
        assert [one.result().status_code for one in waiting] == [200] * 3, "those still waiting are answered"
    assert response.status_code == 503
    assert response.json()["type"] == "urn:cuecheck:problem:worker-lost"
    assert int(response.headers["Retry-After"]) > 0
    assert response.elapsed.total_seconds() < rough.settings.deadline_seconds
    wait_for(rough.is_ready, 120)
    assert rough.worker().pid != worker.pid


def test_a_client_that_hangs_up_costs_nothing_more(rough: RunningServer) -> None:
    worker = rough.worker()
    computed = rough.metric(COMPUTED)
    worker.suspend()
    for _ in range(3):
        with socket.socket() as client:
            rough.send(client, encoded(picture()))
            wait_for(lambda: rough.metric(WAITING) == 1, 60)
        wait_for(lambda: rough.metric(WAITING) == 0, 60)
    worker.resume()
    assert rough.ask(encoded(picture())).status_code == 200
    assert rough.metric(COMPUTED) == computed + 1
    assert rough.metric('cuecheck_pictures_total{outcome="client-gone"}') == 3


def test_past_the_deadline_the_answer_is_504_and_the_picture_is_given_up(start_server: StartServer) -> None:
    server = start_server(deadline_seconds=1)
    worker = server.worker()
    worker.suspend()
    response = server.ask(encoded(picture()))
    assert response.status_code == 504
    assert response.json()["type"] == "urn:cuecheck:problem:deadline"
    worker.resume()
    later = [server.ask(encoded(picture())).status_code]
    while later[-1] != 200:
        later.append(server.ask(encoded(picture())).status_code)
    assert server.metric(COMPUTED) <= len(later)
