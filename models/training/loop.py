"""The training loop: seeded, resumable after each epoch, on CPU or GPU, in one process or several."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from models.architectures import build as build_architecture
from models.errors import TrainingError
from models.training.checkpoint import Checkpoint, CheckpointFile, foreign, from_bytes, network_of, to_bytes
from models.training.evaluation import EPOCH_STEPS, accuracy, robust_accuracy
from models.training.following import Batch, EpochRecord, Follower, Printed
from models.training.pictures import LabelledPictures
from models.training.plan import Plan
from models.training.ranks import Ranks, synchronised

FIRST_AVERAGES = 10
"""The running average follows the weights closely for about this many steps, so that the start is soon forgotten."""


@dataclass(frozen=True)
class Trained:
    """A trained network in eval mode with averaged weights, the minutes its training took, and its epochs.

    epochs: those that this version of the loop has recorded; a checkpoint of an older one brings none.
    """

    network: nn.Module
    minutes: float
    epochs: tuple[EpochRecord, ...] = ()


def normaliser(plan: Plan, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
    """Pictures float [N, 3, H, W] in [0, 1] -> the network's input, (x - mean) / std per channel."""
    mean = torch.tensor(plan.mean, device=device).view(1, 3, 1, 1)
    std = torch.tensor(plan.std, device=device).view(1, 3, 1, 1)
    return lambda images: (images - mean) / std


def train(
    plan: Plan,
    pictures: LabelledPictures,
    checkpoint: Path | Checkpoint,
    device: torch.device,
    *,
    held_out: LabelledPictures | None = None,
    follower: Follower | None = None,
    initial: Mapping[str, torch.Tensor] | None = None,
) -> Trained:
    """Train as planned, going on from ``checkpoint`` where it exists; it is rewritten after each epoch.

    ``plan.epochs`` may differ from the run that wrote the checkpoint: the learning rate then follows the new length.
    With one thread count, device and library version the result depends on the plan and the pictures alone. In several
    processes (torch's launcher) each takes its share of every batch, and rank 0 writes and reports.

    held_out: pictures on which accuracies are measured after each epoch; follower: told how far it is, by default a
    bar or lines on standard error; initial: weights to begin with, in place of random ones, by name.
    Raises TrainingError where a batch is larger than the pictures are many, the checkpoint is of another plan, or the
    loss is no number any more (the checkpoint is that of the epoch before, then), and whatever the checkpoint raises
    when it cannot be written.
    """
    run = _Run(plan, pictures, device, follower or Printed())
    keep = CheckpointFile(checkpoint) if isinstance(checkpoint, Path) else checkpoint
    run.begin(keep, initial)
    for epoch in range(run.done, plan.epochs):
        started = time.monotonic()
        loss, training = run.train_epoch(epoch)
        clean, robust = run.evaluate(held_out)
        seconds = time.monotonic() - started
        record = EpochRecord(
            epoch + 1,
            round(loss, 5),
            round(training, 5),
            clean,
            robust,
            len(held_out) if held_out else 0,
            round(seconds, 2),
        )
        run.end_epoch(record, keep)
    return Trained(run.averaged.module.eval(), run.minutes, tuple(run.records))


class _Run:
    """The state of one run: network, running average, optimiser, and what was recorded."""

    def __init__(self, plan: Plan, pictures: LabelledPictures, device: torch.device, follower: Follower) -> None:
        self.plan, self.pictures, self.device, self.follower = plan, pictures, device, follower
        self.ranks = Ranks.current()
        if len(pictures) < plan.batch_size:
            raise TrainingError(
                f"There are {len(pictures)} training pictures, fewer than one batch of {plan.batch_size}.",
                field="batch_size",
                remedy="Choose smaller batches.",
            )
        self.normalise = normaliser(plan, device)
        self.done, self.minutes = 0, 0.0
        self.records: list[EpochRecord] = []

    def begin(self, checkpoint: Checkpoint, initial: Mapping[str, torch.Tensor] | None) -> None:
        """Build everything, and go on from the checkpoint where there is one."""
        plan, device = self.plan, self.device
        torch.manual_seed(plan.seed)
        network = build_architecture(plan.architecture, len(self.pictures.classes), plan.arguments)
        if initial is not None:
            network.load_state_dict(dict(initial), strict=False)
        network = synchronised(network, device, self.ranks)
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        averaged = AveragedModel(network, avg_fn=_running_average(plan.averaging), use_buffers=True)
        decayed = [parameter for parameter in network.parameters() if parameter.ndim > 1]
        undecayed = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
        optimiser = torch.optim.SGD(
            [{"params": decayed, "weight_decay": plan.weight_decay}, {"params": undecayed, "weight_decay": 0.0}],
            lr=plan.learning_rate,
            momentum=plan.momentum,
            nesterov=True,
        )
        content = checkpoint.read()
        if content is not None:
            state = from_bytes(content, plan, self.pictures.classes, device)
            try:
                network.load_state_dict(state["network"])
                averaged.load_state_dict(state["averaged"])
                optimiser.load_state_dict(state["optimiser"])
                self.done, self.minutes = state["epoch"], state["minutes"]
                self.records = [EpochRecord(**record) for record in state.get("records", [])]
            except (KeyError, TypeError, ValueError, RuntimeError) as error:
                raise foreign(error) from error
        self.network, self.averaged, self.optimiser = network, averaged, optimiser
        self.parallel = self.ranks.parallel(network, device)

    def forward(self, module: nn.Module, images: torch.Tensor) -> torch.Tensor:
        """Logits float32 of pictures in [0, 1], in the plan's precision."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.plan.precision == "bf16"):
            logits: torch.Tensor = module(self.normalise(images)).float()
        return logits

    def step(self, images: torch.Tensor, labels: torch.Tensor, start: torch.Tensor | None) -> tuple[float, int]:
        """Attack this process's share of a batch from ``start``, train on it; its mean loss and number right."""
        if start is not None and self.plan.attack is not None:
            self.network.eval()
            images = self.plan.attack.ascend(lambda moved: self.forward(self.network, moved), images, labels, start)
        self.network.train()
        logits = self.forward(self.parallel, images)
        loss = functional.cross_entropy(logits, labels, label_smoothing=self.plan.label_smoothing)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.averaged.update_parameters(self.network)
        return float(loss.detach()), int((logits.argmax(1) == labels).sum())

    def train_epoch(self, epoch: int) -> tuple[float, float]:
        """Mean loss and accuracy over the epoch's batches."""
        plan, pictures = self.plan, self.pictures
        seed = 1_000_003 * plan.seed + epoch
        generator = torch.Generator().manual_seed(seed)
        noise = generator if self.device.type == "cpu" else torch.Generator(self.device).manual_seed(seed)
        steps = len(pictures) // plan.batch_size
        order = torch.randperm(len(pictures), generator=generator)
        share = self.ranks.share(plan.batch_size)
        losses = right = seen = 0.0
        for step in range(steps):
            rows = order[step * plan.batch_size : (step + 1) * plan.batch_size]
            # Drawn for the whole batch in every process, so that the number of processes changes nothing.
            changes = plan.augmentation.draw(len(rows), generator).of(share)
            start = None
            if plan.attack is not None:
                shape = torch.Size([len(rows), *pictures.images.shape[1:]])
                start = plan.attack.start(shape, noise)[share]
            labels = pictures.labels[rows[share]].to(self.device)
            images = pictures.images[rows[share]].to(self.device).float() / 255
            images = plan.augmentation.change(images, changes).contiguous(memory_format=torch.channels_last)
            for group in self.optimiser.param_groups:
                group["lr"] = plan.learning_rate_at((epoch + step / steps) / plan.epochs)
            loss, correct = self.step(images, labels, start)
            losses += loss * len(labels)
            right += correct
            seen += len(labels)
            done = epoch * len(pictures) + (step + 1) * plan.batch_size
            self.follower.batch(Batch(epoch + 1, plan.epochs, step + 1, steps, done, right / seen))
        losses, right, seen = self.ranks.sums([losses, right, seen], self.device)
        if not math.isfinite(losses):
            raise TrainingError(
                f"The training diverged in epoch {epoch + 1}: its loss is {losses}.",
                field="learning_rate",
                remedy="Choose a smaller learning rate, or a weaker attack.",
            )
        return losses / seen, right / seen

    def evaluate(self, held_out: LabelledPictures | None) -> tuple[float | None, float | None]:
        """Clean and robust accuracy of the averaged weights, each process on its share of the pictures."""
        if held_out is None:
            return None, None
        network = self.averaged.module.eval()

        def forward(images: torch.Tensor) -> torch.Tensor:
            self.follower.evaluating()
            return self.forward(network, images)

        share = self.ranks.share(len(held_out))
        mine = LabelledPictures(held_out.images[share], held_out.labels[share], held_out.classes)
        right = [accuracy(forward, mine, self.device, self.plan.batch_size) * len(mine) if len(mine) else 0.0]
        attack = self.plan.attack
        if attack is not None and not len(mine):
            right.append(0.0)
        elif attack is not None:
            robust = robust_accuracy(
                forward,
                mine,
                attack.epsilon,
                self.device,
                batch_size=self.plan.batch_size,
                norm=attack.norm,
                steps=EPOCH_STEPS,
            )
            right.append(robust * len(mine))
        shares = [round(value / len(held_out), 5) for value in self.ranks.sums(right, self.device)]
        return shares[0], shares[1] if attack is not None else None

    def end_epoch(self, record: EpochRecord, checkpoint: Checkpoint) -> None:
        """Write the checkpoint, then say so."""
        self.done = record.epoch
        self.minutes += record.seconds / 60
        self.records.append(record)
        if self.ranks.rank == 0:
            state: dict[str, Any] = {
                "network": self.network.state_dict(),
                "averaged": self.averaged.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "epoch": self.done,
                "minutes": self.minutes,
                "records": [asdict(one) for one in self.records],
                "of": network_of(self.plan, self.pictures.classes),
            }
            checkpoint.write(to_bytes(state))
            self.follower.epoch(record)


def _running_average(decay: float) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor | int], torch.Tensor]:
    def average(mean: torch.Tensor, value: torch.Tensor, count: torch.Tensor | int) -> torch.Tensor:
        kept = min(decay, (1 + int(count)) / (FIRST_AVERAGES + int(count)))
        return mean * kept + value * (1 - kept)

    return average
