"""The table of admitted pictures: bounded, all or nothing, and safe to reuse while old pictures are still queued."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from service.problems import Problem
from service.tickets import Tickets


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "tickets"
    Tickets.create(path, 4)
    return path


@pytest.fixture
def api(table: Path) -> Tickets:
    """The table as the API process has it."""
    return Tickets(table)


@pytest.fixture
def worker(table: Path, api: Tickets) -> Tickets:
    """The table as the worker process has it."""
    return Tickets(table)


def test_what_one_process_writes_the_other_sees(api: Tickets, worker: Tickets) -> None:
    (ticket,) = api.admit(1)
    assert worker.wanted(ticket)
    assert not api.begun(ticket)
    worker.begin(ticket)
    assert api.begun(ticket)
    api.release(ticket)
    assert not worker.wanted(ticket)


def test_it_is_full_for_all_of_a_request_or_for_none(api: Tickets) -> None:
    api.admit(3)
    with pytest.raises(Problem) as refused:
        api.admit(2)
    assert refused.value.kind == "too-busy"
    assert int(refused.value.headers["Retry-After"]) >= 1
    assert api.held == 3
    api.admit(1)


def test_more_than_ever_fits_is_not_a_matter_of_waiting(api: Tickets) -> None:
    with pytest.raises(Problem) as refused:
        api.admit(5)
    assert refused.value.kind == "invalid"
    assert "Retry-After" not in refused.value.headers


def test_a_row_used_again_does_not_revive_a_picture_given_up(api: Tickets, worker: Tickets) -> None:
    given_up = api.admit(4)
    for ticket in given_up:
        api.release(ticket)
    fresh = api.admit(4)
    assert {ticket.row for ticket in fresh} == {ticket.row for ticket in given_up}
    assert not any(worker.wanted(ticket) for ticket in given_up)
    worker.begin(given_up[0])
    assert not any(api.begun(ticket) for ticket in fresh), "a late beginning does not touch the row's new picture"


def test_a_picture_is_lost_when_the_process_that_began_it_is_gone(api: Tickets, table: Path) -> None:
    (ticket,) = api.admit(1)
    assert not api.lost(ticket), "nobody has begun"
    api.begin(ticket)
    assert not api.lost(ticket), "this process has, and is there"
    ended = subprocess.Popen(["true"])
    ended.wait()
    words = memoryview(bytearray(table.read_bytes())).cast("Q")
    words[2 * ticket.row + 1] = ended.pid
    with table.open("r+b") as file:
        file.write(words)
    assert api.lost(ticket)


def test_the_serving_worker_is_named(api: Tickets, worker: Tickets) -> None:
    assert api.worker == 0
    worker.serve()
    assert api.worker == os.getpid()
    assert api.held == 0
