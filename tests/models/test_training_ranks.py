"""Several processes train what one would: each on its share of every batch, with the draws of the whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed, multiprocessing, nn

from models.architectures import build
from models.training import loop
from models.training.attack import Attack
from models.training.augmentation import Augmentation
from models.training.following import Silent
from models.training.loop import Trained
from models.training.pictures import LabelledPictures
from models.training.plan import Plan
from models.training.ranks import Ranks

PROCESSES = 2


def bright_or_dark(seed: int, count: int) -> LabelledPictures:
    """16-pixel pictures in two classes."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    images = torch.randint(0, 100, (count, 3, 16, 16), generator=draw) + 60 * labels.view(-1, 1, 1, 1)
    return LabelledPictures(images.to(torch.uint8), labels, ("dark", "bright"))


def without_batch_statistics(name: str, classes: int, arguments: Any) -> nn.Module:
    """The network with each batch norm replaced by what looks at one picture only: on CPU no norm sees other ranks."""
    network = build(name, classes, arguments)
    for module in list(network.modules()):
        for part, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, part, nn.GroupNorm(1, child.num_features))
    return network


def train(folder: Path) -> Trained:
    plan = Plan(
        architecture="small_resnet",
        arguments={"widths": [4, 4, 8, 8], "strides": [1, 2, 1, 1], "stem_stride": 2},
        epochs=2,
        mean=(0.5, 0.5, 0.5),
        std=(0.3, 0.3, 0.3),
        attack=Attack(0.3, 2, 0.2),
        augmentation=Augmentation(flip=True, padding=2),
        batch_size=8,
        learning_rate=0.05,
        averaging=0.5,
        precision="fp32",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "build_architecture", without_batch_statistics)
        pictures, held_out = bright_or_dark(1, 32), bright_or_dark(2, 21)
        return loop.train(plan, pictures, folder / "c.pt", torch.device("cpu"), held_out=held_out, follower=Silent())


def take_part(rank: int, folder: str) -> None:
    """One of the processes; the first leaves what came out."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=PROCESSES)
    trained = train(Path(folder))
    if rank == 0:
        torch.save((trained.network.state_dict(), trained.epochs), f"{folder}/trained.pt")
    distributed.barrier()
    distributed.destroy_process_group()


def test_two_processes_train_what_one_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one = train(tmp_path / "one")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    multiprocessing.spawn(take_part, (str(tmp_path / "two"),), nprocs=PROCESSES)
    weights, epochs = torch.load(tmp_path / "two" / "trained.pt", weights_only=False)
    for name, tensor in one.network.state_dict().items():
        torch.testing.assert_close(weights[name], tensor, atol=1e-5, rtol=1e-4)
    for there, here in zip(epochs, one.epochs, strict=True):
        assert there.loss == pytest.approx(here.loss, abs=1e-4)
        assert (there.training, there.clean, there.pictures) == (here.training, here.clean, 21)
        assert there.robust == pytest.approx(here.robust, abs=0.1)


@pytest.mark.parametrize("world", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [0, 1, 4, 21])
def test_every_row_is_one_processs(world: int, count: int) -> None:
    shares = [Ranks(rank, world).share(count) for rank in range(world)]
    assert [row for share in shares for row in range(count)[share]] == list(range(count))
