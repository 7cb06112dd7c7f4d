"""The same pictures over HTTP and in process: what serving costs."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from pathlib import Path

import httpx

from jobs.settings import Settings
from service.engine import Engine, PictureTask
from service.stack import Stack, free_port
from tests.bench.harness import Ratio
from tests.bench.in_process import BATCH, options
from tests.bench.subjects import photograph_classes, photographs, resnet50_bank

CONCURRENCY = 32
PICTURES = 192
LONE_PICTURES = 40
ROUNDS = 3
AS_ZIP = {"Accept": "application/zip"}


def measure(folder: Path) -> list[Ratio]:
    """Throughput at concurrency 32 and latency at concurrency 1, JPEG in and PNG masks out, ResNet-50 at 224 px."""
    bank = resnet50_bank(folder / "banks", photograph_classes())
    settings = Settings(
        data_dir=folder / "http",
        banks_dir=folder / "banks",
        default_bank=bank.name,
        port=free_port(),
        threads=os.cpu_count(),
        log_level="warning",
    )
    files = [content for _, content in photographs(PICTURES)]
    wanted = options(bank, contributions=False)
    engine = Engine(settings)
    engine.load(bank.digest)

    def in_process(group: list[bytes]) -> float:
        start = time.perf_counter()
        engine.answer([PictureTask(content, i, None, wanted) for i, content in enumerate(group)])
        return time.perf_counter() - start

    rates: dict[str, list[float]] = {"in_process": [], "over_http": []}
    latencies: dict[str, list[float]] = {"in_process": [], "over_http": []}
    with Stack(settings, own_redis=True) as stack:
        for _ in range(ROUNDS):
            in_process(files[:BATCH])
            alone = sum(in_process(files[i : i + BATCH]) for i in range(0, PICTURES, BATCH))
            rates["in_process"].append(PICTURES / alone)
            rates["over_http"].append(PICTURES / asyncio.run(_many(stack.url, files)))
            latencies["in_process"].append(statistics.median(in_process([one]) for one in files[:LONE_PICTURES]))
            latencies["over_http"].append(statistics.median(_one_by_one(stack.url, files[:LONE_PICTURES])))
    throughput = statistics.median(b / a for a, b in zip(rates["in_process"], rates["over_http"], strict=True))
    latency = statistics.median(b / a for a, b in zip(latencies["in_process"], latencies["over_http"], strict=True))
    return [
        Ratio(
            f"over HTTP at concurrency {CONCURRENCY} over in process, with decode and encode",
            throughput,
            ">= 0.85",
            {"pictures_per_second": {name: [round(r, 1) for r in runs] for name, runs in rates.items()}},
        ),
        Ratio(
            "median latency at concurrency 1 over in process",
            latency,
            "<= 1.15",
            {"milliseconds": {name: [round(1000 * r, 1) for r in runs] for name, runs in latencies.items()}},
        ),
    ]


async def _many(url: str, files: list[bytes]) -> float:
    """Seconds for all files, always `CONCURRENCY` requests under way."""
    waiting = iter(files)
    async with httpx.AsyncClient(base_url=url, timeout=120) as client:

        async def worker() -> None:
            for content in waiting:
                answer = await client.post("/v1/masks", files={"pictures": content}, headers=AS_ZIP)
                answer.raise_for_status()

        start = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))
        return time.perf_counter() - start


def _one_by_one(url: str, files: list[bytes]) -> list[float]:
    """Seconds of each request, one after the other."""
    seconds = []
    with httpx.Client(base_url=url, timeout=120) as client:
        for content in files:
            start = time.perf_counter()
            client.post("/v1/masks", files={"pictures": content}, headers=AS_ZIP).raise_for_status()
            seconds.append(time.perf_counter() - start)
    return seconds
