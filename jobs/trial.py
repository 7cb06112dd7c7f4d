"""The trial run of a classifier on upload: parsed, opened and run once, in the process and limits audits use."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from jobs.isolation import IsolatedClassifier
from jobs.settings import Settings
from models.classifiers.spec import ClassifierSpec

PLAIN = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Grey levels of the pictures without contents."""

NOISY = 3

TOLERANCE = 0.01
"""Largest change of a class's probability that rounding may make between batch sizes."""


class Trial(BaseModel):
    """What the trial run found."""

    model_config = ConfigDict(frozen=True)

    provider: str = Field(description="What really runs the classifier.")
    network_isolated: bool = Field(description="Whether the process could be cut off from the network.")
    fixed_batch: int | None = Field(description="The only number of pictures the network takes at once, if any.")
    seconds_to_open: float = Field(description="Start of the process, inspection and opening, seconds.")
    seconds_per_picture: float = Field(description="In the larger of the two batches, first run included, seconds.")
    warnings: list[str] = Field(description="What a reader of figures on this classifier should know.")


def try_out(file: Path, spec: ClassifierSpec, settings: Settings) -> Trial:
    """Inspect a file and run it on plain and on noisy pictures, alone and in a batch.

    Args:
        file: of unknown origin, on this machine.
        spec: what its owner declares.
        settings: device, threads and limits; the whole trial ends after `classifier_dry_run_seconds`.

    Raises:
        ClassifierFailed: it cannot be audited, with the reason.
        Unavailable: the device asked for is not to be had on this machine.
    """
    pictures = _pictures(spec.preprocessing.size)
    started = time.monotonic()
    deadline = started + settings.classifier_dry_run_seconds
    with IsolatedClassifier(
        file, spec, settings, batch_size=len(pictures), inspect=True, deadline=deadline
    ) as classifier:
        opened = time.monotonic()
        together = classifier.predict(pictures)
        done = time.monotonic()
        alone = np.concatenate([classifier.predict(pictures[:1]), classifier.predict(pictures[-1:])])
        return Trial(
            provider=classifier.provider,
            network_isolated=classifier.network_isolated,
            fixed_batch=classifier.fixed_batch,
            seconds_to_open=opened - started,
            seconds_per_picture=(done - opened) / len(pictures),
            warnings=_warnings(together, alone, classifier.fixed_batch),
        )


def _pictures(side: int) -> np.ndarray:
    """float32 [8, 3, side, side] in [0, 1]: five plain ones and three of uniform noise, always the same."""
    plain = [np.full((3, side, side), level, np.float32) for level in PLAIN]
    return np.concatenate([plain, np.random.default_rng(0).random((NOISY, 3, side, side), np.float32)])


def _warnings(together: np.ndarray, alone: np.ndarray, fixed_batch: int | None) -> list[str]:
    found = []
    if (together == together[0]).all():
        found.append("It gives the same scores for every picture: check the weights and the declared preprocessing.")
    if together.min() >= 0 and np.allclose(together.sum(axis=1), 1, atol=1e-3):
        found.append("Its outputs are probabilities already: figures on scores are steadier when logits are exported.")
    if np.abs(_softmax(together[[0, -1]]) - _softmax(alone)).max() > TOLERANCE:
        found.append(
            "Its scores for a picture depend on the other pictures of the batch: export it in evaluation mode."
        )
    if fixed_batch == 1:
        found.append("It takes one picture at a time: audits run faster with a dynamic batch dimension.")
    return found


def _softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
