"""What Triton's own client sends, byte for byte, and what it reads of the answers.

Taken down from tritonclient 2.73.0 (`tritonclient.http.InferenceServerClient`, on geventhttpclient 2.6.1) with
a picture of four pixels, and a version put in. The client is no dependency: see docs/v2.md.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from models.bank import Bank
from tests.models.conftest import CLASSES
from tests.service.conftest import RunningServer

AGENT = b"User-Agent: python/gevent-http-client-2.6.1\r\n"
HOST = b"Host: 127.0.0.1:54293\r\n"
PICTURE = b"P6 2 2 255\n\xff\x00\x00\x00\xff\x00\x00\x00\xff\xff\xff\xff"
BEHIND = b"\x17\x00\x00\x00" + PICTURE

BINARY = (
    b"POST /v2/models/tiny/infer HTTP/1.1\r\n" + AGENT + b"Inference-Header-Content-Length: 250\r\n" + HOST
    + b"Content-Length: 277\r\n\r\n"
    + b'{"id":"7","inputs":[{"name":"image","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":27}}],'
    + b'"outputs":[{"name":"masks","parameters":{"binary_data":true}},{"name":"class","parameters":'
    + b'{"binary_data":false}}],"parameters":{"class":"ant"}}' + BEHIND
)  # fmt: skip
PLAIN = (
    b"POST /v2/models/tiny/infer HTTP/1.1\r\n" + AGENT + HOST + b"Content-Length: 169\r\n\r\n"
    + b'{"inputs":[{"name":"image","shape":[1],"datatype":"BYTES","data":["UDYgMiAyIDI1NQr/AAAA/wAAAP////8="]}],'
    + b'"outputs":[{"name":"logits","parameters":{"binary_data":false}}]}'
)  # fmt: skip
EVERYTHING = (
    b"POST /v2/models/tiny/infer HTTP/1.1\r\n" + AGENT + b"Inference-Header-Content-Length: 138\r\n" + HOST
    + b"Content-Length: 165\r\n\r\n"
    + b'{"inputs":[{"name":"image","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":27}}],'
    + b'"parameters":{"binary_data_output":true}}' + BEHIND
)  # fmt: skip
TOP_TWO = (
    b"POST /v2/models/tiny/infer HTTP/1.1\r\n" + AGENT + b"Inference-Header-Content-Length: 180\r\n" + HOST
    + b"Content-Length: 207\r\n\r\n"
    + b'{"inputs":[{"name":"image","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":27}}],'
    + b'"outputs":[{"name":"logits","parameters":{"classification":2,"binary_data":true}}]}' + BEHIND
)  # fmt: skip
SQUEEZED = (
    b"POST /v2/models/tiny/infer HTTP/1.1\r\n" + AGENT + b"Content-Encoding: gzip\r\nAccept-Encoding: gzip\r\n"
    + b"Inference-Header-Content-Length: 138\r\n" + HOST + b"Content-Length: 140\r\n\r\n"
    + b"\x1f\x8b\x08\x00\xf2\x8e\rk\x02\xff\xabV\xca\xcc+(-)V\xb2\x8a\xaeV\xcaK\xccMU\xb2R\xca\xccMLOU\xd2Q*\xceH,"
    + b"\x00\xf2\xa3\rcu\x94R\x12K\x12K*A\\%\xa7\xc8\x10\xd7`\xa0tAb\x11P}Ij\x11Ps\xb5RRf^bQe<H]|qf\x15P\xa1\x91y"
    + b"mm,>e\xf9\xa5%@\xab\x95\xacJ\x8aJSkk\xc5\x19\x18\x18\x02\xcc\x14\x8c@\xd0\xd4\x94\xeb?\x90\x0b\xc6@\x00\x00r"
    + b"y\xed\xc4\xa5\x00\x00\x00"
)  # fmt: skip
PIXELS = (
    b"POST /v2/models/tiny/versions/VERSION/infer HTTP/1.1\r\n" + AGENT + b"Authorization: Bearer cck_x\r\n"
    + b"Inference-Header-Content-Length: 224\r\n" + HOST + b"Content-Length: 110816\r\n\r\n"
    + b'{"inputs":[{"name":"pixels","shape":[1,3,96,96],"datatype":"FP32","parameters":{"binary_data_size":110592}}],'
    + b'"outputs":[{"name":"logits","parameters":{"binary_data":true}},{"name":"class","parameters":'
    + b'{"binary_data":true}}]}'
    + bytes(110592)
)  # fmt: skip
DTYPES = {"FP32": np.dtype("<f4"), "INT64": np.dtype("<i8")}


class Answer(NamedTuple):
    """Of the service."""

    status: int
    length: str | None
    body: bytes


Say = Callable[[bytes], Answer]


@pytest.fixture
def say(server: RunningServer) -> Say:
    """Send these bytes on a connection of their own."""

    def said(request: bytes) -> Answer:
        with socket.create_connection(("127.0.0.1", server.settings.port), timeout=60) as connection:
            connection.sendall(request)
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            return Answer(answer.status, answer.getheader("Inference-Header-Content-Length"), answer.read())

    return said


def get(path: bytes) -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\n" + AGENT + HOST + b"\r\n"


def read(answer: Answer) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The JSON and the tensors, as `tritonclient.http.InferResult` takes them from an answer."""
    assert answer.status == 200, answer.body
    end = len(answer.body) if answer.length is None else int(answer.length)
    found, at, tensors = json.loads(answer.body[:end]), end, {}
    for output in found["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size")
        dtype = DTYPES[output["datatype"]]
        flat = np.array(output["data"], dtype) if size is None else np.frombuffer(answer.body[at : at + size], dtype)
        at += size or 0
        tensors[output["name"]] = flat.reshape(output["shape"])
    assert at == len(answer.body)
    return found, tensors


def test_it_finds_server_and_model(say: Say, tiny_bank: Bank) -> None:
    for path in (b"/v2/health/live", b"/v2/health/ready", b"/v2/models/tiny/ready"):
        assert say(get(path)).status == 200
    assert json.loads(say(get(b"/v2")).body)["name"] == "cuecheck"
    model = json.loads(say(get(b"/v2/models/tiny")).body)
    assert model["versions"] == [tiny_bank.digest]
    version = tiny_bank.digest.encode()
    assert say(get(b"/v2/models/tiny/versions/" + version + b"/ready")).status == 200
    assert json.loads(say(get(b"/v2/models/tiny/versions/" + version)).body) == model


def test_it_sends_a_picture_behind_the_json_and_names_a_class(say: Say) -> None:
    found, tensors = read(say(BINARY))
    assert found["id"] == "7"
    assert list(tensors) == ["masks", "class"]
    assert tensors["masks"].shape == (1, 2, 96, 96)
    assert tensors["class"].tolist() == [CLASSES.index("ant")]


def test_the_same_picture_in_json_and_all_outputs_behind_it(say: Say) -> None:
    _, plain = read(say(PLAIN))
    answer = say(EVERYTHING)
    assert answer.length is not None
    _, everything = read(answer)
    assert list(everything) == ["masks", "phi", "logits", "class"]
    np.testing.assert_allclose(plain["logits"], everything["logits"], rtol=1e-5)


def test_it_asks_one_version_of_a_model(say: Say, tiny_bank: Bank) -> None:
    for version in (tiny_bank.digest.encode(), b"1"):
        found, tensors = read(say(PIXELS.replace(b"VERSION", version)))
        assert found["model_version"] == tiny_bank.digest
        assert tensors["logits"].shape == (1, len(CLASSES))
        assert tensors["class"].dtype == np.int64


@pytest.mark.parametrize(
    ("request_bytes", "status", "error"),
    [
        (get(b"/v2/models/none"), 404, "There is no bank 'none'. Use one of"),
        (get(b"/v2/models/tiny/versions/99/ready"), 404, "There is no bank 'tiny@99'. Use one of"),
        (get(b"/v2/models/tiny/config"), 404, "There is nothing under this name."),
        (BINARY.replace(b'"ant"', b'"gnu"'), 422, "gnu"),
        (BINARY.replace(b"P6 2 2", b"P6 2 3"), 422, "picture"),
        (TOP_TWO, 422, "there is no 'classification' here. Leave it out."),
        (SQUEEZED, 415, "The body is gzip. Send it as it is: pictures are compressed already."),
    ],
)
def test_it_shows_why_something_failed(say: Say, request_bytes: bytes, status: int, error: str) -> None:
    """It shows the member `error` of the answer and nothing else."""
    answer = say(request_bytes)
    assert answer.status == status
    assert error in json.loads(answer.body)["error"]


def test_a_version_belongs_to_its_model(say: Say) -> None:
    other = json.loads(say(get(b"/v2/models/other")).body)["versions"][0].encode()
    answer = say(get(b"/v2/models/tiny/versions/" + other))
    assert answer.status == 404
    assert "is a version of the bank 'other', not of 'tiny'" in json.loads(answer.body)["error"]
