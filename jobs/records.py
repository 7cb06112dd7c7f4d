"""What anyone may know of a job: the record that is listed, followed and, once it has ended, kept in the store."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class JobState(StrEnum):
    """Where a job stands. `queued` and `running` lead on, the others are final until someone retries."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing more happens by itself."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


class JobRecord(BaseModel):
    """A job as others see it. Times are UTC."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="Digest of the job's inputs: the same inputs are the same job.")
    kind: Literal["audit", "discovery", "training", "export", "validation", "mitigation", "comparison"] = Field(
        description="What is done."
    )
    state: JobState
    created: datetime = Field(description="When it was first submitted.")
    started: datetime | None = Field(None, description="When work began, after a retry anew.")
    finished: datetime | None = Field(None, description="When it succeeded, failed or was cancelled.")
    done: int = Field(
        0, ge=0, description="Pictures done; in training once in every epoch, in comparisons in every pass."
    )
    total: int | None = Field(None, ge=0, description="Pictures to do; unknown until the job is planned.")
    rate: float | None = Field(None, ge=0, description="Pictures per second since work began.")
    seconds_left: float | None = Field(None, ge=0, description="At that rate; the report is written after it.")
    message: str | None = Field(None, description="Why it failed or waits, in plain words.")
    request: dict[str, Any] = Field(description="What was asked for.")
    artefacts: list[str] = Field(default_factory=list, description="Names of the files it left.")


class WorkerInfo(BaseModel):
    """One living worker."""

    model_config = ConfigDict(frozen=True)

    name: str
    task: str | None = Field(description="`<job>-<task>-<start>` of what it runs; None while it is idle.")
    started: datetime = Field(description="When the worker was started, UTC.")


class JobPage(BaseModel):
    """Some jobs, newest first."""

    jobs: list[JobRecord]
    next: str | None = Field(description="Cursor of the next page; None on the last.")
