"""What a second worker is worth."""

from __future__ import annotations

from pathlib import Path

from tests.bench.cluster import cifar10_request, ended, redis, workers
from tests.bench.harness import Ratio

PICTURES = 8_000
FIRST = 500


def measure(folder: Path) -> list[Ratio]:
    """Pictures per second of two workers over one, one thread each, from submitting to the finished report.

    A small audit goes before: the first on an installation exports the bank's backbone to ONNX, some seconds once.
    """
    seconds: dict[int, float] = {}
    for count in (1, 2):
        with redis(folder / f"workers-{count}", threads=1) as settings:
            request = cifar10_request(settings, "cifar10-test.zip", PICTURES)
            with workers(settings, count):
                ended(settings, request.model_copy(update={"max_pictures": FIRST}))
                seconds[count] = ended(settings, request)
    return [
        Ratio(
            "two workers over one",
            seconds[1] / seconds[2],
            ">= 1.8",
            {"pictures": PICTURES, "seconds": {count: round(spent, 1) for count, spent in seconds.items()}},
        )
    ]
