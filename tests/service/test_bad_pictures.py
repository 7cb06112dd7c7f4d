"""Odd pictures are understood, bad ones refused with the reason, and none harms the others of its request."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.service.conftest import encoded, picture, upload

TYPE = "urn:cuecheck:problem:bad-picture"


def post(http: httpx.Client, *contents: bytes, **fields: Any) -> httpx.Response:
    return http.post("/v1/masks", files=upload(*contents), data=fields)


def core_mask(http: httpx.Client, content: bytes) -> np.ndarray:
    """The core mask of class "ant" on the picture's own pixels."""
    (found,) = post(http, content, classes="ant", size="original").json()["pictures"]
    with Image.open(io.BytesIO(base64.b64decode(found["classes"][0]["masks"]["core"]["data"]))) as mask:
        return np.asarray(mask).astype(int)


def huge_png() -> bytes:
    """A picture of 100,000 x 100,000 pixels in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


BAD = {
    "empty": b"",
    "text": b"this is no picture",
    "html": b"<html><body>404</body></html>",
    "truncated JPEG": encoded(picture(200, 200), "JPEG")[:2000],
    "truncated PNG": encoded(picture(200, 200), "PNG")[:2000],
    "header of a PNG alone": encoded(picture())[:20],
    "huge": huge_png(),
    "long and thin": encoded(picture(2, 400)),
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD.keys())
def test_a_bad_picture_is_refused_with_its_reason(http: httpx.Client, content: bytes) -> None:
    response = post(http, content)
    assert response.status_code == 422
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert problem["type"] == TYPE
    assert problem["field"] == "pictures[0]"
    assert len(problem["detail"]) > 10


def test_bad_pictures_fail_alone(http: httpx.Client) -> None:
    good = encoded(picture())
    contents = [part for bad in BAD.values() for part in (bad, good)]
    response = post(http, *contents)
    assert response.status_code == 200
    found = response.json()["pictures"]
    assert len(found) == len(contents)
    for i, one in enumerate(found):
        assert one["picture"] == i
        if contents[i] is good:
            assert (
                one["classes"] == found[1]["classes"] or one["classes"][0]["index"] == found[1]["classes"][0]["index"]
            )
            assert "problem" not in one
        else:
            assert one["problem"]["type"] == TYPE
            assert one["problem"]["field"] == f"pictures[{i}]"
            assert one["problem"]["status"] == 422
            assert "classes" not in one


def test_when_all_are_bad_the_request_fails_and_names_each(http: httpx.Client) -> None:
    response = post(http, b"", b"text")
    assert response.status_code == 422
    problem = response.json()
    assert problem["type"] == "urn:cuecheck:problem:no-picture-usable"
    assert [fault["field"] for fault in problem["errors"]] == ["pictures[0]", "pictures[1]"]


def test_an_animation_is_its_first_frame_and_says_so(http: httpx.Client) -> None:
    frames = [Image.fromarray(picture(seed=seed)) for seed in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:])
    (found,) = post(http, buffer.getvalue()).json()["pictures"]
    assert "first of 3 frames" in found["notes"]
    np.testing.assert_array_equal(core_mask(http, buffer.getvalue()), core_mask(http, encoded(picture(seed=0))))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "CMYK", "1", "I;16"])
def test_every_kind_of_pixels_is_understood(http: httpx.Client, mode: str) -> None:
    if mode == "I;16":
        original = Image.fromarray(picture()[:, :, 0].astype(np.uint16) * 257)
    else:
        original = Image.fromarray(picture()).convert(mode)
    buffer = io.BytesIO()
    original.save(buffer, "JPEG" if mode == "CMYK" else "PNG")
    response = post(http, buffer.getvalue())
    assert response.status_code == 200, response.text


def test_a_picture_turned_by_exif_is_seen_and_masked_upright(http: httpx.Client) -> None:
    upright = picture(100, 160)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored pixels have to be turned clockwise
    stored = encoded(np.rot90(upright), "PNG", exif=exif)
    (found,) = post(http, stored).json()["pictures"]
    assert (found["height"], found["width"]) == (100, 160)
    np.testing.assert_array_equal(core_mask(http, stored), core_mask(http, encoded(upright)))


def test_masks_keep_the_pictures_orientation(http: httpx.Client) -> None:
    wide, tall = picture(60, 120), picture(120, 60)
    assert core_mask(http, encoded(wide)).shape == (60, 120)
    assert core_mask(http, encoded(tall)).shape == (120, 60)


@pytest.mark.parametrize(
    ("fields", "field", "status"),
    [
        ({"bank": "nowhere"}, "bank", 404),
        ({"bank": "../tiny"}, "bank", 404),
        ({"bank": "sha256:00"}, "bank", 404),
        ({"bank": "broken"}, "bank", 422),
        ({"classes": "unicorn"}, "classes", 422),
        ({"classes": "5"}, "classes", 422),
        ({"classes": "-1"}, "classes", 422),
        ({"classes": "top0"}, "classes", 422),
        ({"classes": ","}, "classes", 422),
        ({"features": "999"}, "features", 422),
        ({"features": "first"}, "features", 422),
        ({"maps": "gradients"}, "maps", 422),
        ({"size": "huge"}, "size", 422),
        ({"encoding": "jpeg"}, "encoding", 422),
        ({"encoding": "rle", "maps": "contributions"}, "encoding", 422),
        ({"encoding": "rle", "threshold": "0"}, "threshold", 422),
        ({"encoding": "rle", "threshold": "nan"}, "threshold", 422),
        ({"threshold": "half"}, "threshold", 422),
    ],
)
def test_a_wish_that_cannot_be_met_names_its_field(
    http: httpx.Client, fields: dict[str, str], field: str, status: int
) -> None:
    response = post(http, encoded(picture()), **fields)
    assert response.status_code == status, response.text
    assert response.json()["field"] == field


def test_without_pictures_there_is_nothing_to_answer(http: httpx.Client) -> None:
    response = http.post("/v1/masks", data={"bank": "tiny"})
    assert response.status_code == 422
    assert response.json()["field"] == "pictures"


def test_maps_too_large_to_send_are_refused_before_they_are_made(http: httpx.Client) -> None:
    fields = {"size": "original", "encoding": "npz", "classes": "top5", "maps": "contributions"}
    response = post(http, encoded(picture(1600, 1600)), **fields)
    assert response.status_code == 422
    assert response.json()["field"] == "size"
