"""Which pictures a mitigation is fitted on and which it is judged by: none is both."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from jobs.class_map import ClassMap
from jobs.mitigation_request import MitigationRequest

Rows = NDArray[np.int64]


def split(labels: NDArray[np.int32], share: float, seed: int) -> tuple[Rows, Rows]:
    """Two parts of a data set, each class drawn by itself.

    Args:
        labels: int32 [rows], of the data set.
        share: of each class that goes into the first part, to the next whole picture.
        seed: of the draw.

    Returns:
        int64 ascending rows of both parts; together they are all rows, and they have none in common.
    """
    first = np.zeros(len(labels), bool)
    for label in np.unique(labels).tolist():
        own = np.random.default_rng([seed, label]).permutation(np.flatnonzero(labels == label))
        first[own[: round(share * len(own))]] = True
    return np.flatnonzero(first), np.flatnonzero(~first)


def wanted_labels(request: MitigationRequest, classes: ClassMap) -> list[int]:
    """Labels of the data set whose pictures are fitted on.

    SpuFix looks at the classes that it changes. A head is fitted on all classes that both data set and classifier have,
    so that those without spurious features keep their place among the others.
    """
    outputs = set(classes.of_output.tolist())
    known = [label for label, index in enumerate(classes.of_label.tolist()) if index in outputs and index >= 0]
    return [label for label in known if request.method == "head-refit" or label not in classes.skipped]


class MitigationPlan(BaseModel):
    """The shards of a mitigation: some look at what is fitted on, as many audit each of the two classifiers.

    `<folder>/<id>/plan.json`.
    """

    model_config = ConfigDict(frozen=True)

    fitted: list[int] = Field(description="Pictures of each shard that is fitted on.")
    judged: list[int] = Field(description="Pictures of each shard that is audited.")
    per_shard: int = Field(ge=1, description="Most pictures of a shard.")

    @classmethod
    def of(cls, fitted: int, judged: int, per_shard: int) -> MitigationPlan:
        """For so many pictures."""
        return cls(fitted=_parts(fitted, per_shard), judged=_parts(judged, per_shard), per_shard=per_shard)

    def rows(self, rows: Rows, shard: int) -> list[int]:
        """Those of one shard among the rows of its part."""
        own: list[int] = rows[shard * self.per_shard : (shard + 1) * self.per_shard].tolist()
        return own


def _parts(pictures: int, per_shard: int) -> list[int]:
    return [min(per_shard, pictures - start) for start in range(0, pictures, per_shard)]
