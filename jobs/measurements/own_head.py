"""Which of the classifier's own features carry the evidence of the bank's spurious features; see `jobs.own_head`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from jobs import own_head
from jobs.measurement import Batch, Measurement, Parameters, Scope, Tally
from jobs.sections import Metric


class OwnHeadParameters(Parameters):
    """Of the measurement."""

    features: int = Field(5, ge=1, le=50, description="Own features listed for each spurious feature.")


class OwnHead(Measurement):
    """Adds what each own feature adds to the score of the picture's class, and how strongly cues show."""

    name: ClassVar[str] = own_head.NAME
    title: ClassVar[str] = own_head.TITLE
    summary: ClassVar[str] = (
        "Which of the classifier's own features carry the evidence of spurious features, and how much of the class's "
        "score goes along them: transfer directions through its last linear layer."
    )
    needs: ClassVar[tuple[str, ...]] = (
        "a classifier whose scores come from a linear layer",
        "spurious features",
    )
    parameters: ClassVar[type[Parameters]] = OwnHeadParameters
    columns: ClassVar[tuple[pa.Field, ...]] = (
        pa.field(
            own_head.EVIDENCE, pa.list_(pa.float32()), metadata={"about": "what each own feature adds to the score"}
        ),
        pa.field(
            own_head.ACTIVATION, pa.list_(pa.float32()), metadata={"about": "of the class's spurious features by rank"}
        ),
        pa.field(own_head.WITHOUT, pa.string(), metadata={"about": "why there are no own features"}),
    )
    own_features: ClassVar[bool] = True
    metrics: ClassVar[tuple[Metric, ...]] = own_head.METRICS

    def noted(self, batch: Batch, parameters: Any, scope: Scope) -> Mapping[str, Any]:
        """psi of the picture's own class, and the activation of its spurious features."""
        phi = batch.features.phi.float().cpu().numpy()
        evidence: list[np.ndarray | None] = []
        activation: list[np.ndarray | None] = []
        for place, view in enumerate(batch.views):
            spurious = [feature.feature_index for feature in batch.bank.spurious(view.class_index)]
            output = None if batch.own is None or isinstance(batch.own, str) else batch.own.output_of(view.class_index)
            if not spurious or output is None or batch.own is None or isinstance(batch.own, str):
                evidence.append(None)
                activation.append(None)
                continue
            evidence.append(batch.own.head.weight[output] * batch.own.features[place])
            activation.append(phi[place, spurious])
        reason = batch.own if isinstance(batch.own, str) else None
        return {
            own_head.EVIDENCE: pa.array(evidence, pa.list_(pa.float32())),
            own_head.ACTIVATION: pa.array(activation, pa.list_(pa.float32())),
            own_head.WITHOUT: pa.array([reason] * len(batch.views), pa.string()),
        }

    def tally(self, scope: Scope, parameters: OwnHeadParameters) -> Tally:
        """Two passes: directions, then what lies along them."""
        return own_head.OwnHeadTally(scope, parameters.features)


MEASUREMENT = OwnHead()
