"""The Open Inference Protocol: a client written from its specification gets what `/v1/masks` answers."""

from __future__ import annotations

import base64
import io
import json
import struct
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from models.bank import Bank
from models.geometry import prepare
from service.problems import TYPE_PREFIX
from tests.models.conftest import CLASSES
from tests.service.conftest import encoded, picture, upload

PATH = "/v2/models/tiny/infer"
DTYPES = {"FP32": np.dtype("<f4"), "INT64": np.dtype("<i8")}
PICTURES = [encoded(picture(60, 90, seed=number)) for number in range(2)]


def tensors(answer: httpx.Response) -> dict[str, np.ndarray]:
    """The outputs, from JSON or from the bytes behind it."""
    assert answer.status_code == 200, answer.text
    end = int(answer.headers.get("Inference-Header-Content-Length", len(answer.content)))
    raw = answer.content[end:]
    found = {}
    for output in json.loads(answer.content[:end])["outputs"]:
        if "data" in output:
            flat = np.asarray(output["data"], DTYPES[output["datatype"]])
        else:
            size = output["parameters"]["binary_data_size"]
            flat, raw = np.frombuffer(raw[:size], DTYPES[output["datatype"]]), raw[size:]
        found[output["name"]] = flat.reshape(output["shape"])
    assert raw == b""
    return found


def images(**more: Any) -> dict[str, Any]:
    data = [base64.b64encode(content).decode() for content in PICTURES]
    return {"inputs": [{"name": "image", "shape": [2], "datatype": "BYTES", "data": data}], **more}


def binary(head: dict[str, Any], raw: bytes) -> dict[str, Any]:
    text = json.dumps(head).encode()
    return {"content": text + raw, "headers": {"Inference-Header-Content-Length": str(len(text))}}


def test_a_model_says_what_it_takes(http: httpx.Client, tiny_bank: Bank) -> None:
    assert http.get("/v2/health/live").status_code == http.get("/v2/health/ready").status_code == 200
    assert http.get("/v2").json()["extensions"] == ["binary_tensor_data"]
    model = http.get("/v2/models/tiny").json()
    side = tiny_bank.manifest.backbone.preprocessing.size
    assert model["versions"] == [tiny_bank.digest]
    assert {tensor["name"]: tensor["shape"] for tensor in model["inputs"]} == {
        "image": [-1],
        "pixels": [-1, 3, side, side],
    }
    assert [tensor["name"] for tensor in model["outputs"]] == ["masks", "phi", "logits", "class"]
    assert http.get("/v2/models/tiny/ready").json() == {"ready": True, "name": "tiny"}
    assert http.get("/v2/models/none").json()["type"] == TYPE_PREFIX + "unknown-bank"


@pytest.mark.parametrize("of", ["predicted", CLASSES[0]])
def test_it_answers_as_the_masks_route_does(http: httpx.Client, of: str) -> None:
    parameters = {} if of == "predicted" else {"class": of}
    found = tensors(http.post(PATH, json=images(parameters=parameters)))
    masks = http.post("/v1/masks", files=upload(*PICTURES), data={"encoding": "npz", "classes": of}).json()
    for row, answered in enumerate(masks["pictures"]):
        (explained,) = answered["classes"]
        arrays = np.load(io.BytesIO(base64.b64decode(explained["npz"]["data"])))
        for place, label in enumerate(("core", "spurious")):
            expected = arrays[label] if label in arrays else np.zeros_like(found["masks"][row, place])
            # One float16 step: a forward's sums depend on the batch a picture happens to be in.
            np.testing.assert_allclose(found["masks"][row, place], expected.astype(np.float32), rtol=0, atol=2**-11)
        assert found["class"][row] == explained["index"]
        assert found["logits"][row, explained["index"]] == pytest.approx(explained["logit"], rel=1e-5)
        for feature in explained["features"]:
            assert found["phi"][row, feature["feature"]] == pytest.approx(feature["activation"], rel=1e-5)
    assert found["masks"].any()


def test_bytes_pixels_json_and_binary_agree(http: httpx.Client, tiny_bank: Bank) -> None:
    wanted = tensors(http.post(PATH, json=images()))
    raw = b"".join(struct.pack("<I", len(content)) + content for content in PICTURES)
    inputs = [{"name": "image", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": len(raw)}}]
    outputs = [{"name": "logits", "parameters": {"binary_data": True}}, {"name": "class"}]
    partly = tensors(http.post(PATH, **binary({"inputs": inputs, "outputs": outputs}, raw)))
    assert list(partly) == ["logits", "class"]
    preprocessing = tiny_bank.manifest.backbone.preprocessing
    opened = [np.asarray(Image.open(io.BytesIO(content))) for content in PICTURES]
    pixels = np.stack([prepare(one, preprocessing).numpy() / 255 for one in opened]).astype("<f4")
    tensor = {"name": "pixels", "shape": list(pixels.shape), "datatype": "FP32"}
    as_json = tensors(http.post(PATH, json={"id": "7", "inputs": [{**tensor, "data": pixels.tolist()}]}))
    head = {"inputs": [{**tensor, "parameters": {"binary_data_size": pixels.nbytes}}]}
    behind = http.post(PATH, **binary({**head, "parameters": {"binary_data_output": True}}, pixels.tobytes()))
    assert behind.headers["Content-Type"] == "application/octet-stream"
    for found in (partly, as_json, tensors(behind)):
        for name, values in found.items():
            np.testing.assert_allclose(values, wanted[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "kind", "field"),
    [
        ({"inputs": []}, "invalid", "inputs"),
        ({"outputs": [{"name": "heat"}]}, "invalid", "outputs[0].name"),
        ({"parameters": {"class": "unicorn"}}, "unknown-class", None),
        ({"parameters": {"class": 1.5}}, "invalid", "parameters.class"),
        ({"inputs": [{"name": "image", "shape": [2], "datatype": "BYTES", "data": ["AAAA"]}]}, "invalid", "inputs[0].data"),  # noqa: E501
        ({"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": ["?"]}]}, "invalid", "inputs[0].data"),  # noqa: E501
        ({"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": ["AAAA"]}]}, "bad-picture", "pictures[0]"),  # noqa: E501
        ({"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES"}]}, "invalid", "inputs[0]"),
        ({"inputs": [{"name": "pixels", "shape": [1, 3], "datatype": "FP32", "data": [0, 0, 0]}]}, "invalid", "inputs[0].shape"),  # noqa: E501
        ({"inputs": [{"name": "pixels", "shape": [3], "datatype": "FP32", "data": [[0], [1, 2]]}]}, "invalid", "inputs[0].data"),  # noqa: E501
        ({"inputs": [{"name": "pixels", "shape": [99], "datatype": "FP32", "data": [0] * 99}]}, "invalid", "inputs[0].shape"),  # noqa: E501
        ({"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [0]}]}, "invalid", "inputs[0]"),
        ({"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 9}}]}, "invalid", "inputs[0].parameters.binary_data_size"),  # noqa: E501
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_a_problem(
    http: httpx.Client, change: dict[str, Any], kind: str, field: str | None
) -> None:
    answer = http.post(PATH, json={**images(), **change})
    assert answer.json()["type"] == TYPE_PREFIX + kind, answer.text
    assert field is None or answer.json()["field"] == field


def test_pixels_out_of_range_and_lengths_that_lie(http: httpx.Client, tiny_bank: Bank) -> None:
    side = tiny_bank.manifest.backbone.preprocessing.size
    bright = np.full((1, 3, side, side), 255, "<f4")
    head = {"name": "pixels", "shape": list(bright.shape), "datatype": "FP32"}
    head["parameters"] = {"binary_data_size": bright.nbytes}
    assert "[0, 1]" in http.post(PATH, **binary({"inputs": [head]}, bright.tobytes())).json()["detail"]
    for length in ("x", "999999"):
        answer = http.post(PATH, content=b"{}", headers={"Inference-Header-Content-Length": length})
        assert answer.json()["type"] == TYPE_PREFIX + "malformed"
    assert http.post(PATH, content=b"{").json()["type"] == TYPE_PREFIX + "malformed"
    assert http.post(PATH, **binary(images(), b"more")).json()["type"] == TYPE_PREFIX + "malformed"
