"""The kinds of jobs: what each is asked for, how it is cut into shards, and what its shards and its end do.

A new kind is one file with such functions and one line in `kinds`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from jobs.settings import Settings
from jobs.store import Store

if TYPE_CHECKING:
    from jobs.queue import JobInputs, JobQueue

FOLDERS = {
    "audit": "audits",
    "discovery": "discoveries",
    "training": "trainings",
    "export": "exports",
    "validation": "validations",
    "mitigation": "mitigations",
    "comparison": "comparisons",
}
"""Where the files of each kind of job lie in the store: `<folder>/<job id>/`."""


@dataclass(frozen=True)
class Work:
    """What is to be done of a job.

    Attributes:
        pictures: of each shard, by its number.
        finished: the shards whose files are there already.
    """

    pictures: Sequence[int]
    finished: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Kind:
    """One kind of job.

    Attributes:
        name: as in `FOLDERS`.
        request: what it is asked for; everything in it decides the result.
        check: finds out whether a request can be met, before it is queued, and returns the fields that are pinned:
            names replaced by digests. Raises `NotFound` or `Invalid`.
        plan: cuts the job into shards.
        shard: does one shard, unless its file is there; returns the number of its pictures.
        reduce: called when all shards are done. Either writes the result and returns None, or returns the longer work
            that the job turned out to be, whose first shards are those that are done.
        hidden: names in its folder that are no artefacts.
        timeout: the setting that says how long one of its tasks may run, seconds.
    """

    name: str
    request: type[BaseModel]
    check: Callable[[Store, Settings, Any], dict[str, str]]
    plan: Callable[[JobQueue, str, JobInputs], Work]
    shard: Callable[[JobQueue, str, int, JobInputs], int]
    reduce: Callable[[JobQueue, str, JobInputs], Work | None]
    hidden: frozenset[str] = frozenset()
    timeout: str = "shard_timeout_seconds"

    @property
    def folder(self) -> str:
        """Where its jobs lie in the store."""
        return FOLDERS[self.name]


@cache
def kinds() -> Mapping[str, Kind]:
    """All kinds by name."""
    # here: its modules use the queue, which uses this table
    from jobs import audit_job, comparison_job, discovery, export, mitigation, training, validation_job

    modules = (audit_job, discovery, training, export, validation_job, mitigation, comparison_job)
    return {module.KIND.name: module.KIND for module in modules}


def kind_of(request: BaseModel) -> Kind:
    """The kind of job that such a request asks for."""
    return next(kind for kind in kinds().values() if isinstance(request, kind.request))
