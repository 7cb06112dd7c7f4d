"""What a job works on, as the command line names it: a file, which is uploaded first, or the id of an uploaded one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer
from pydantic import BaseModel, ValidationError

from jobs.errors import in_words
from service.commands.classifiers import read_spec, send_classifier
from service.commands.datasets import send_dataset

if TYPE_CHECKING:
    from service.client import Client

IDENTIFIER = re.compile(r"[0-9a-f]{64}")

Request = TypeVar("Request", bound=BaseModel)


def dataset_id(client: Client, given: str) -> str:
    """Id of a data set; a file is uploaded."""
    return given if IDENTIFIER.fullmatch(given) else send_dataset(client, _file(given)).id


def classifier_id(client: Client, given: str, spec: Path | None) -> str:
    """Id of a classifier; a file is uploaded with its declaration, `FILE.spec.json` where `spec` is None."""
    if IDENTIFIER.fullmatch(given):
        return given
    file = _file(given)
    return send_classifier(client, file, read_spec(spec or file.with_suffix(".spec.json"))).id


def pairs(texts: Sequence[str] | None, hint: str) -> dict[str, str] | None:
    """THEIRS=OURS, repeated, as a mapping; None where nothing is given. `hint` is the option's name."""
    found = {}
    for text in texts or ():
        theirs, sign, ours = text.partition("=")
        if not sign or not theirs or not ours:
            raise typer.BadParameter(f"{text!r} is not THEIRS=OURS", param_hint=hint)
        found[theirs] = ours
    return found or None


def asked(kind: type[Request], fields: dict[str, Any]) -> Request:
    """The request that some fields make, None left out; parameters out of range are wrong usage."""
    try:
        return kind.model_validate({name: value for name, value in fields.items() if value is not None})
    except ValidationError as error:
        raise typer.BadParameter(
            "; ".join(f"{'.'.join(map(str, e['loc']))}: {in_words(e['msg'])}" for e in error.errors())
        ) from error


def _file(given: str) -> Path:
    path = Path(given)
    if not path.is_file():
        raise typer.BadParameter(f"{given!r} is neither a file nor an id of 64 hexadecimal digits")
    return path
