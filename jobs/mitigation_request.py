"""What a mitigation is asked for: everything that decides the changed classifier and what is said about it."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from jobs.audit_request import AuditRequest
from jobs.isolated_patch import Method

METHODS: dict[str, str] = {
    "spufix": "Takes the evidence that goes with spurious features off the scores of their classes: nodes added to an "
    "ONNX file, to which a network in safetensors is exported first (SpuFix, ICCV 2023).",
    "head-refit": "Fits the last linear layer anew on the pictures of each class that show its spurious features least "
    "(Spuriosity Rankings, NeurIPS 2023).",
}


class MitigationRequest(BaseModel):
    """Everything that decides a mitigation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    classifier: str = Field(description="Id of the classifier to change. It stays as it is; a changed one is added.")
    dataset: str = Field(description="Id of the data set whose pictures it is fitted on.")
    method: Method = Field(description="How it is changed.")
    bank: str = Field("planted", description="Feature bank, by name or digest.")
    held_out: str | None = Field(
        None,
        description="Id of the data set that both classifiers are audited on; where left out, those pictures of "
        "`dataset` that nothing is fitted on.",
    )
    fit_share: float = Field(
        0.5, gt=0, lt=1, description="Share of each class's pictures that is fitted on, without `held_out`."
    )
    classes: list[str] | None = Field(
        None, min_length=1, description="Bank classes to audit and change; all by default."
    )
    class_map: dict[str, str] | None = Field(
        None, description="Class name in a data set or the classifier -> class of the bank, where names differ."
    )
    apart: float = Field(
        0.05,
        gt=0,
        le=1,
        description="spufix: smallest eigenvalue of the Gram matrix of a class's directions; a ridge lifts it so far.",
    )
    lowest: int = Field(100, ge=2, le=10_000, description="head-refit: pictures of each class, least spurious first.")
    weight_decay: float = Field(
        1e-3, gt=0, le=100, description="head-refit: factor of half the squared change of standardised weights."
    )
    measurements: dict[str, dict[str, Any]] | None = Field(
        None, min_length=1, description="What the two audits measure; as usual where left out."
    )
    sigma: float = Field(0.25, gt=0, le=2, description="Strength of the audits' noise.")
    seed: int = Field(0, ge=0, lt=2**63, description="Of the split, the audits and the intervals.")
    batch_size: int = Field(32, ge=1, le=256, description="Pictures per forward.")

    @model_validator(mode="after")
    def _audits_are_possible(self) -> Self:
        if self.held_out == self.dataset:
            raise ValueError("held_out is the data set that is fitted on; leave it out, and the data set is split")
        self.audit(self.classifier)
        return self

    @property
    def judged(self) -> str:
        """Id of the data set that is audited on."""
        return self.held_out or self.dataset

    def audit(self, classifier: str) -> AuditRequest:
        """The audit of the classifier or of the changed one."""
        chosen: dict[str, Any] = {} if self.measurements is None else {"measurements": self.measurements}
        return AuditRequest(
            classifier=classifier,
            dataset=self.judged,
            bank=self.bank,
            classes=self.classes,
            class_map=self.class_map,
            sigma=self.sigma,
            seed=self.seed,
            batch_size=self.batch_size,
            **chosen,
        )
