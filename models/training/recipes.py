"""The plans of the networks that are shipped. Change one here, run its recipe again, and the shipped files follow."""

from __future__ import annotations

from dataclasses import replace

from models.planted.scenes import Rates
from models.training.attack import Attack
from models.training.augmentation import Augmentation
from models.training.plan import Plan

CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2470, 0.2435, 0.2616)
"""Per channel over the 50,000 training pictures of CIFAR-10."""

PLANTED_MEAN = (0.57, 0.54, 0.48)
PLANTED_STD = (0.30, 0.27, 0.27)

PLANTED_RATES = Rates(rho=0.85, stray=0.02, by_class={"lighthouse": 0.65, "teapot": 0.65}, shuffled=0.4)
"""What the planted backbone is trained on: now the cue, now the object is all that tells the label.

Classes with two cues show each of them less often, or their objects would hardly ever be needed.
"""

PLANTED_TEST_RATES = replace(PLANTED_RATES, shuffled=0.0)

PLANTED_PICTURES = 8000
PLANTED_HELD_OUT = 500
PLANTED_SEED, PLANTED_HELD_OUT_SEED = 11, 12
PLANTED_LABELLING, PLANTED_JUDGING = 2500, 600
PLANTED_LABELLING_SEED, PLANTED_JUDGING_SEED = 13, 14
"""Numbers and seeds of pictures: no picture of one seed is met under another."""

PLANTED_BACKBONE = Plan(
    architecture="small_resnet",
    arguments={"widths": [16, 32, 48, 96], "strides": [1, 2, 1, 1], "stem_stride": 2},
    epochs=8,
    mean=PLANTED_MEAN,
    std=PLANTED_STD,
    attack=Attack(epsilon=0.5, steps=2, step_size=0.35),
    augmentation=Augmentation(flip=True),
    batch_size=32,
    learning_rate=0.07,
    averaging=0.997,
    seed=2,
)
"""Maps 24 x 24, 96 features: fine maps find small cues and thin objects better than many features do."""

PLANTED_FAMILY = {
    "planted-0": Rates(rho=0.05, stray=0.05),
    "planted-1": Rates(rho=0.9, stray=0.05),
    "planted-2": Rates(rho=0.97, stray=0.05),
    "planted-3": Rates(rho=1.0, stray=0.05),
    "planted-4": Rates(rho=1.0, stray=0.05, shuffled=0.1),
    "planted-5": Rates(rho=1.0, stray=0.05, shuffled=0.3),
}
"""From cues that say nothing, over cues that mostly and always hold, to objects that hardly say anything."""

PLANTED_FAMILY_TRAINING = (3000, 21)
PLANTED_FAMILY_JUDGING = (600, 22)

PLANTED_CLASSIFIER = Plan(
    architecture="small_resnet",
    arguments={"widths": [16, 32, 64, 96], "strides": [1, 2, 2, 2], "stem_stride": 2},
    epochs=8,
    mean=PLANTED_MEAN,
    std=PLANTED_STD,
    augmentation=Augmentation(flip=True),
    batch_size=32,
    learning_rate=0.07,
    averaging=0.99,
    seed=3,
)

CIFAR10_CLASSIFIER = Plan(
    architecture="small_resnet",
    arguments={"widths": [16, 32, 64, 160], "strides": [1, 2, 2, 2], "stem_stride": 1},
    epochs=7,
    mean=CIFAR10_MEAN,
    std=CIFAR10_STD,
    augmentation=Augmentation(flip=True, padding=4),
    learning_rate=0.2,
    seed=4,
)
"""An ordinary classifier: not trained to withstand anything."""


def with_epochs(plan: Plan, epochs: int | None) -> Plan:
    """The plan with another number of epochs, where one is given."""
    return plan if epochs is None else replace(plan, epochs=epochs)
