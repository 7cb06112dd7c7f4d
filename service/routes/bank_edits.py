"""Banks made of banks, without new votes: decided anew, renamed, merged. Each is published as a version of its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from jobs.bank_publication import publish_bank
from jobs.queue import JobQueue
from models.bank_edit import Edited, Kept, merge, rename, rethreshold
from models.bank_votes import read_votes
from service.auth import Principal, require
from service.banks import Banks
from service.idempotency import Done, IdempotencyKey, answer_once, fingerprint_of
from service.problems import problem_responses
from service.routes.banks import BankName, describe
from service.schemas import BankSummary

router = APIRouter(prefix="/v1/banks", tags=["banks"])

Annotator = Annotated[Principal, Depends(require("annotate"))]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", examples=["birds"])]
Title = Annotated[str | None, Field(min_length=1, max_length=300, description="As it is if left out.")]
Threshold = Annotated[int, Field(ge=1, le=1000, description="Votes against the main object that make a row spurious.")]
Of = Annotated[
    int | None,
    Field(
        ge=1,
        le=1000,
        description="Answers the threshold is chosen for: rows with more or fewer need the same share of theirs. If "
        "left out, the threshold is a number of votes, however many a row has.",
    ),
]
RESPONSES = {
    201: {"description": "Published.", "headers": {"Location": {"schema": {"type": "string"}}}},
    **problem_responses(
        "unauthorised", "forbidden", "unavailable", "unknown-bank", "malformed", "conflict", "invalid", "key-reused"
    ),
}


class Rethreshold(BaseModel):
    """Another threshold for the same answers."""

    model_config = ConfigDict(extra="forbid")

    threshold: Threshold
    of: Of = None
    name: Name | None = Field(None, description="What to call the result; the bank's own name if left out.")


class Rename(BaseModel):
    """Another name for the same bank."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    title: Title = None


class Merge(BaseModel):
    """Two banks of the same network in one."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    other: str = Field(alias="with", description="The other bank: name, `name@version` or digest.")
    name: Name = Field(description="What to call the result.")
    title: Title = None
    threshold: Threshold | None = Field(
        None, description="For rows that both have and whose answers differ; that of the banks if left out."
    )
    of: Of = None


@router.post(
    "/{bank}/rethreshold",
    operation_id="rethreshold_bank",
    status_code=201,
    response_model=BankSummary,
    responses=RESPONSES,
)
def decide_anew(
    request: Request, principal: Annotator, bank: BankName, body: Rethreshold, key: IdempotencyKey = None
) -> Response:
    """Decide the labels anew by another threshold and publish them: the next version of the bank, or another name.

    The answers kept with the bank, or else its counts, are what is decided from. Rows without answers stay as they are.
    """

    def edit() -> tuple[Edited, str | None]:
        kept = _kept(request, bank)
        edited = rethreshold(kept, body.threshold, body.of)
        if body.name in (None, kept.bank.name):
            return edited, kept.bank.digest
        return replace(edited, manifest=edited.manifest.model_copy(update={"name": body.name})), None

    return _publish(request, principal, key, body, edit)


@router.post(
    "/{bank}/rename", operation_id="rename_bank", status_code=201, response_model=BankSummary, responses=RESPONSES
)
def give_name(
    request: Request, principal: Annotator, bank: BankName, body: Rename, key: IdempotencyKey = None
) -> Response:
    """Publish a bank under another name, which must be free. The bank itself stays, as every published one does."""

    def edit() -> tuple[Edited, str | None]:
        return rename(_kept(request, bank), body.name, body.title), None

    return _publish(request, principal, key, body, edit)


@router.post(
    "/{bank}/merge", operation_id="merge_bank", status_code=201, response_model=BankSummary, responses=RESPONSES
)
def join(request: Request, principal: Annotator, bank: BankName, body: Merge, key: IdempotencyKey = None) -> Response:
    """Publish the rows of two banks of the same network as one, under a name that is free or that of the first.

    Rows that both have get the answers of both; contradictory answers of one annotator are refused, and so are other
    weights or classes.
    """

    def edit() -> tuple[Edited, str | None]:
        first, second = _kept(request, bank), _kept(request, body.other)
        edited = merge(first, second, body.name, body.title, body.threshold, body.of)
        return edited, first.bank.digest if body.name == first.bank.name else None

    return _publish(request, principal, key, body, edit)


def _publish(
    request: Request,
    principal: Principal,
    key: str | None,
    body: BaseModel,
    edit: Callable[[], tuple[Edited, str | None]],
) -> Response:
    """`edit` gives the new bank and the version that it must follow; None for a name that must be free."""
    queue: JobQueue = request.app.state.queue

    def act() -> Done:
        edited, parent = edit()
        bank = publish_bank(
            queue.settings,
            edited.manifest,
            edited.files,
            edited.provenance,
            votes=edited.votes,
            parent=parent,
            new=parent is None,
        )
        return Done(describe(bank).model_dump_json(exclude_none=True), f"/v1/banks/{bank.digest}")

    return answer_once(request, principal, key, fingerprint_of(body.model_dump_json()), act)


def _kept(request: Request, name: str) -> Kept:
    banks: Banks = request.app.state.banks
    bank = banks.get(name)
    return Kept(bank, read_votes(bank))
