"""Any bytes become upright RGB pixels, or are refused with a reason."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from jobs.pictures import PictureError, decode, read_picture
from tests.conftest import test_data


def encoded(image: Image.Image, name: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, name, **options)
    return stream.getvalue()


@pytest.fixture
def scene() -> Image.Image:
    """48 x 32, each corner of another colour, smooth enough for JPEG."""
    corners = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 0]]], np.uint8)
    return Image.fromarray(corners).resize((48, 32), Image.Resampling.NEAREST)


def test_lossless_formats_give_the_exact_pixels(scene: Image.Image) -> None:
    for name in ("PNG", "BMP", "TIFF", "PPM"):
        assert np.array_equal(decode(encoded(scene, name)), np.asarray(scene)), name


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 2}, {"quality": 30}])
def test_jpeg_pixels_are_those_of_pillow(scene: Image.Image, options: dict[str, object]) -> None:
    data = encoded(scene, "JPEG", **options)
    assert np.array_equal(decode(data), np.asarray(Image.open(io.BytesIO(data))))


def test_real_photographs_decode_as_pillow_decodes_them() -> None:
    with zipfile.ZipFile(test_data("imagenet-samples.zip")) as archive:
        for name in archive.namelist()[:20]:
            data = archive.read(name)
            assert np.array_equal(decode(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))), name


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["JPEG", "PNG"])
def test_exif_orientation_is_applied(scene: Image.Image, orientation: int, name: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(scene, name, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert np.array_equal(decode(data), expected)
    assert decode(data).flags.c_contiguous


def test_grey_palette_and_bilevel_become_rgb(scene: Image.Image) -> None:
    for mode in ("L", "P", "1"):
        converted = scene.convert(mode)
        assert np.array_equal(decode(encoded(converted, "PNG")), np.asarray(converted.convert("RGB"))), mode


def test_cmyk_becomes_rgb_and_says_so(scene: Image.Image) -> None:
    picture = read_picture(encoded(scene.convert("CMYK"), "JPEG", quality=95))
    assert np.abs(picture.pixels.astype(int) - np.asarray(scene)).mean() < 12
    assert any("CMYK" in note for note in picture.notes)


def test_sixteen_bit_grey_keeps_its_range() -> None:
    ramp = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    picture = read_picture(encoded(Image.fromarray(ramp), "PNG"))
    assert np.array_equal(picture.pixels[..., 0], (ramp // 257).astype(np.uint8))
    assert picture.notes


def test_transparency_shows_white(scene: Image.Image) -> None:
    layer = scene.convert("RGBA")
    layer.putalpha(Image.new("L", scene.size, 0))
    picture = read_picture(encoded(layer, "PNG"))
    assert (picture.pixels == 255).all()
    assert picture.notes == ("transparency shown on white",)


def test_of_an_animation_the_first_frame_is_taken(scene: Image.Image) -> None:
    second = Image.new("RGB", scene.size, "black")
    for name in ("GIF", "PNG", "WEBP"):
        options = {"lossless": True} if name == "WEBP" else {}
        picture = read_picture(encoded(scene, name, save_all=True, append_images=[second], **options))
        assert np.array_equal(picture.pixels, np.asarray(scene)), name
        assert picture.notes == ("first of 2 frames",), name


def refused(data: bytes, **limits: int) -> str:
    with pytest.raises(PictureError) as raised:
        decode(data, **limits)
    assert raised.value.message
    return raised.value.reason


def test_what_is_no_picture_is_refused_with_the_reason(scene: Image.Image) -> None:
    jpeg, png = (encoded(scene.resize((480, 320), Image.Resampling.BICUBIC), name) for name in ("JPEG", "PNG"))
    assert refused(b"") == "empty"
    assert refused(b"%PDF-1.7 not a picture") == "not_a_picture"
    assert refused(jpeg[:3]) == "not_a_picture"
    assert refused(jpeg[: len(jpeg) // 2]) == "truncated"
    assert refused(png[: len(png) // 2]) == "truncated"
    assert refused(png[:50] + b"\xff" * 20 + png[70:]) in ("damaged", "not_a_picture", "truncated")


def test_postscript_is_never_run() -> None:
    assert refused(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage") == "not_a_picture"


def huge_png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_huge_dimensions_are_refused_before_decoding() -> None:
    assert refused(huge_png(60_000, 60_000)) == "too_large"
    assert refused(huge_png(2**31 - 1, 2**31 - 1)) == "too_large"
    assert refused(huge_png(100, 100), max_pixels=9_999) == "too_large"


def test_a_thread_of_pixels_is_refused_because_a_resize_would_blow_it_up() -> None:
    assert refused(huge_png(40_000_000, 1)) == "too_elongated"
