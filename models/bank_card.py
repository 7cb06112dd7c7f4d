"""Where a bank comes from, as its card says it: entry `provenance` of `Manifest.card`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import BankError

PROVENANCE = "provenance"


class Provenance(BaseModel):
    """How the labels came about. Licence, labeller, version and parent are fields of the manifest itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    annotators: int | None = Field(None, ge=0, description="People whose answers the labels were decided from.")
    answers: int | None = Field(None, ge=0, description="Their answers.")
    threshold: int | None = Field(None, ge=1, description="Answers against the main object that make a row spurious.")
    of: int | None = Field(
        None, ge=1, description="Answers the threshold was chosen for; rows with more or fewer need the same share."
    )
    kappa: float | None = Field(None, description="Fleiss' kappa of the three kinds.")
    kappa_binary: float | None = Field(None, description="Fleiss' kappa of core or spurious.")
    draft: str | None = Field(None, description="Id of the discovery whose candidates were labelled.")
    dataset: str | None = Field(None, description="Id of the data set, which is a digest of its content.")
    encoder: str | None = Field(None, description="SHA-256 of the encoder's weights, `sha256:...`.")
    published: str | None = Field(None, description="When, UTC, ISO 8601.")
    edit: Literal["rethreshold", "rename", "merge", "relabel"] | None = Field(
        None, description="How it was made of other banks, where it was."
    )
    sources: tuple[str, ...] = Field((), description="Digests of the banks it was made of.")
    validated: dict[str, Any] | None = Field(None, description="Of the second round: share, its 95 % interval, rows.")


def read_provenance(card: dict[str, Any]) -> Provenance:
    """What the card states; an empty one of banks that state nothing.

    Raises:
        BankError: it is not of this layout.
    """
    try:
        return Provenance.model_validate(card.get(PROVENANCE, {}))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BankError(f"the card's provenance cannot be read: {where}: {first['msg']}", field="bank") from error


def with_provenance(card: dict[str, Any], provenance: Provenance) -> dict[str, Any]:
    """The card with another provenance."""
    return card | {PROVENANCE: provenance.model_dump(mode="json", exclude_defaults=True)}
