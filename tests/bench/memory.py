"""Memory does not grow with the data set."""

from __future__ import annotations

import os
from pathlib import Path

from tests.bench.cluster import Memory, cifar10_request, ended, redis, workers
from tests.bench.harness import Ratio

FEW, MANY = 5_000, 50_000


def measure(folder: Path) -> list[Ratio]:
    """Peak memory of a worker and all it starts, over 50,000 pictures and over 5,000."""
    peaks: dict[int, int] = {}
    seconds: dict[int, float] = {}
    for pictures in (FEW, MANY):
        with redis(folder / f"memory-{pictures}", threads=os.cpu_count() or 1) as settings:
            request = cifar10_request(settings, "cifar10-train.zip", pictures)
            with workers(settings, 1) as (pid,):
                memory = Memory(pid)
                memory.start()
                seconds[pictures] = ended(settings, request)
                peaks[pictures] = memory.stop()
    return [
        Ratio(
            "peak memory of an audit of 50,000 pictures over one of 5,000",
            peaks[MANY] / peaks[FEW],
            "<= 1.05",
            {
                "peak_mib": {count: round(peak / 2**20, 1) for count, peak in peaks.items()},
                "seconds": {count: round(spent, 1) for count, spent in seconds.items()},
            },
        )
    ]
