"""How strong a feature must be to be among the top share of its class's pictures, found without sorting them.

A radix selection over written activations: float32 values are turned into integers of the same order and settled a byte
at a time, from the highest, by a histogram of 256 counts for every (class, feature). Four passes give the exact value;
memory depends on the bank alone, not on the data set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BYTES = 4

Activations = Callable[[], Iterable[tuple[int, NDArray[np.float32]]]]
"""One pass: class index and activations, float32 [N, K], K the same for all parts of a class."""


@dataclass
class _Search:
    """Of one class: the bytes settled so far, uint64 [K], and which place below them is looked for, int64 [K]."""

    settled: NDArray[np.uint64]
    place: NDArray[np.int64] | None
    counts: NDArray[np.int64]


def thresholds(activations: Activations, share: float) -> dict[int, NDArray[np.float32]]:
    """For each class and feature the smallest activation of the top share of the class's pictures.

    Of N pictures these are round(share * N), at least one; those as strong as the last of them are above it too.

    Args:
        activations: gives all of them anew at each call.
        share: in (0, 1].

    Returns:
        float32 [K] by class.
    """
    searches: dict[int, _Search] = {}
    for settled in range(BYTES):
        for class_index, values in activations():
            keys = _keys(values)
            width = keys.shape[1]
            if class_index not in searches:
                searches[class_index] = _Search(np.zeros(width, np.uint64), None, np.zeros((width, 256), np.int64))
            search = searches[class_index]
            low = np.uint64(8 * (BYTES - settled))
            inside = (keys >> low) == search.settled
            digits = (keys >> (low - np.uint64(8))) & np.uint64(255)
            for k in range(width):
                search.counts[k] += np.bincount(digits[inside[:, k], k].astype(np.int64), minlength=256)
        for search in searches.values():
            _settle(search, share)
    return {class_index: _values(search.settled) for class_index, search in sorted(searches.items())}


def _settle(search: _Search, share: float) -> None:
    """Choose the next byte of every feature, and count anew."""
    if search.place is None:
        pictures = int(search.counts[0].sum())
        search.place = np.full(len(search.counts), max(1, int(share * pictures + 0.5)), np.int64)
    down = search.counts[:, ::-1].cumsum(axis=1)  # how many lie at a byte or above it, from 255 to 0
    step = (down < search.place[:, None]).sum(axis=1)
    above = np.where(step > 0, np.take_along_axis(down, np.maximum(step - 1, 0)[:, None], axis=1)[:, 0], 0)
    search.place = search.place - above
    search.settled = (search.settled << np.uint64(8)) | (255 - step).astype(np.uint64)
    search.counts[:] = 0


def _keys(values: NDArray[np.float32]) -> NDArray[np.uint64]:
    """float32 to integers below 2^32 of the same order: negative ones are turned over, others set above them."""
    bits = np.ascontiguousarray(values + np.float32(0)).view(np.uint32)  # -0 becomes 0
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)).astype(np.uint64)


def _values(keys: NDArray[np.uint64]) -> NDArray[np.float32]:
    """What `_keys` was made of."""
    bits = keys.astype(np.uint32)
    return np.where(bits >> 31, bits & np.uint32(0x7FFFFFFF), ~bits).astype(np.uint32).view(np.float32)
