"""The training loop: seeded, resumable after each epoch, on CPU or GPU."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from models.architectures import ResNet
from models.architectures import build as build_architecture
from models.training.pictures import LabelledPictures
from models.training.plan import Plan
from models.training.progress import progress

FIRST_AVERAGES = 10
"""The running average follows the weights closely for about this many steps, so that the start is soon forgotten."""


@dataclass(frozen=True)
class Trained:
    """A trained network in eval mode with averaged weights, and the minutes its training took."""

    network: nn.Module
    minutes: float


def normaliser(plan: Plan, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
    """Pictures float [N, 3, H, W] in [0, 1] -> the network's input, (x - mean) / std per channel."""
    mean = torch.tensor(plan.mean, device=device).view(1, 3, 1, 1)
    std = torch.tensor(plan.std, device=device).view(1, 3, 1, 1)
    return lambda images: (images - mean) / std


def train(plan: Plan, pictures: LabelledPictures, checkpoint: Path, device: torch.device) -> Trained:
    """Train as planned, going on from ``checkpoint`` where it exists; it is rewritten after each epoch.

    ``plan.epochs`` may differ from the run that wrote the checkpoint: the learning rate then follows the new length.
    With one thread count, device and library version the result depends on the plan and the pictures alone.
    """
    torch.manual_seed(plan.seed)
    network = build_architecture(plan.architecture, len(pictures.classes), plan.arguments)
    network.to(device, memory_format=torch.channels_last)
    averaged = AveragedModel(network, avg_fn=_running_average(plan.averaging), use_buffers=True)
    decayed = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    undecayed = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    optimiser = torch.optim.SGD(
        [{"params": decayed, "weight_decay": plan.weight_decay}, {"params": undecayed, "weight_decay": 0.0}],
        lr=plan.learning_rate,
        momentum=plan.momentum,
        nesterov=True,
    )
    done, minutes = 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        network.load_state_dict(state["network"])
        averaged.load_state_dict(state["averaged"])
        optimiser.load_state_dict(state["optimiser"])
        done, minutes = state["epoch"], state["minutes"]
    for epoch in range(done, plan.epochs):
        started = time.monotonic()
        _train_epoch(plan, network, averaged, optimiser, pictures, epoch, device)
        minutes += (time.monotonic() - started) / 60
        state = {
            "network": network.state_dict(),
            "averaged": averaged.state_dict(),
            "optimiser": optimiser.state_dict(),
            "epoch": epoch + 1,
            "minutes": minutes,
        }
        partial = checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(checkpoint)
    return Trained(averaged.module.eval(), minutes)


def _train_epoch(
    plan: Plan,
    network: ResNet,
    averaged: AveragedModel,
    optimiser: torch.optim.Optimizer,
    pictures: LabelledPictures,
    epoch: int,
    device: torch.device,
) -> None:
    generator = torch.Generator().manual_seed(1_000_003 * plan.seed + epoch)
    normalise = normaliser(plan, device)
    steps = len(pictures) // plan.batch_size
    order = torch.randperm(len(pictures), generator=generator)

    def forward(images: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=plan.precision == "bf16"):
            logits: torch.Tensor = network(normalise(images)).float()
        return logits

    right = seen = 0
    with progress(f"epoch {epoch + 1}/{plan.epochs}", steps) as advance:
        for step in range(steps):
            rows = order[step * plan.batch_size : (step + 1) * plan.batch_size]
            labels = pictures.labels[rows].to(device)
            images = pictures.images[rows].to(device).float() / 255
            images = plan.augmentation.apply(images, generator).contiguous(memory_format=torch.channels_last)
            if plan.attack:
                network.eval()
                images = plan.attack.perturb(forward, images, labels, generator)
            network.train()
            logits = forward(images)
            loss = functional.cross_entropy(logits, labels, label_smoothing=plan.label_smoothing)
            for group in optimiser.param_groups:
                group["lr"] = plan.learning_rate_at((epoch + step / steps) / plan.epochs)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            averaged.update_parameters(network)
            right += int((logits.argmax(1) == labels).sum())
            seen += len(labels)
            advance(f"accuracy on the training batches {right / seen:.3f}")


def _running_average(decay: float) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor | int], torch.Tensor]:
    def average(mean: torch.Tensor, value: torch.Tensor, count: torch.Tensor | int) -> torch.Tensor:
        kept = min(decay, (1 + int(count)) / (FIRST_AVERAGES + int(count)))
        return mean * kept + value * (1 - kept)

    return average
