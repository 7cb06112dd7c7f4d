"""Timing that can be trusted on a noisy machine: rivals run in turn, and only their ratio is reported."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

long_runs = False
"""Whether parts that have a long form are to take it: `python -m tests.bench --long`."""


@dataclass(frozen=True)
class Ratio:
    """One measured ratio.

    Attributes:
        name: what is compared.
        value: the ratio.
        aim: what it should reach, e.g. ">= 0.90".
        detail: the figures behind it, in words with units.
    """

    name: str
    value: float
    aim: str
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        """Whether the aim is reached."""
        sign, bound = self.aim.split()
        return self.value >= float(bound) if sign == ">=" else self.value <= float(bound)

    def record(self) -> dict[str, Any]:
        """For `bench.json`."""
        return {**asdict(self), "value": round(self.value, 4), "met": self.met}


def cpu_seconds() -> float:
    """Of this process and those that it has started and that still run."""
    children = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    return time.process_time() + sum(times.user + times.system for times in children)


def interleave(
    rivals: Mapping[str, Callable[[], object]], rounds: int = 7, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of each rival in each round; every round runs all of them, so a slow minute slows all alike.

    Args:
        rivals: what is timed, by name.
        rounds: how often each is, after once for nothing.
        clock: `cpu_seconds` where a hundredth counts and none of the work is waiting.
    """
    for run in rivals.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, run in rivals.items():
            start = clock()
            run()
            seconds[name].append(clock() - start)
    return seconds


def paired_ratio(numerator: list[float], denominator: list[float]) -> float:
    """Median over the rounds of the ratio within a round."""
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    with Path("/proc/cpuinfo").open() as lines:
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory, 1),
        "python": platform.python_version(),
        "system": platform.platform(),
    }
