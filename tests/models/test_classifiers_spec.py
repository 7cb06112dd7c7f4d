"""A declaration is checked before anything else happens."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from models.classifiers import formats
from models.classifiers.spec import ClassifierSpec
from tests.networks import spec


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "pickle"}, "unknown format 'pickle'; known are: onnx, safetensors"),
        ({"classes": ["cat"]}, "at least 2"),
        ({"classes": ["cat", "dog", "cat"]}, "'cat' is named twice"),
        ({"classes": ["cat", " "]}, "at least 1 character"),
        ({"architecture": "resnet18"}, "format 'onnx' has no use for architecture"),
        ({"format": "safetensors"}, "format 'safetensors' needs architecture"),
        (
            {"format": "safetensors", "architecture": "resnet18", "input_name": "x"},
            "format 'safetensors' has no use for input_name",
        ),
        ({"preprocessing": {"size": 4}}, "greater than or equal to 8"),
        ({"preprocessing": {"size": 16, "std": [1, 0, 1]}}, "std must be positive"),
        ({"preprocessing": {"size": 16, "mean": [float("nan"), 0, 0]}}, "finite"),
        ({"weights": "latin.pt"}, "Extra inputs"),
    ],
)
def test_a_declaration_that_cannot_be_right_is_refused_in_words(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        spec(**changes)


def test_a_declaration_survives_json() -> None:
    declared = spec(preprocessing={"size": 32, "resize": 40, "layout": "NHWC"}, output_name="scores", name="night")
    assert ClassifierSpec.model_validate_json(declared.model_dump_json()) == declared


def test_every_format_has_what_the_registry_promises() -> None:
    for known in formats.values():
        module = known.load()
        assert callable(module.inspect)
        assert callable(module.open_classifier)
        assert known.requires | known.accepts <= ClassifierSpec.model_fields.keys()
