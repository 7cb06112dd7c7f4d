"""Twenty people labelling at once lose no answer, and with 10,000 panels in its session a page answers at once."""

from __future__ import annotations

import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from jobs.annotation import annotator_id
from jobs.annotations import Annotations
from jobs.queue import JobQueue
from jobs.settings import Settings
from service.stack import Stack, free_port
from tests.bench import harness
from tests.bench.harness import Ratio
from tests.jobs.labelled import write_draft

CLASSES, PER_CLASS = 1000, 10
PEOPLE = 20
SECONDS, LONG_SECONDS = 30.0, 300.0
LOOKS = 200
ALLOWED_SECONDS = 0.1

Said = dict[tuple[str, str], str]
"""Reason by annotator and panel."""


def measure(folder: Path) -> list[Ratio]:
    """Answers acknowledged over HTTP against those in the store, and the time of the next panel."""
    settings = Settings(data_dir=folder / "annotation", port=free_port(), log_level="warning")
    pairs = [(c, PER_CLASS * c + k, k + 1) for c in range(CLASSES) for k in range(PER_CLASS)]
    seconds = LONG_SECONDS if harness.long_runs else SECONDS
    with Stack(settings, own_redis=True) as stack, httpx.Client(base_url=stack.url, timeout=60) as owner:
        queue = JobQueue(stack.settings)
        write_draft(queue.store, pairs, [f"class {index}" for index in range(CLASSES)])
        annotation = Annotations(queue.store, queue.ledger).create("b1" * 16).id
        path = f"/v1/annotations/{annotation}"
        tokens = {}
        for number in range(PEOPLE):
            body = {"annotator": f"P{number}"}
            tokens[f"P{number}"] = owner.post(f"{path}/invitations", json=body).raise_for_status().json()["token"]
        ends = time.monotonic() + seconds
        with ThreadPoolExecutor(PEOPLE) as pool:
            done = list(pool.map(lambda name: _label(stack.url, name, tokens[name], ends), tokens))
        acknowledged = {key: reason for said, _ in done for key, reason in said.items()}
        looks = [one for _, spent in done for one in spent]
        exported = json.loads(owner.get(f"{path}/answers").raise_for_status().content)
        known = {(one["answer"]["annotator"], one["panel"]): one["answer"]["reason"] for one in exported["answers"]}
        stored = _stored(queue, annotation, acknowledged)
        alone = _looks(stack.url, tokens["P0"])
        start = time.perf_counter()
        owner.get(f"{path}/results").raise_for_status()
        owners = time.perf_counter() - start
    lost = sum(known.get(key) != reason or stored.get(key) != reason for key, reason in acknowledged.items())
    return [
        Ratio(
            f"answers lost of those acknowledged, {PEOPLE} people at once",
            lost,
            "<= 0",
            {
                "acknowledged": len(acknowledged),
                "known": len(known),
                "seconds": seconds,
                "per_second": round(len(acknowledged) / seconds, 1),
            },
        ),
        Ratio(
            f"next panel of {CLASSES * PER_CLASS:,}, median of one person over {1000 * ALLOWED_SECONDS:.0f} ms",
            statistics.median(alone) / ALLOWED_SECONDS,
            "<= 1",
            {
                "milliseconds": round(1000 * statistics.median(alone), 2),
                "milliseconds_p95": round(1000 * sorted(alone)[int(0.95 * len(alone))], 2),
                f"milliseconds_with_{PEOPLE}_people": round(1000 * statistics.median(looks), 1),
                "milliseconds_of_the_owners_results": round(1000 * owners, 1),
            },
        ),
    ]


def _label(url: str, name: str, token: str, ends: float) -> tuple[Said, list[float]]:
    """One person's answers that were acknowledged, and the seconds that each next panel took."""
    said: Said = {}
    looks: list[float] = []
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=url, timeout=60, headers=headers) as client:
        while time.monotonic() < ends:
            start = time.perf_counter()
            panel = client.get("/v1/label/next").raise_for_status()
            looks.append(time.perf_counter() - start)
            if panel.status_code == 204:
                break
            key = panel.json()["panel"]
            reason = f"{name} on {key} at {time.time_ns()}"
            body = {"kind": "main_object", "confidence": 4, "reason": reason, "seconds": 1.0}
            client.put(f"/v1/label/answers/{key}", json=body).raise_for_status()
            said[name, key] = reason
    return said, looks


def _looks(url: str, token: str) -> list[float]:
    seconds = []
    with httpx.Client(base_url=url, timeout=60, headers={"Authorization": f"Bearer {token}"}) as client:
        for _ in range(LOOKS):
            start = time.perf_counter()
            client.get("/v1/label/next").raise_for_status()
            seconds.append(time.perf_counter() - start)
    return seconds


def _stored(queue: JobQueue, annotation: str, acknowledged: Said) -> Said:
    """What the store itself has of them, file by file."""
    found: Said = {}
    for name, panel in acknowledged:
        file = f"annotations/{annotation}/answers/{annotator_id(name)}/{panel}.json"
        if queue.store.exists(file):
            found[name, panel] = json.loads(queue.store.read_bytes(file))["reason"]
    return found
