"""Files of torch.save for tests: the layouts that others publish, and hostile ones."""

from __future__ import annotations

import importlib
import io
import os
import pickle
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models import architectures

CLASSES = 7
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
STRANGE = "strange_library"


def network(name: str = "resnet18", seed: int = 0, **arguments: Any) -> dict[str, Tensor]:
    """Random weights of a ResNet with `CLASSES` outputs."""
    torch.manual_seed(seed)
    return architectures.build(name, CLASSES, arguments).state_dict()


def robustness_layout(state: dict[str, Tensor], mean: tuple[float, ...] = MEAN) -> dict[str, Tensor]:
    """The state dict of an AttackerModel in DataParallel around the network."""
    figures = {"new_mean": torch.tensor(mean).view(3, 1, 1), "new_std": torch.tensor(STD).view(3, 1, 1)}
    return {
        **{f"module.normalizer.{name}": value for name, value in figures.items()},
        **{f"module.model.{name}": value for name, value in state.items()},
        **{f"module.attacker.normalize.{name}": value for name, value in figures.items()},
        **{f"module.attacker.model.{name}": value for name, value in state.items()},
    }


@contextmanager
def strange_objects() -> Iterator[dict[str, Any]]:
    """Objects of a library that is not there when the file is read: arguments, a scheduler, a function, a set."""
    module: Any = types.ModuleType(STRANGE)
    code = (
        "class Parameters(dict):\n    pass\n"
        "class Scheduler:\n    __slots__ = ('step', 'optimiser')\n"
        "    def __getstate__(self):\n        return (None, {'step': 3})\n"
        "def schedule(epoch):\n    return 0.1\n"
        "class Odd:\n    def __reduce__(self):\n"
        "        return (Odd.make, (1,), {'a': 1}, iter([1]), iter([('k', 2)]))\n"
        "    @staticmethod\n    def make(number):\n        return Odd()\n"
        "    def append(self, item):\n        pass\n"
        "    def __setitem__(self, key, value):\n        pass\n"
    )
    exec(code, module.__dict__)
    for name in ("Parameters", "Scheduler", "schedule", "Odd"):
        vars(module)[name].__module__ = STRANGE
    sys.modules[STRANGE] = module
    parameters = module.Parameters(lr=0.1)
    try:
        yield {
            "args": parameters,
            "schedule": module.Scheduler(),
            "function": module.schedule,
            "odd": module.Odd(),
            "seen": {1, 2},
            "epoch": 105,
        }
    finally:
        del sys.modules[STRANGE]


def save(content: Any, path: Path, legacy: bool = False) -> Path:
    """Write a file as torch.save does today, or did before torch 1.6."""
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


class Hostile:
    """Makes a file when it is unpickled."""

    def __init__(self, proof: Path, function: Callable[..., Any] = os.system) -> None:
        self.proof, self.function = proof, function

    def __reduce__(self) -> tuple[Any, ...]:
        if self.function is os.system:
            return os.system, (f"touch {self.proof}",)
        return self.function, (f"open({str(self.proof)!r}, 'w').close()",)


def runs_when_unpickled(hostile: Hostile) -> bool:
    """Whether the real unpickler would have run it: or the test would prove nothing."""
    pickle.loads(pickle.dumps(hostile))
    ran = hostile.proof.exists()
    hostile.proof.unlink(missing_ok=True)
    return ran


def is_importable(name: str) -> bool:
    """Whether a module can be found."""
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


def replaced(path: Path, target: Path, member: str, change: Callable[[bytes], bytes]) -> Path:
    """A copy of a zip archive, uncompressed as torch has it, with one member changed."""
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, change(content) if name.endswith(member) else content)
    target.write_bytes(buffer.getvalue())
    return target


def whole_module() -> nn.Module:
    """A network to be pickled as it is."""
    return architectures.build("resnet18", CLASSES)
