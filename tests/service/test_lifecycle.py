"""From start to end: nothing in flight is lost when the service is stopped, and nothing is left when it has."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest
import torch

from tests.service.conftest import RunningServer, StartServer, encoded, picture, upload, wait_for

WAITING = "cuecheck_pictures_waiting"
COMPUTED = "cuecheck_batch_pictures_sum"


def large_pictures(count: int) -> list[bytes]:
    """Pictures that take a worker some seconds."""
    return [encoded(picture(5000, 5000, seed), "PNG", compress_level=1) for seed in range(count)]


def refuses_connections(server: RunningServer) -> bool:
    """Whether nobody listens any more."""
    try:
        httpx.get(f"{server.url}/livez", timeout=5)
    except httpx.TransportError:
        return True
    return False


@pytest.fixture(scope="module")
def rough(start_server: StartServer) -> RunningServer:
    """A service whose worker the tests here stop and kill."""
    return start_server()


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
        wait_for(lambda: server.metric(WAITING) == 3, 20)
        stop(server)
        wait_for(lambda: refuses_connections(server), 20)
        worker.resume()
        assert [answer.result().status_code for answer in answers] == [200, 200, 200]
    assert server.process.wait(30) == 0
    assert not psutil.wait_procs(family, timeout=5)[1], "a process was left behind"
    assert not list((server.log.parent / "tmp").iterdir()), "a file was left behind"


def test_stopped_while_it_starts_it_ends_in_good_order(start_server: StartServer) -> None:
    server = start_server(wait=False)
    wait_for(lambda: "starting" in server.log.read_text(), 60)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(90) == 0
    wait_for(lambda: not session(server), 10)


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
    assert server.process.wait(90) != 0
    assert "torch finds no CUDA device" in server.log.read_text()
    wait_for(lambda: not session(server), 10)


def test_no_process_outlives_a_killed_service(start_server: StartServer) -> None:
    server = start_server()
    family = server.family()
    server.process.kill()
    server.process.wait()
    assert not psutil.wait_procs(family, timeout=20)[1]


def test_a_worker_killed_at_work_fails_its_pictures_at_once_and_is_replaced(rough: RunningServer) -> None:
    worker = rough.worker()
    begun = rough.metric("cuecheck_queue_seconds_count")
    with ThreadPoolExecutor() as clients:
        answer = clients.submit(rough.ask, *large_pictures(2))
        wait_for(lambda: rough.metric("cuecheck_queue_seconds_count") > begun, 30)
        worker.kill()
        response = answer.result()
    assert response.status_code == 503
    assert response.json()["type"] == "urn:cuecheck:problem:worker-lost"
    assert int(response.headers["Retry-After"]) > 0
    assert response.elapsed.total_seconds() < rough.settings.deadline_seconds
    assert httpx.get(f"{rough.url}/readyz").status_code == 503
    assert httpx.get(f"{rough.url}/livez").status_code == 200
    wait_for(rough.is_ready, 60)
    assert rough.worker().pid != worker.pid
    assert rough.ask(encoded(picture())).status_code == 200


def test_a_client_that_hangs_up_costs_nothing_more(rough: RunningServer) -> None:
    worker = rough.worker()
    computed = rough.metric(COMPUTED)
    worker.suspend()
    for _ in range(3):
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{rough.url}/v1/masks", files=upload(encoded(picture())), timeout=0.3)
    wait_for(lambda: rough.metric(WAITING) == 0, 10)
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
    wait_for(lambda: server.ask(encoded(picture())).status_code == 200, 20)
    assert server.metric(COMPUTED) == server.metric('cuecheck_pictures_total{outcome="answered"}')
