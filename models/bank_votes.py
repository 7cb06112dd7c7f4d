"""The answers that a bank's labels were decided from, `votes.json` beside its manifest.

They travel with the bank, so that it can be decided anew, merged and drafted again where the session is not. Nothing in
them opens anything: no invitation, no address, and of each annotator a pseudonym.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.agreement import Place, core_or_not, fleiss_kappa, vote_table
from models.bank import Bank, Feature, Votes
from models.errors import BankError

VOTES = "votes.json"
PSEUDONYM = re.compile(r"annotator-[0-9a-f]{10}")

Row = tuple[int, int]
"""Class index and feature index."""


class KeptAnswer(BaseModel):
    """What one annotator said of one row."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    class_index: int = Field(ge=0)
    feature_index: int = Field(ge=0)
    annotator: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Pseudonym, as `pseudonym` makes it.")
    kind: Place
    confidence: float | None = Field(None, ge=1, le=5, description="1 (not at all) to 5 (completely).")
    reason: str = Field("", max_length=4000, description="In the annotator's words: foreign text wherever it is shown.")
    seconds: float | None = Field(None, ge=0, allow_inf_nan=False, description="Time spent on the panel.")

    @property
    def row(self) -> Row:
        """The row it is about."""
        return self.class_index, self.feature_index


class BankVotes(BaseModel):
    """The whole of `votes.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    answers: tuple[KeptAnswer, ...]

    @model_validator(mode="after")
    def _one_answer_each(self) -> BankVotes:
        given = Counter((answer.row, answer.annotator) for answer in self.answers)
        if twice := [key for key, times in given.items() if times > 1]:
            (class_index, feature_index), annotator = twice[0]
            raise ValueError(f"{annotator} answers class {class_index}, feature {feature_index} twice")
        return self

    def as_bytes(self) -> bytes:
        """The file: answers by row and annotator, so that the same answers are the same bytes."""
        ordered = sorted(self.answers, key=lambda answer: (*answer.row, answer.annotator))
        return (BankVotes(answers=tuple(ordered)).model_dump_json(indent=1) + "\n").encode()

    def counts(self) -> dict[Row, Votes]:
        """Answers by kind of each row that has any."""
        found: dict[Row, Counter[str]] = {}
        for answer in self.answers:
            found.setdefault(answer.row, Counter())[answer.kind] += 1
        return {row: Votes.model_validate(kinds) for row, kinds in found.items()}

    @property
    def annotators(self) -> tuple[str, ...]:
        """Their pseudonyms, sorted."""
        return tuple(sorted({answer.annotator for answer in self.answers}))


def read_votes(bank: Bank) -> BankVotes | None:
    """The answers kept with a bank; None where there are none.

    Raises:
        BankError: the file is damaged, or its answers are not those that the manifest counts.
    """
    if VOTES not in bank.manifest.files:
        return None
    try:
        votes = BankVotes.model_validate_json(Path(bank.path, VOTES).read_bytes())
    except (OSError, ValidationError) as error:
        raise BankError(
            f"bank {bank.name!r} is damaged: {VOTES} cannot be read: {error}"[:500], field="bank"
        ) from error
    require_own(votes, bank.manifest.features)
    return votes


def require_own(votes: BankVotes, features: Iterable[Feature]) -> None:
    """Answers must be about rows of the bank, and as many of each kind as the manifest counts.

    Raises:
        BankError: they are of another bank.
    """
    counted = {(feature.class_index, feature.feature_index): feature.votes for feature in features}
    for row, found in votes.counts().items():
        if counted.get(row) != found:
            raise BankError(
                f"{VOTES} does not belong to the bank: of class {row[0]}, feature {row[1]} it has {found!r}, the "
                f"manifest {counted.get(row)!r}",
                field="bank",
            )


def pseudonym(annotator: str) -> str:
    """The name an annotator has in banks that are passed on: the same for the same person, and not their own.

    A hash, so that one person in two sessions counts once. Whoever guesses the name can check the guess. A pseudonym
    stays what it is, so that answers may go from a bank into a session and back.
    """
    if PSEUDONYM.fullmatch(annotator):
        return annotator
    return "annotator-" + hashlib.sha256(annotator.strip().casefold().encode()).hexdigest()[:10]


def kappas(votes: Iterable[Votes]) -> tuple[float | None, float | None]:
    """Fleiss' kappa of the three kinds, and of core or spurious.

    Returns:
        None in place of a figure that is not defined: no row has two answers, or all answers are the same.
    """
    table = vote_table(votes)
    three, two = (
        None if np.isnan(value := fleiss_kappa(one)) else round(value, 4) for one in (table, core_or_not(table))
    )
    return three, two
