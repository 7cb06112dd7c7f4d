"""What an audit found: figures per feature and class and over all classes, and a verdict per class."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from jobs.figures import Figure
from models.bank import Kind, Label, Votes

Verdict = Literal["relies", "not_shown", "cannot_tell", "no_spurious_features"]


class Model(BaseModel):
    """Findings are written once and compared byte by byte."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FeatureFindings(Model):
    """What noise on one labelled feature does."""

    feature: int = Field(description="Channel of the backbone's penultimate layer.")
    rank: int = Field(description="Rank by importance within the class, from 1.")
    label: Label
    kind: Kind
    votes: Votes
    importance: float = Field(description="IV(c, j) in logit units, from the bank.")
    sensitivity: Figure = Field(description="Clean accuracy less accuracy with noise on the feature.")
    control_difference: Figure = Field(description="Accuracy under the area-matched control less accuracy tested.")
    evidence: Figure = Field(description="Log-odds under the control less those tested, in nats.")
    overlap: float | None = Field(description="Mean share of the mask that its control covers too, in [0, 1].")
    energy: float | None = Field(description="Mean ||x' - x||_2 of the noise on the feature.")
    control_energy: float | None = Field(description="Mean ||x' - x||_2 of the control.")


class ClassFindings(Model):
    """What was measured on the pictures of one class."""

    name: str
    index: int = Field(description="Class index in the bank.")
    verdict: Verdict
    swap_gap: Figure = Field(description="Accuracy with swaps within the class less that with swaps from others.")
    swap_same_accuracy: Figure = Field(description="With the spurious features of another picture of the class.")
    swap_other_accuracy: Figure = Field(description="With the spurious features of a picture of another class.")
    swap_evidence: Figure = Field(description="The gap in log-odds, in nats.")
    swap_pull: Figure = Field(
        description="Share of pictures of other classes taken for this one once they show its spurious features, less "
        "the share with those of their own class."
    )
    evidence_balance: Figure = Field(description="Spurious evidence less core evidence, in nats.")
    reading: str = Field(description="The verdict as one sentence.")
    p_value: float | None = Field(description="One-sided, of the strongest test made, for all together.")
    adjusted_p_value: float | None = Field(description="The same after Benjamini-Hochberg over the classes tested.")
    clean_accuracy: Figure = Field(description="Without noise.")
    core_accuracy: Figure = Field(description="With noise on the spurious features.")
    spurious_drop: Figure = Field(description="Clean accuracy less core accuracy, paired by picture.")
    spurious_control_accuracy: Figure = Field(description="With that noise elsewhere (area-matched control).")
    spurious_control_difference: Figure = Field(description="The latter less core accuracy, paired by picture.")
    spurious_evidence: Figure = Field(description="Log-odds under the control less those tested, in nats.")
    spurious_overlap: float | None = Field(description="Mean share of the spurious mask its control covers too.")
    spurious_accuracy: Figure = Field(description="With noise on the core features.")
    core_control_accuracy: Figure = Field(description="With that noise elsewhere (area-matched control).")
    core_control_difference: Figure = Field(description="The latter less spurious accuracy, paired by picture.")
    core_evidence: Figure = Field(description="Log-odds under the control less those tested, in nats.")
    core_overlap: float | None = Field(description="Mean share of the core mask its control covers too.")
    rcs: Figure = Field(description="Relative core sensitivity.")
    features: list[FeatureFindings]


class Means(Model):
    """One figure over all classes, in both ways of averaging."""

    sample_mean: Figure = Field(description="Over all pictures together.")
    class_mean: Figure = Field(description="Over the classes with pictures enough, each weighing the same.")


class Overall(Model):
    """Figures over all audited classes."""

    swap_gap: Means = Field(description="Accuracy swapping within classes less that swapping between; the headline.")
    swap_same_accuracy: Means
    swap_other_accuracy: Means
    swap_evidence: Means
    swap_pull: Means
    evidence_balance: Means = Field(description="Spurious evidence less core evidence, in nats.")
    clean_accuracy: Means
    core_accuracy: Means
    spurious_drop: Means
    spurious_control_accuracy: Means
    spurious_control_difference: Means
    spurious_evidence: Means
    spurious_accuracy: Means
    core_control_accuracy: Means
    core_control_difference: Means
    core_evidence: Means
    rcs: Means


class Findings(Model):
    """Everything measured."""

    overall: Overall
    classes: list[ClassFindings] = Field(description="Classes with labelled features and audited pictures.")
    without_pictures: list[str] = Field(description="Classes with labelled features and no audited pictures.")
    skipped: dict[str, int] = Field(description="Samples not audited, by reason.")
