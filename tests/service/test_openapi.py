"""The OpenAPI document is complete: every operation is named, explained and guarded, every error described."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import pytest

from service.auth import OPEN_PATHS
from service.problems import MEDIA_TYPE

Operation = tuple[str, str, dict[str, Any]]


@pytest.fixture(scope="module")
def document(http: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = http.get("/openapi.json").json()
    return found


@pytest.fixture(scope="module")
def operations(document: dict[str, Any]) -> list[Operation]:
    """(method, path, operation) of everything in the document."""
    return [(method, path, operation) for path, item in document["paths"].items() for method, operation in item.items()]


def test_every_operation_has_a_name_of_its_own_and_says_what_it_does(operations: list[Operation]) -> None:
    names = [operation["operationId"] for _, _, operation in operations]
    assert len(names) == len(set(names))
    for method, path, operation in operations:
        assert operation["tags"], f"{method} {path}"
        assert len(operation["description"]) > 10, f"{method} {path}"
        for parameter in operation.get("parameters", []):
            assert parameter.get("description"), f"{method} {path}: {parameter['name']}"


def test_every_operation_but_health_is_shown_as_guarded(operations: list[Operation]) -> None:
    for method, path, operation in operations:
        responses = operation["responses"]
        if path in OPEN_PATHS:
            assert "401" not in responses
            continue
        assert "401" in responses, f"{method} {path}"
        assert path == "/metrics" or operation["security"], f"{method} {path}"


def test_every_error_has_the_schema_of_problems_and_an_example(
    document: dict[str, Any], operations: list[Operation]
) -> None:
    schema = {"$ref": "#/components/schemas/ProblemDetails", "components": document["components"]}
    for method, path, operation in operations:
        for status, response in operation["responses"].items():
            if int(status) < 400 or path in OPEN_PATHS:
                continue
            content = response["content"]
            assert set(content) == {MEDIA_TYPE}, f"{method} {path} {status}"
            for example in content[MEDIA_TYPE]["examples"].values():
                jsonschema.validate(example["value"], schema)
                assert example["value"]["status"] == int(status)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    for reference in references(document):
        node: Any = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def references(node: Any) -> Iterator[str]:
    """All `$ref` below a node."""
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from references(child)


def test_answers_that_are_not_json_say_so(document: dict[str, Any]) -> None:
    def content(path: str, method: str = "get") -> dict[str, Any]:
        found: dict[str, Any] = document["paths"][path][method]["responses"]["200"]["content"]
        return found

    assert content("/v1/masks", "post")["application/zip"]["schema"]["format"] == "binary"
    exemplar = "/v1/banks/{bank}/classes/{class_key}/features/{feature}/exemplars/{number}"
    assert content(exemplar)["image/jpeg"]["schema"]["format"] == "binary"
    assert set(content("/metrics")) == {"text/plain", "application/openmetrics-text"}


def test_the_example_of_masks_fits_its_schema(document: dict[str, Any]) -> None:
    content = document["paths"]["/v1/masks"]["post"]["responses"]["200"]["content"]["application/json"]
    jsonschema.validate(content["example"], {**content["schema"], "components": document["components"]})


def test_the_form_of_masks_lists_its_choices(document: dict[str, Any]) -> None:
    form = document["paths"]["/v1/masks"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    fields = document["components"]["schemas"][form["$ref"].rpartition("/")[2]]["properties"]
    assert fields["encoding"]["enum"] == ["png", "npz", "rle"]
    assert fields["size"]["enum"] == ["input", "original"]
    assert all(field.get("description") for field in fields.values())
