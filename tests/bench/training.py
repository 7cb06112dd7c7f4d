"""An adversarial training step beside the forward and backward passes that it cannot do without."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.nn import functional

from models.architectures import build
from models.training.attack import Attack
from models.training.augmentation import Augmentation
from models.training.following import Batch, EpochRecord
from models.training.loop import train
from models.training.pictures import LabelledPictures
from models.training.plan import Plan
from tests.bench.harness import Ratio, interleave, paired_ratio

PLAN = Plan(
    architecture="small_resnet",
    arguments={"widths": [64, 128, 256, 256], "strides": [1, 2, 1, 1], "stem_stride": 2},
    epochs=1,
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    attack=Attack(epsilon=0.5, steps=3, step_size=0.4),
    augmentation=Augmentation(flip=True, padding=4),
)
"""The network that the `cifar10` bank rests on, three steps of attack."""

STEPS, CLASSES, SIDE = 12, 10, 32


class _Nothing:
    """Neither follows the training nor keeps a checkpoint: only steps are timed."""

    def batch(self, at: Batch) -> None: ...

    def evaluating(self) -> None: ...

    def epoch(self, record: EpochRecord) -> None: ...

    def read(self) -> bytes | None:
        return None

    def write(self, content: bytes) -> None: ...


def measure(folder: Path) -> list[Ratio]:
    """Steps of the training loop over bare passes of the same network on batches of the same shape."""
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (STEPS * PLAN.batch_size, 3, SIDE, SIDE), dtype=torch.uint8, generator=draw)
    labels = torch.randint(0, CLASSES, (len(images),), generator=draw)
    pictures = LabelledPictures(images, labels, tuple(map(str, range(CLASSES))))
    network = build(PLAN.architecture, CLASSES, PLAN.arguments).to(memory_format=torch.channels_last)
    batch = (images[: PLAN.batch_size].float() / 255).contiguous(memory_format=torch.channels_last)
    wanted = labels[: PLAN.batch_size]

    def loss(shown: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(shown)
        return functional.cross_entropy(logits.float(), wanted)

    def bare() -> None:
        assert PLAN.attack is not None
        for _ in range(STEPS):
            network.eval()
            for _ in range(PLAN.attack.steps):
                shown = batch.detach().requires_grad_()
                torch.autograd.grad(loss(shown), shown)
            network.train()
            network.zero_grad(set_to_none=True)
            loss(batch).backward()

    def steps() -> None:
        train(PLAN, pictures, _Nothing(), torch.device("cpu"), follower=_Nothing())

    seconds = interleave({"training": steps, "passes": bare}, rounds=5)
    middle = {name: round(sorted(spent)[len(spent) // 2], 2) for name, spent in seconds.items()}
    return [
        Ratio(
            "adversarial training step over its forward and backward passes",
            paired_ratio(seconds["training"], seconds["passes"]),
            "<= 1.05",
            {"seconds": middle, "steps": STEPS, "batch": PLAN.batch_size, "attack_steps": 3, "precision": "bf16"},
        )
    ]
