"""The OpenAPI document as FastAPI makes it, with what it leaves out and without what is not so."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from service.problems import ProblemDetails, problem_responses
from service.tensors import InferRequest

REPLACED = ("HTTPValidationError", "ValidationError")
"""FastAPI's own error schemas, which it adds for every parameter; here all errors are problem documents."""


def complete(app: FastAPI) -> None:
    """Let `app` describe its errors as they are."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        schemas = document["components"]["schemas"]
        for model in (ProblemDetails, InferRequest):
            details = model.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas |= details.pop("$defs", {})
            schemas[model.__name__] = details
        for name in REPLACED:
            schemas.pop(name, None)
        refused = problem_responses("invalid")[422]
        for path in document["paths"].values():
            for operation in path.values():
                if "application/json" in operation["responses"].get("422", {}).get("content", {}):
                    operation["responses"]["422"] = refused
        return document

    app.openapi = openapi  # type: ignore[method-assign]
