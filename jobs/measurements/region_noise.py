"""Noise where labelled features lie, and the same noise elsewhere; see `jobs.variants` and `jobs.measures`."""

from __future__ import annotations

from typing import ClassVar

from jobs.measurement import Measurement


class RegionNoise(Measurement):
    """Its figures stand in the report's findings."""

    name: ClassVar[str] = "region-noise"
    title: ClassVar[str] = "Noise on the features"
    summary: ClassVar[str] = (
        "Accuracy and evidence under noise on the core features, on the spurious features and on each feature, against "
        "the same noise elsewhere; relative core sensitivity."
    )
    needs: ClassVar[tuple[str, ...]] = ("labelled features",)
    default: ClassVar[bool] = True


MEASUREMENT = RegionNoise()
