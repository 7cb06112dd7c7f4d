"""Between the passes of a discovery: which channels of every class are worth showing, and to which pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from jobs.class_statistics import ClassStatistics
from models.importance import importance, top_features


class ChosenChannel(BaseModel):
    """A channel among the most important of its class."""

    model_config = ConfigDict(frozen=True)

    channel: int
    importance: float
    images: int = Field(description="Pictures in the class's group.")
    mean: float
    std: float
    largest: float
    strongest: tuple[tuple[int, float], ...] = Field(description="Row and activation, best first.")


class ChosenClass(BaseModel):
    """What the first pass says of one class."""

    model_config = ConfigDict(frozen=True)

    index: int
    labelled: int = Field(description="Pictures with its label.")
    group: int = Field(description="Pictures in its group.")
    channels: tuple[ChosenChannel, ...]


class Selection(BaseModel):
    """`selection.json`: with it the second pass begins."""

    model_config = ConfigDict(frozen=True)

    pictures: int
    right: int
    skipped: dict[str, int]
    ran_on: list[str]
    classes: tuple[ChosenClass, ...]

    def tops(self) -> Mapping[int, Sequence[int]]:
        """For every channel the classes that it is chosen for."""
        found: dict[int, list[int]] = {}
        for chosen in self.classes:
            for channel in chosen.channels:
                found.setdefault(channel.channel, []).append(chosen.index)
        return found


def select(
    statistics: ClassStatistics,
    weight: np.ndarray,
    classes: Sequence[int],
    count: int,
    named: Mapping[int, Sequence[int]] | None = None,
) -> Selection:
    """The `count` most important channels of each of some classes, or those that are named.

    Args:
        statistics: of the whole data set.
        weight: float [C, D], the encoder's head.
        classes: those that are looked at, ascending.
        count: channels per class; fewer where fewer add to the logit.
        named: channels by class, in place of the most important ones.
    """
    return Selection(
        pictures=statistics.pictures,
        right=statistics.right,
        skipped=dict(sorted(statistics.skipped.items())),
        ran_on=sorted(statistics.ran_on),
        classes=tuple(
            _choose(statistics, weight, index, count, None if named is None else named.get(index, ()))
            for index in classes
        ),
    )


def _choose(
    statistics: ClassStatistics, weight: np.ndarray, index: int, count: int, named: Sequence[int] | None
) -> ChosenClass:
    if index not in statistics.moments:
        return ChosenClass(index=index, labelled=statistics.labelled[index], group=0, channels=())
    moments, strongest = statistics.moments[index], statistics.strongest[index]
    values = importance(moments.mean, weight[index])
    chosen = [
        ChosenChannel(
            channel=channel,
            importance=short(values[channel]),
            images=moments.count,
            mean=short(moments.mean[channel]),
            std=short(moments.std[channel]),
            largest=short(strongest.values[channel, 0]),
            strongest=tuple((row, short(value)) for row, value in strongest.of_feature(channel)),
        )
        for channel in (top_features(values, count) if named is None else named)
    ]
    labelled = statistics.labelled[index]
    return ChosenClass(index=index, labelled=labelled, group=moments.count, channels=tuple(chosen))


def short(value: float | np.floating) -> float:
    """Six digits: enough to compare, and the same on machines whose last bits differ."""
    return float(f"{float(value):.6g}")
