"""What the first pass of a discovery knows of every class: moments of all features, and where each is strongest."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from jobs.look import Seen
from jobs.strongest import Strongest
from models.moments import Moments

ABOUT = "about"


@dataclass
class ClassStatistics:
    """Sums over shards; their size depends on the classes met and the features alone.

    Attributes:
        moments: by class, of phi over its group.
        strongest: by class, for every feature.
        pictures, right, labelled, skipped: as in `Seen`.
        ran_on: distinct devices and providers, as JSON objects.
    """

    moments: dict[int, Moments] = field(default_factory=dict)
    strongest: dict[int, Strongest] = field(default_factory=dict)
    pictures: int = 0
    right: int = 0
    labelled: Counter[int] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    ran_on: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, seen: Seen, exemplars: int, ran_on: Mapping[str, str]) -> ClassStatistics:
        """The statistics of one shard, with so many strongest pictures of every feature."""
        found = cls(
            pictures=seen.pictures,
            right=seen.right,
            labelled=seen.labelled,
            skipped=seen.skipped,
            ran_on={json.dumps(ran_on, sort_keys=True)},
        )
        for group in np.unique(seen.sample.group).tolist():
            own = seen.sample.take(seen.sample.group == group)
            found.moments[group] = Moments.of(own.phi)
            found.strongest[group] = Strongest.of(own.phi, own.row, exemplars)
        return found

    def add(self, other: ClassStatistics) -> None:
        """Take in another shard."""
        for group, moments in other.moments.items():
            self.moments[group] = self.moments[group].merge(moments) if group in self.moments else moments
        for group, strongest in other.strongest.items():
            mine = self.strongest.get(group)
            self.strongest[group] = strongest if mine is None else mine.merge(strongest)
        self.pictures += other.pictures
        self.right += other.right
        self.labelled += other.labelled
        self.skipped += other.skipped
        self.ran_on |= other.ran_on

    def to_bytes(self) -> bytes:
        """As a safetensors file; equal statistics give equal bytes."""
        arrays: dict[str, NDArray[np.generic]] = {}
        for group in sorted(self.moments):
            arrays |= {f"{group}.{name}": values for name, values in self.moments[group].to_arrays().items()}
            arrays[f"{group}.values"] = self.strongest[group].values
            arrays[f"{group}.rows"] = self.strongest[group].rows
        about = {
            "pictures": self.pictures,
            "right": self.right,
            "labelled": {str(index): count for index, count in self.labelled.items()},
            "skipped": dict(self.skipped),
            "ran_on": sorted(self.ran_on),
        }
        # One entry: safetensors 0.8 writes several in an order that changes from run to run.
        metadata = {ABOUT: json.dumps(about, sort_keys=True)}
        return save({name: np.asarray(values, order="C") for name, values in arrays.items()}, metadata)

    @classmethod
    def from_bytes(cls, content: bytes) -> ClassStatistics:
        """What `to_bytes` wrote."""
        arrays = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
        about = json.loads(header[ABOUT])
        found = cls(
            pictures=about["pictures"],
            right=about["right"],
            labelled=Counter({int(index): count for index, count in about["labelled"].items()}),
            skipped=Counter(about["skipped"]),
            ran_on=set(about["ran_on"]),
        )
        parts: dict[int, dict[str, np.ndarray]] = {}
        for name, values in arrays.items():
            group, _, part = name.partition(".")
            parts.setdefault(int(group), {})[part] = values
        for index, own in sorted(parts.items()):
            found.strongest[index] = Strongest(own.pop("values"), own.pop("rows"))
            found.moments[index] = Moments.from_arrays(own)
        return found
