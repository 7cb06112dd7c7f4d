"""What a comparison is asked for."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

MOST_OTHERS = 200


class ComparisonRequest(BaseModel):
    """Two audits of the same pictures, and further ones."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)

    audit: str = Field(description="Id of the audit.")
    baseline: str = Field(description="Id of the audit that it is compared with.")
    others: tuple[str, ...] = Field(
        (),
        alias="with",
        max_length=MOST_OTHERS,
        description="Ids of further audits; with at least three in all the answer has the effective robustness of all.",
    )
