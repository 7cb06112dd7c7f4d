"""Uploaded bytes to pixels: one decoder for the service and the audits, so that both see the same picture."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from jobs.errors import Invalid

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
DEFAULT_MAX_PIXELS = 50_000_000
# A resize to a fixed shorter side multiplies the longer one: 1 x 50,000,000 pixels would become 256 x 12,800,000,000.
MAX_ASPECT = 64
ALPHA_MODES = ("RGBA", "RGBa", "LA", "La", "PA")
_ORIENTATION_TAG = 0x0112

# Pillow's own cap warns and raises by process-wide state; `read_picture` checks the caller's cap before decoding.
Image.MAX_IMAGE_PIXELS = None


class PictureError(Invalid):
    """These bytes cannot be used as a picture.

    Attributes:
        reason: `empty`, `not_a_picture`, `truncated`, `damaged`, `too_large`, `too_elongated` or `unsupported_mode`.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Picture:
    """A decoded picture.

    Attributes:
        pixels: uint8 [height, width, 3], RGB, upright (EXIF orientation applied).
        format: Name of the file format: one of `FORMATS`, or `MPO` for a JPEG that carries further pictures.
        notes: What had to be decided to get there, in plain words; empty for an ordinary picture.
    """

    pixels: NDArray[np.uint8]
    format: str
    notes: tuple[str, ...] = ()


def decode(data: bytes, max_pixels: int = DEFAULT_MAX_PIXELS) -> NDArray[np.uint8]:
    """The pixels of `read_picture`: uint8 [height, width, 3], RGB, upright."""
    return read_picture(data, max_pixels).pixels


def read_picture(data: bytes, max_pixels: int = DEFAULT_MAX_PIXELS) -> Picture:
    """Decode one picture.

    Grey, palette and CMYK pictures become RGB; 16-bit grey is scaled to 8 bits; what is transparent shows white; of
    an animation or a file of several pages the first frame is taken.

    Args:
        data: The whole file.
        max_pixels: Most pixels (width x height), checked on the header, before anything is decoded.

    Raises:
        PictureError: With the reason why these bytes are refused.
    """
    if not data:
        raise PictureError("empty", "The file is empty.")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise PictureError("not_a_picture", f"Not a picture in a known format ({', '.join(FORMATS)}).") from error
    except Exception as error:  # a decoder may raise anything on bytes made to break it
        raise PictureError("damaged", f"The header of the picture cannot be read: {error}") from error
    with image:
        _check_size(image, max_pixels)
        notes: list[str] = []
        try:
            frames = getattr(image, "n_frames", 1)
            if frames > 1 and image.format != "MPO":
                notes.append(f"first of {frames} frames")
            pixels = _rgb(image, data, notes)
            orientation = int(image.getexif().get(_ORIENTATION_TAG, 1))
        except PictureError:
            raise
        except Exception as error:  # as above
            reason = "truncated" if "truncated" in str(error).lower() else "damaged"
            raise PictureError(reason, f"The picture cannot be decoded: {error}") from error
        if orientation in _UPRIGHT:
            notes.append("turned upright by its EXIF orientation")
            pixels = _UPRIGHT[orientation](pixels)
        return Picture(np.ascontiguousarray(pixels), image.format or "", tuple(notes))


def _check_size(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise PictureError(
            "too_large", f"The picture has {width} x {height} pixels, more than the {max_pixels:,} allowed."
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise PictureError(
            "too_elongated", f"One side of {width} x {height} pixels is over {MAX_ASPECT} times the other."
        )


def _rgb(image: Image.Image, data: bytes, notes: list[str]) -> NDArray[np.uint8]:
    if image.format in ("JPEG", "MPO") and image.mode in ("RGB", "L"):
        try:
            return simplejpeg.decode_jpeg(data, colorspace="RGB")
        except ValueError:
            pass  # strict about stray bytes that every viewer accepts: Pillow has the last word
    if image.mode.startswith("I;16"):
        notes.append("16-bit grey scaled to 8 bits")
        grey = (np.asarray(image, dtype=np.uint16) // 257).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise PictureError(
            "unsupported_mode", f"Pixels of mode {image.mode!r} (32 bits a channel) have no fixed range."
        )
    if image.mode in ALPHA_MODES or "transparency" in image.info:
        notes.append("transparency shown on white")
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    elif image.mode == "CMYK":
        notes.append("CMYK converted to RGB without its colour profile")
    return np.asarray(image.convert("RGB"))


# EXIF orientation -> what turns the stored pixels upright (EXIF 2.32, table 6); 1 is upright already.
_UPRIGHT = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels),
}
