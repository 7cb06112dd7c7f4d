"""Forms of a file and what its owner declares of it, as JSON in the field `spec`."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from jobs.errors import in_words
from service.problems import FieldError, Problem
from service.uploads import upload_form

Declaration = TypeVar("Declaration", bound=BaseModel)


def form(file: str, kind: type[BaseModel]) -> dict[str, Any]:
    """The OpenAPI description of such a form.

    Args:
        file: what the file is.
        kind: of the declaration.
    """
    declared = {
        "type": "string",
        "contentMediaType": "application/json",
        "description": f"What it declares: a `{kind.__name__}` as JSON.",
    }
    made = upload_form(file, {"spec": declared}, required=["spec"])
    made["requestBody"]["content"]["multipart/form-data"]["encoding"] = {"spec": {"contentType": "application/json"}}
    return made


def read_declaration(kind: type[Declaration], text: str | None) -> Declaration:
    """What the field `spec` of a form declares.

    Raises:
        Problem: `malformed` for what is no JSON, `invalid` with the fields at fault for all else.
    """
    if text is None:
        raise Problem(
            "invalid",
            "The form has no specification.",
            field="spec",
            remedy=f"Send a {kind.__name__} as JSON in the field 'spec'.",
        )
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        errors = [FieldError(field=".".join(map(str, ("spec", *e["loc"]))), detail=in_words(e["msg"])) for e in faults]
        problem = "malformed" if faults[0]["type"] == "json_invalid" else "invalid"
        first = errors[0]
        raise Problem(problem, f"{first.field}: {first.detail}", field=first.field, errors=errors) from error
