"""Whether the network that a bank declares is the one whose weights it has, found out without building it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from safetensors import safe_open

from models import architectures
from models.bank import WEIGHTS, Bank
from models.errors import BankError


def require_network(bank: Bank) -> None:
    """Compare the declared network with the weights, tensor by tensor; nothing is loaded, however large it says it is.

    Raises:
        BankError: they do not fit. ArchitectureError: there is no such network.
    """
    entry = bank.manifest.backbone
    with safe_open(bank.path / WEIGHTS, framework="np") as tensors:
        found = {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    # Widths and numbers of blocks beyond what the file holds would only cost time and memory to refuse.
    most = max([len(found), *(size for shape in found.values() for size in shape)])
    if any(number > most for number in _integers(entry.arguments)):
        raise BankError(f"bank {bank.name!r}: its network {entry.arguments!r} is larger than its weights"[:300])
    with torch.device("meta"):
        network = architectures.build(entry.architecture, len(bank.classes), entry.arguments)
    declared = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    if wrong := sorted(name for name in declared.keys() | found.keys() if declared.get(name) != found.get(name)):
        name = wrong[0]
        raise BankError(
            f"bank {bank.name!r}: its weights are not those of a {entry.architecture}: {name} is {found.get(name)}, "
            f"not {declared.get(name)}",
            field="bank",
        )


def _integers(value: Any) -> Iterator[int]:
    """All whole numbers in a JSON value."""
    if isinstance(value, int | float):
        yield int(value)
    elif isinstance(value, dict):
        yield from (number for one in value.values() for number in _integers(one))
    elif isinstance(value, list | tuple):
        yield from (number for one in value for number in _integers(one))
