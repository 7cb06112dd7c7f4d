"""The process in which an uploaded classifier's file is changed: it parses the file, so it is as confined as one that
runs it.

Started by `jobs.patching` as `python -m jobs.isolated_patch`, never by hand. It reads one `Order` from standard input
and writes one JSON answer to standard output; arrays and the changed file go through memory shared with the parent.
"""

from __future__ import annotations

import json
import mmap
import sys
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path
from typing import Literal

from jobs.isolated_worker import Refusal, confine, limit_memory, limit_seconds

Method = Literal["spufix", "head-refit"]


@dataclass(frozen=True)
class Order:
    """Everything the process is told.

    Attributes:
        file: the classifier's file.
        spec: its `ClassifierSpec` as JSON.
        method: what is changed.
        notes: what is written into the file about it.
        arrays: file descriptor of an npz file with what it is changed by.
        result: file descriptor of the memory that the changed file goes to.
        memory_bytes: what may be allocated beyond what is mapped at the start.
        seconds: CPU time.
        parent: its process id.
    """

    file: str
    spec: str
    method: Method
    notes: dict[str, str]
    arrays: int
    result: int
    memory_bytes: int
    seconds: float
    parent: int


def main() -> None:
    """Confine, change the file, answer."""
    order = Order(**json.load(sys.stdin))
    confine(order.parent)
    try:
        answer: dict[str, object] = {"bytes": _patch(order)}
    except Exception as error:
        answer = {"refusal": asdict(Refusal.of(error))}
    json.dump(answer, sys.stdout)


def _patch(order: Order) -> int:
    """Length of the changed file."""
    import numpy as np

    from models.classifiers import formats
    from models.classifiers.linear_head import LinearHead
    from models.classifiers.patching import with_head, with_spufix
    from models.classifiers.spec import ClassifierSpec
    from models.spufix import Evidence

    path, spec = Path(order.file), ClassifierSpec.model_validate_json(order.spec)
    formats[spec.format].load()
    limit_memory(order.memory_bytes)
    limit_seconds(order.seconds)
    with FileIO(order.arrays) as file:
        arrays = dict(np.load(file, allow_pickle=False))
    if order.method == "spufix":
        evidence = Evidence(arrays["weight"], arrays["offset"], tuple(range(len(arrays["offset"]))), 0.0)
        content = with_spufix(path, spec, evidence, arrays["outputs"], order.notes, arrays.get("pictures"))
    else:
        content = with_head(path, spec, LinearHead(arrays["weight"], arrays["bias"]), order.notes)
    with mmap.mmap(order.result, len(content)) as memory:
        memory[:] = content
    return len(content)


if __name__ == "__main__":
    main()
