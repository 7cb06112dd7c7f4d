"""What a training run leaves behind: weights as safetensors and a card that says what they are."""

from __future__ import annotations

import json
import platform
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from models.training.plan import Plan


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file atomically, keys in the order given."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)


def provenance(plan: Plan, minutes: float, device: torch.device) -> dict[str, Any]:
    """The part of a card that says how the weights came about: plan, seed, command, minutes and machine."""
    return {
        "plan": asdict(plan),
        "seed": plan.seed,
        "command": shlex.join(["python", "-m", "models.training", *map(_file_name, sys.argv[1:])]),
        "minutes": round(minutes, 1),
        "machine": f"{device.type}, {torch.get_num_threads()} threads, {platform.machine()}",
        "torch": torch.__version__,
    }


def write_network(network: nn.Module, path: Path) -> None:
    """Write the weights as safetensors with torchvision's plain keys."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    partial = path.with_name(path.name + ".partial")
    save_file(weights, partial)
    partial.replace(path)


def _file_name(argument: str) -> str:
    """Paths are given by their last part: a card does not say where its author keeps his files."""
    return Path(argument).name if "/" in argument else argument
