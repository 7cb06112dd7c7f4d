"""Audits beside the bare forwards they need: of all measurements together, and of each alone where overheads show."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from tests.bench import grounds
from tests.bench.grounds import Ground
from tests.bench.harness import Ratio, interleave, paired_ratio

ALL = "all measurements"
ROUNDS = 3
PLANTED_PER_CLASS = 8


def measure(folder: Path) -> Iterator[Ratio]:
    """Pictures per second of the full audit over its forwards, and the same of every measurement alone."""
    together = {ALL: grounds.complete()}
    yield from _ratios(grounds.planted(folder, PLANTED_PER_CLASS), together)
    yield from _ratios(grounds.resnet50(folder), together)
    yield from _ratios(grounds.planted(folder, PLANTED_PER_CLASS), {name: [name] for name in grounds.complete()})


def _ratios(ground: Ground, chosen: Mapping[str, Collection[str]]) -> list[Ratio]:
    """All of them take turns in one run, an audit beside its own forwards."""
    rivals = {}
    with ExitStack() as stack:
        audits = {name: stack.enter_context(ground.audit_of(names)) for name, names in chosen.items()}
        for name, audit in audits.items():
            rivals[name, "audit"], rivals[name, "forwards"] = audit.run, stack.enter_context(audit.bare())
        seconds = interleave(rivals, ROUNDS)
    return [
        Ratio(
            f"{name} over the bare forwards they need, {ground.name}",
            paired_ratio(seconds[name, "forwards"], seconds[name, "audit"]),
            ">= 0.80",
            {
                "seconds": {what: [round(s, 2) for s in seconds[name, what]] for what in ("audit", "forwards")},
                "pictures": ground.pictures,
                "classifier_forwards_per_picture": round(audit.forwards / ground.pictures, 2),
                "load": [round(load, 1) for load in os.getloadavg()],
            },
        )
        for name, audit in audits.items()
    ]
