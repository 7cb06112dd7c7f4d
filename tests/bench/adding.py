"""What a measurement without a forward of its own adds to an audit, its section included.

Processor time is compared, on one thread: a hundredth is less than what other programs do to the time on the clock.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from jobs.measurement import Measurement
from jobs.measurements import cue_swaps, measurements, region_noise
from tests.bench import grounds
from tests.bench.harness import Ratio, cpu_seconds, interleave, paired_ratio

ROUNDS = 5
PLANTED_PER_CLASS = 64
BASE = (region_noise.MEASUREMENT.name, cue_swaps.MEASUREMENT.name)


def measure(folder: Path) -> list[Ratio]:
    """Processor seconds of an audit with each such measurement over one without, less 1."""
    ground = grounds.planted(folder / "adding", PLANTED_PER_CLASS, threads=1)
    added = [name for name in grounds.complete() if name not in BASE and _without_forward(measurements()[name])]
    with ExitStack() as stack:
        audits = {name: stack.enter_context(ground.audit_of({*BASE, name})) for name in added}
        without = stack.enter_context(ground.audit_of(BASE))
        rivals = {name: audit.run_and_sum_up for name, audit in audits.items()}
        seconds = interleave({"": without.run_and_sum_up, **rivals}, ROUNDS, cpu_seconds)
    return [
        Ratio(
            f"cost of adding {name} to an audit",
            paired_ratio(seconds[name], seconds[""]) - 1,
            "<= 0.02",
            {
                "processor_seconds": {
                    what: [round(s, 2) for s in seconds[own]] for what, own in (("with", name), ("without", ""))
                },
                "pictures": ground.pictures,
                "load": [round(load, 1) for load in os.getloadavg()],
            },
        )
        for name in added
    ]


def _without_forward(own: Measurement) -> bool:
    return type(own).changed is Measurement.changed
