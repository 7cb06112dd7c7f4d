"""What an audit brings together, and where it ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from jobs.class_map import ClassMap
from jobs.classification import Predict
from jobs.datasets import Pictures
from jobs.measurement import Scope
from models.backbone import Backbone
from models.bank import Bank
from models.classifiers.linear_head import LinearHead
from models.geometry import Preprocessing


class RanOn(BaseModel):
    """Devices and providers that really ran; kept with every shard, as shards may run on different machines."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: str = Field(description="Device of the backbone and of the masks.")
    backbone: str = Field(description="Provider that ran the backbone.")
    precision: str = Field(description="Precision of the backbone.")
    classifier: str = Field(description="Provider that ran the classifier.")


class Own(NamedTuple):
    """A classifier with its features.

    Attributes:
        look: as `Subjects.predict`, and the features, float32 [N, D].
        head: the last linear layer, which they go into.
    """

    look: Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32]]]
    head: LinearHead


@dataclass(frozen=True)
class Subjects:
    """What an audit brings together.

    Attributes:
        bank: the labels.
        backbone: the bank's network, loaded.
        predict: the classifier.
        preprocessing: how pictures become the classifier's input.
        classes: the three vocabularies.
        pictures: the whole data set.
        provider: what really runs the classifier.
        further: the vocabularies of second data sets, by the measurement that asks for one.
        own: the classifier with its features, where these are asked for; or why they are not to be had.
    """

    bank: Bank
    backbone: Backbone
    predict: Predict
    preprocessing: Preprocessing
    classes: ClassMap
    pictures: Pictures
    provider: str
    further: Mapping[str, ClassMap] = field(default_factory=dict)
    own: Own | str | None = None

    def ran_on(self) -> RanOn:
        """Where these figures were computed."""
        return RanOn(
            device=str(self.backbone.device),
            backbone=self.backbone.provider,
            precision=self.backbone.precision,
            classifier=self.provider,
        )


def scope_of(bank: Bank, classes: ClassMap, pictures: Pictures, seed: int) -> Scope:
    """What the measurements of an audit sum up, over all its shards."""
    audited = {index for label, index in enumerate(classes.of_label.tolist()) if label not in classes.skipped}
    of_row = classes.of_label[pictures.labels]
    return Scope(bank, sorted(audited), seed, Counter(of_row.tolist()), of_row, classes.of_output)
