"""Spurious features swapped for those of another picture; see `jobs.swaps` and `jobs.measures`."""

from __future__ import annotations

from typing import ClassVar

from jobs.measurement import Measurement


class CueSwaps(Measurement):
    """Its figures stand in the report's findings."""

    name: ClassVar[str] = "cue-swaps"
    title: ClassVar[str] = "Swapped cues"
    summary: ClassVar[str] = (
        "Accuracy with the spurious features of another picture of the class less that with those of another class."
    )
    needs: ClassVar[tuple[str, ...]] = ("spurious features of at least two classes",)
    default: ClassVar[bool] = True


MEASUREMENT = CueSwaps()
