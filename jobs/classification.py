"""What the classifier says to changed pictures, and whether that is right."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jobs.measurement import Changed
from models.corruptions import energies

Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""A classifier: float32 [N, 3, s, s] in [0, 1], before mean and standard deviation -> float32 [N, C] logits."""

LARGEST_LOG_ODDS = 1000.0
"""Log-odds are kept within this, so that a classifier without any doubt still has a mean."""


def classify(
    pixels: Tensor, clean: NDArray[np.float32], changed: Sequence[Changed], predict: Predict, together: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The classifier's answers to N pictures as they are, then to what was made of them, in that order.

    Args:
        pixels: float32 [N, 3, s, s] in [0, 1], of the unchanged pictures.
        clean: float32 [N, C], what it says to those.
        changed: what was made of them, V pictures in all.
        predict: the classifier.
        together: most pictures it is shown at once.

    Returns:
        Logits, float32 [N + V, C], and the realised ||x' - x||_2, float32 [N + V].
    """
    logits, energy = [clean], [np.zeros(len(clean), np.float32)]
    for owner, pictures in _full_batches(changed, together):
        logits.append(predict(pictures.cpu().numpy()))
        energy.append(energies(pixels[torch.from_numpy(owner)], pictures).cpu().numpy())
    return np.concatenate(logits), np.concatenate(energy)


def _full_batches(changed: Sequence[Changed], together: int) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """What was changed in different ways goes through the classifier together, so that batches are full."""
    waiting: list[tuple[NDArray[np.int64], Tensor]] = []
    room = together
    for own in changed:
        start, end = 0, len(own.picture)
        while start < end:
            part = slice(start, min(end, start + room))
            waiting.append((own.picture[part], own.make(part)))
            room -= part.stop - part.start
            start = part.stop
            if not room:
                yield _joined(waiting)
                waiting, room = [], together
    if waiting:
        yield _joined(waiting)


def _joined(parts: Sequence[tuple[NDArray[np.int64], Tensor]]) -> tuple[NDArray[np.int64], Tensor]:
    owners, pictures = zip(*parts, strict=True)
    return np.concatenate(owners), torch.cat(pictures)


def judge(
    logits: NDArray[np.float32], classes: NDArray[np.int32], of_output: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.bool_], NDArray[np.float64]]:
    """Predicted output, whether it stands for the class, and the log-odds of the class.

    Log-odds come from the logits: a softmax probability rounds to 1 where they still tell pictures apart.

    Args:
        logits: [R, C].
        classes: [R], class index in the bank.
        of_output: [C], class index in the bank that each output stands for, or -1.

    Returns:
        int32 [R]; bool [R]; float64 [R], ln p / (1 - p) of the softmax probability p, within +-LARGEST_LOG_ODDS.
    """
    predicted = logits.argmax(axis=1).astype(np.int32)
    own = of_output[None, :] == classes[:, None]
    values = logits.astype(np.float64)
    log_odds = _log_sum(np.where(own, values, -np.inf)) - _log_sum(np.where(own, -np.inf, values))
    return predicted, of_output[predicted] == classes, log_odds.clip(-LARGEST_LOG_ODDS, LARGEST_LOG_ODDS)


def _log_sum(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """ln sum exp along the rows; the smallest number where a row has nothing."""
    peak = values.max(axis=1, keepdims=True).clip(min=np.finfo(np.float64).min / 4)
    with np.errstate(divide="ignore"):
        total: NDArray[np.float64] = (np.log(np.exp(values - peak).sum(axis=1)) + peak[:, 0]).clip(min=peak[:, 0])
    return total
