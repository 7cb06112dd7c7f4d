"""Several processes that train one network, each on its share of every batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Ranks:
    """This process among those of the run; rank 0 writes."""

    rank: int = 0
    world: int = 1

    @classmethod
    def current(cls) -> Ranks:
        """As torch's launcher has set them up; alone where it has not."""
        if not distributed.is_initialized():
            return cls()
        return cls(distributed.get_rank(), distributed.get_world_size())

    def share(self, count: int) -> slice:
        """Which of ``count`` rows are this process's."""
        return slice(self.rank * count // self.world, (self.rank + 1) * count // self.world)

    def parallel(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The module to train through: its gradients are the mean over all processes.

        Running statistics of batch norm are rank 0's.
        """
        if self.world == 1:
            return network
        return DistributedDataParallel(network, device_ids=[device.index] if device.type == "cuda" else None)

    def sums(self, values: list[float], device: torch.device) -> list[float]:
        """Each value, summed over the processes."""
        if self.world == 1:
            return values
        total = torch.tensor(values, dtype=torch.float64, device=device)
        distributed.all_reduce(total)
        return [float(value) for value in total]


def synchronised(network: nn.Module, device: torch.device, ranks: Ranks) -> nn.Module:
    """With batch norm over the whole batch, where the backend can: on CUDA. Its keys stay the same."""
    if ranks.world == 1 or device.type != "cuda":
        return network
    converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    return converted
