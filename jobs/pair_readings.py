"""The figures of a changed picture and its control that several measurements report, and how they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from jobs.figures import Estimate, generator_of, nats, percent, points
from jobs.mean_changes import Values
from jobs.measurement import Scope
from jobs.pairs import Pairs, Rows
from jobs.readings import Reading
from jobs.sections import Entry, Metric, Worse
from models.bank import Label

Control = Literal["area", "energy"]
"""What a control has in common with what it controls."""

ELSEWHERE: dict[Control, str] = {"area": "the same elsewhere", "energy": "noise of the same energy elsewhere"}

_WORSE: tuple[Worse, Worse] = ("higher", "lower")
"""Of what spurious features cost, and of the accuracy without them; the reverse for core features."""

OTHER: dict[Label, Label] = {"spurious": "core", "core": "spurious"}
"""What is left to go by where features of a label are taken away."""


class PairReadings:
    """Accuracy, control difference and evidence where features of one label are changed.

    Attributes:
        label: of the features.
        difference: the figure that may be tested.
    """

    def __init__(self, label: Label, act: str, of: str | None = None, control: Control = "area") -> None:
        """How they are read.

        Args:
            label: of the features.
            act: what is done to them, before "the ... features", e.g. "{part} in place of".
            of: what the masks cover, where that is not all features of the label; names the metrics too.
            control: what controls are matched in; with those of the same energy accuracy is left out, which is that
                beside the usual ones.
        """
        what, elsewhere = of or f"{label} features", ELSEWHERE[control]
        name = (of or label).replace(" ", "_").replace("-", "_")
        matched = "control" if control == "area" else control
        worse, worse_accuracy = _WORSE if label == "spurious" else _WORSE[::-1]
        self.label = label
        self._accuracy = Reading(
            Metric(
                name=f"{OTHER[label] if of is None else name}_accuracy",
                title=f"Accuracy without the {what}",
                unit="share",
                worse=worse_accuracy,
                about=f"Share of pictures classified right with the {what} changed.",
            ),
            f"With {act} the {what},",
            f"of the pictures {{subject}} are classified right; {worse_accuracy} is worse",
            percent,
        )
        self.difference = Reading(
            Metric(
                name=f"{name}_{matched}_difference",
                title=f"Cost of the {what} beyond {elsewhere}",
                unit="points",
                worse=worse,
                about=f"Accuracy with {elsewhere} less accuracy with the {what} changed.",
            ),
            f"{act} the {what} costs",
            f"of accuracy on the pictures {{subject}} beyond {elsewhere}; {worse} is worse",
            points,
        )
        self._evidence = Reading(
            Metric(
                name=f"{name}_evidence" if control == "area" else f"{name}_{matched}_evidence",
                title=f"Evidence of the {what} beyond {elsewhere}",
                unit="nats",
                worse=worse,
                about=f"Log-odds of the class with {elsewhere} less those with the {what} changed.",
            ),
            f"{act} the {what} takes",
            f"of evidence on the pictures {{subject}} beyond {elsewhere}; {worse} is worse",
            nats,
        )
        all_three = (self._accuracy, self.difference, self._evidence)
        self._readings = all_three if control == "area" else all_three[1:]

    def entries(self, section: str, pairs: Pairs, scope: Scope, part: str = "", *, tested: bool) -> Iterator[Entry]:
        """The figures of the classes that have such features, for one part.

        Args:
            section: name of the measurement, for the seeds.
            tested: whether the difference is tested; 0 must say that nothing is wrong, and more be worse.
        """
        of = classes_with(scope, self.label)
        estimate_of = {
            self._accuracy: pairs.accuracy_of_second,
            self.difference: pairs.difference,
            self._evidence: pairs.evidence,
        }
        for reading in self._readings:
            found = estimates(section, reading, estimate_of[reading], scope, of, part)
            p_values = {c: pairs.p_value(c, part) for c in of} if tested and reading is self.difference else None
            yield from reading.entries(scope.bank, found, part or None, p_values)

    def values(
        self, control: Rows, tested: Rows, parts: Sequence[str | None], kept: NDArray[np.bool_] | None = None
    ) -> Iterator[Values]:
        """What pictures add to these figures, from rows as `Pairs.add` takes them in."""
        at = np.arange(tested.row.size) if kept is None else np.flatnonzero(kept)
        right = {own: own.correct.mean(axis=1) for own in (control, tested)}
        found = {
            self._accuracy: (1, right[tested]),
            self.difference: (2, right[control] - right[tested]),
            self._evidence: (np.inf, (control.log_odds - tested.log_odds).mean(axis=1)),
        }
        row, class_index, part = tested.row[at], tested.class_index[at], tested.part[at]
        for reading in self._readings:
            reach, value = found[reading]
            yield Values(reading.metric.name, reach, row, class_index, value[at], parts, part)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Of the figures."""
        return tuple(reading.metric for reading in self._readings)


def classes_with(scope: Scope, label: Label) -> list[int]:
    """The classes of an audit that have features of a label."""
    return [c for c in scope.classes if any(feature.label == label for feature in scope.bank.features(c))]


def estimates(
    section: str,
    reading: Reading,
    estimate: Callable[[int, str, np.random.Generator], Estimate],
    scope: Scope,
    of: Sequence[int],
    part: str,
) -> dict[int, Estimate]:
    """One figure of several classes, each with draws of its own."""
    name = reading.metric.name
    return {c: estimate(c, part, generator_of(scope.seed, section, name, part, c)) for c in of}
