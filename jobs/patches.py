"""A user's own patch: a small PNG inside a request."""

from __future__ import annotations

import base64
import binascii
import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

MOST_BYTES = 64 * 1024
MOST_SIDE = 256
"""Largest file and largest side of a patch; it is scaled down to a part of the picture anyway."""


def open_patch(text: str) -> Tensor:
    """The pixels of a patch.

    Args:
        text: base64 of a PNG file.

    Returns:
        uint8 [4, h, w], RGBA; opaque where the file has no transparency.

    Raises:
        ValueError: It is none, too large, damaged, or nowhere visible; says which and what to do.
    """
    if len(text) > 4 * MOST_BYTES // 3 + 4:
        raise ValueError(f"the patch has more than {MOST_BYTES // 1024} KiB; make it smaller")
    try:
        content = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"the patch is not base64 ({error}); encode the PNG file as `base64 -w0` does") from error
    try:
        image = Image.open(io.BytesIO(content), formats=("PNG",))
    except Exception as error:  # a decoder may raise anything on bytes made to break it
        raise ValueError("the patch is no PNG picture; save it as PNG") from error
    with image:
        if max(image.size) > MOST_SIDE:
            raise ValueError(f"the patch has {image.width} x {image.height} pixels; make it at most {MOST_SIDE} a side")
        try:
            pixels = np.array(image.convert("RGBA"))
        except Exception as error:  # as above
            raise ValueError(f"the patch cannot be decoded ({error}); save it as PNG again") from error
    if not pixels[..., 3].any():
        raise ValueError("the patch is transparent everywhere; nothing of it would be seen")
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
