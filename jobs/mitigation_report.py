"""What a mitigation brought and what it cost: figures before and after, side by side, and their paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from jobs.figures import Figure
from jobs.findings import Model
from jobs.mitigation_fit import ClassFit
from jobs.mitigation_request import MitigationRequest
from jobs.report import BankSubject, ClassifierSubject

METHODS: dict[str, tuple[str, ...]] = {
    "spufix": (
        "SpuFix (Neuhaus et al., ICCV 2023), transferred: over the pictures of a class, the direction in which the "
        "classifier's own evidence varies together with each spurious feature of the bank; what a picture has along "
        "these directions beyond the class's average is taken off the class's score. Evidence below the average stays. "
        "Scores of other classes are the same, bit by bit.",
    ),
    "head-refit": (
        "Head refit (Spuriosity Rankings, NeurIPS 2023): the last linear layer is fitted anew on the pictures of each "
        "class that show its spurious features least, the features staying as they are: multinomial logistic "
        "regression on what has to be added to the present scores, with a penalty on that, to convergence (L-BFGS, at "
        "most 200 rounds).",
    ),
}
JUDGED = (
    "Both classifiers are audited on the same pictures with the same noise, and nothing was fitted on these pictures. "
    "Differences are paired by picture: before less after. Those of the swap gap rest on what the swapped pictures "
    "turn from right to wrong, and their 95 % intervals on the spread of that over pictures.",
    "Donors of the swaps come from the whole data set, also from pictures that were fitted on.",
)

RESERVATIONS = (
    "What was changed acts on features that somebody labelled; reliance on others stays.",
    "A lower swap gap on these pictures is no proof that the classifier looks at the object instead: read the accuracy "
    "beside it.",
)


class Change(Model):
    """One figure before and after."""

    name: Literal["clean_accuracy", "swap_gap", "swap_other_accuracy"]
    title: str
    worse: Literal["higher", "lower"] = Field(description="Which direction of the figure itself is worse.")
    before: Figure
    after: Figure
    difference: Figure = Field(description="Before less after, paired by picture.")


class ClassChange(Model):
    """What was done for a class, and what came of it."""

    name: str
    done: ClassFit | None = Field(description="Null for classes that are audited only.")
    changes: tuple[Change, ...]


class MitigationReport(Model):
    """`mitigation.json`."""

    schema_version: Literal[1] = 1
    mitigation: str = Field(description="Id of the job, the digest of its inputs.")
    code_version: str
    answer: str = Field(description="The outcome in plain words.")
    outcome: Literal["lower", "higher", "not_shown"] = Field(
        description="What became of the swap gap, by the interval of its difference."
    )
    before: ClassifierSubject
    after: ClassifierSubject = Field(description="The changed classifier, which can be audited like any other.")
    patched: str = Field(description="Artefact with its file.")
    bank: BankSubject
    parameters: MitigationRequest
    fitted: int = Field(description="Pictures looked at for fitting.")
    judged: int = Field(description="Pictures that both classifiers were audited on.")
    loss: float | None = Field(None, description="head-refit: mean cross-entropy reached on its pictures, nats.")
    overall: tuple[Change, ...] = Field(description="Means over the classes.")
    classes: tuple[ClassChange, ...]
    method: tuple[str, ...]
    reservations: tuple[str, ...] = RESERVATIONS

    def to_json(self) -> bytes:
        """`mitigation.json`: equal reports give equal bytes."""
        return self.model_dump_json(indent=1).encode() + b"\n"


def outcome_of(overall: Sequence[Change]) -> Literal["lower", "higher", "not_shown"]:
    """What became of the swap gap."""
    gap = next(change.difference for change in overall if change.name == "swap_gap")
    if gap.low is None or gap.high is None or gap.low <= 0 <= gap.high:
        return "not_shown"
    return "lower" if gap.low > 0 else "higher"


def answer_of(overall: Sequence[Change]) -> str:
    """The outcome and its cost, in two sentences."""
    gap, accuracy = (
        next(change for change in overall if change.name == name) for name in ("swap_gap", "clean_accuracy")
    )
    verb = {"lower": "lowers", "higher": "RAISES", "not_shown": "is not shown to change"}[outcome_of(overall)]
    first = f"The mitigation {verb} what spurious features of other classes cost: {_from_to(gap)}."
    return f"{first} Accuracy on pictures as they are: {_from_to(accuracy)}."


def _from_to(change: Change) -> str:
    values = change.before.value, change.after.value
    if values[0] is None or values[1] is None or change.difference.value is None:
        return change.difference.withheld or "withheld"
    low, high = change.difference.low or 0.0, change.difference.high or 0.0
    points = f"{100 * change.difference.value:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"
    shown = f"{100 * values[0]:.1f} % before, {100 * values[1]:.1f} % after; before less after {points}"
    return shown.replace("-", "−")
