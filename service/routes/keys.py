"""API keys: make, list and revoke them. Needs a key with scope `admin`; the first one comes from the command line."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response

from service.auth import require
from service.keys import KeyStore
from service.problems import problem_responses
from service.schemas import Key, KeyList, KeyRequest, NewKey

router = APIRouter(prefix="/v1/keys", tags=["keys"], dependencies=[Depends(require("admin"))])


@router.post(
    "",
    operation_id="create_key",
    status_code=201,
    responses=problem_responses("malformed", "unauthorised", "forbidden", "invalid", "unavailable"),
)
def create_key(request: Request, wanted: KeyRequest, response: Response) -> NewKey:
    """Make a key. The answer holds its token, which is shown this once and kept nowhere.

    There is no `Idempotency-Key` here: remembering the answer would mean keeping the token.
    """
    keys: KeyStore = request.app.state.keys
    record, token = keys.create(wanted.name, wanted.scopes)
    response.headers["Location"] = f"/v1/keys/{record.id}"
    response.headers["Cache-Control"] = "no-store"
    return NewKey(**record.model_dump(exclude={"sha256"}), token=token)


@router.get("", operation_id="list_keys", responses=problem_responses("unauthorised", "forbidden", "unavailable"))
def list_keys(request: Request) -> KeyList:
    """All keys that have not been revoked, without their tokens."""
    keys: KeyStore = request.app.state.keys
    return KeyList(keys=[Key(**record.model_dump(exclude={"sha256"})) for record in keys.list()])


@router.delete(
    "/{key}",
    operation_id="revoke_key",
    status_code=204,
    responses=problem_responses("unauthorised", "forbidden", "not-found", "unavailable"),
)
def revoke_key(request: Request, key: Annotated[str, Path(description="Id of the key.")]) -> None:
    """Make a key worthless, everywhere within seconds."""
    keys: KeyStore = request.app.state.keys
    keys.revoke(key)
