"""What a mitigation brought and what it cost: figures before and after, side by side, and their paired differences."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from jobs.comparison import Comparison, Difference
from jobs.figures import percent, points
from jobs.findings import Model
from jobs.mitigation_fit import ClassFit
from jobs.mitigation_request import MitigationRequest
from jobs.report import BankSubject, ClassifierSubject

Outcome = Literal["lower", "higher", "not_shown"]
GAP, ACCURACY = "swap_gap", "clean_accuracy"

METHODS: dict[str, tuple[str, ...]] = {
    "spufix": (
        "SpuFix (Neuhaus et al., ICCV 2023), transferred: over the pictures of a class, the direction in which the "
        "classifier's own evidence varies together with each spurious feature of the bank; what a picture has along "
        "these directions beyond the class's average is taken off the class's score. Evidence below the average stays. "
        "Scores of other classes are the same, bit by bit (to rounding where a network in safetensors was exported to "
        "ONNX for it).",
    ),
    "head-refit": (
        "Head refit (Spuriosity Rankings, NeurIPS 2023): the last linear layer is fitted anew on the pictures of each "
        "class that show its spurious features least, the features staying as they are: multinomial logistic "
        "regression on what has to be added to the present scores, with a penalty on that, to convergence (L-BFGS, at "
        "most 200 rounds).",
    ),
}
FORMER: dict[str, tuple[str, ...]] = {
    "spufix": (
        "The classifier had SpuFix behind its head already. For the scores that it acts on now it takes the place of "
        "the former; off other scores the former is still taken.",
    ),
    "head-refit": (
        "The classifier had SpuFix behind its head. That was the evidence of its former weights and is gone: the head "
        "is the same as if the classifier without SpuFix had been refitted.",
    ),
}
"""Said where SpuFix stood behind the head of the classifier that was changed."""

JUDGED = (
    "Both classifiers are audited on the same pictures with the same noise and the same swaps, and nothing was fitted "
    "on these pictures. Differences are paired by picture: after less before.",
    "Donors of the swaps come from the whole data set, also from pictures that were fitted on.",
)

RESERVATIONS = (
    "What was changed acts on features that somebody labelled; reliance on others stays.",
    "A lower swap gap on these pictures is no proof that the classifier looks at the object instead: read the accuracy "
    "beside it.",
)


class MitigationReport(Model):
    """`mitigation.json`."""

    schema_version: Literal[1] = 1
    mitigation: str = Field(description="Id of the job, the digest of its inputs.")
    code_version: str
    answer: str = Field(description="The outcome in plain words.")
    outcome: Outcome = Field(description="What became of the swap gap, by the interval of its difference.")
    before: ClassifierSubject
    after: ClassifierSubject = Field(description="The changed classifier, which can be audited like any other.")
    patched: str = Field(description="Artefact with its file.")
    bank: BankSubject
    parameters: MitigationRequest
    fitted: int = Field(description="Pictures looked at for fitting.")
    judged: int = Field(description="Pictures that both classifiers were audited on.")
    loss: float | None = Field(None, description="head-refit: mean cross-entropy reached on its pictures, nats.")
    classes: tuple[ClassFit, ...] = Field(description="What was done for each class.")
    comparison: Comparison = Field(description="Its audit is of the changed classifier, the baseline of the old one.")
    method: tuple[str, ...]
    reservations: tuple[str, ...] = RESERVATIONS

    def to_json(self) -> bytes:
        """`mitigation.json`: equal reports give equal bytes."""
        return self.model_dump_json(indent=1).encode() + b"\n"


def found_of(comparison: Comparison, metric: str, of: str | None = None) -> Difference | None:
    """The difference of a figure of one class, or of its mean over classes."""
    mean = "class" if of is None else None
    return next(
        (found for found in comparison.differences if (found.metric, found.mean, found.of) == (metric, mean, of)), None
    )


def outcome_of(comparison: Comparison) -> Outcome:
    """What became of the swap gap."""
    gap = found_of(comparison, GAP)
    if gap is None or gap.figure.low is None or gap.figure.high is None or gap.figure.low <= 0 <= gap.figure.high:
        return "not_shown"
    return "lower" if gap.figure.high < 0 else "higher"


def answer_of(comparison: Comparison) -> str:
    """The outcome and its cost, in two sentences."""
    verb = {"lower": "lowers", "higher": "raises", "not_shown": "is not shown to change"}[outcome_of(comparison)]
    gap, accuracy = (_from_to(found_of(comparison, metric)) for metric in (GAP, ACCURACY))
    first = f"The mitigation {verb} the swap gap, the accuracy lost to spurious features of other classes: {gap}."
    return f"{first} Accuracy on pictures as they are: {accuracy}."


def _from_to(found: Difference | None) -> str:
    if found is None or found.audit is None or found.baseline is None or found.figure.value is None:
        return "withheld" if found is None else (found.figure.withheld or "withheld")
    change = " to ".join(points(end) for end in (found.figure.low or 0.0, found.figure.high or 0.0))
    return (
        f"{percent(found.baseline)} before, {percent(found.audit)} after, a change of {points(found.figure.value)} "
        f"(95 % interval {change})"
    )
