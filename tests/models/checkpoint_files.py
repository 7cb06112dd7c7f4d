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


class Named:
    """Stands in a pickle for something of this name, or for what it gives for some arguments."""

    def __init__(self, module: str, name: str, arguments: tuple[Any, ...] | None = None) -> None:
        self.module, self.name, self.arguments = module, name, arguments


class Persistent:
    """Stands in a pickle for what is kept outside under this identifier."""

    def __init__(self, identifier: tuple[Any, ...]) -> None:
        self.identifier = identifier


def pickled(content: Any) -> io.BytesIO:
    """A pickle by hand of `Named`, `Persistent`, tuples, and what needs no import."""

    def program(value: Any) -> bytes:
        if isinstance(value, Named):
            name = f"c{value.module}\n{value.name}\n".encode()
            return name if value.arguments is None else name + program(value.arguments) + b"R"
        if isinstance(value, Persistent):
            return program(value.identifier) + b"Q"
        if isinstance(value, tuple):
            return b"(" + b"".join(map(program, value)) + b"t"
        return pickle.dumps(value, 2)[2:-1]

    return io.BytesIO(b"\x80\x02" + program(content) + b".")


def nested(path: Path, target: Path) -> Path:
    """A copy of a zip archive of torch in which each storage's member holds the members that follow it."""
    import struct
    import zipfile
    from zlib import crc32

    with zipfile.ZipFile(path) as old:
        contents = {name: old.read(name) for name in old.namelist()}
    storages = [name for name in contents if "/data/" in name]
    body, directory = bytearray(), bytearray()

    def header(name: str, content: bytes) -> bytes:
        return struct.pack(
            "<4s5H3L2H", b"PK\x03\x04", 20, 0, 0, 0, 0, crc32(content), *[len(content)] * 2, len(name), 0
        )

    def enter(name: str, content: bytes, offset: int) -> None:
        fields = struct.pack("<6H3L", 20, 20, 0, 0, 0, 0, crc32(content), *[len(content)] * 2)
        directory.extend(
            b"PK\x01\x02" + fields + struct.pack("<5H2L", len(name), 0, 0, 0, 0, 0, offset) + name.encode()
        )

    for name in contents.keys() - set(storages):
        enter(name, contents[name], len(body))
        body += header(name, contents[name]) + name.encode() + contents[name]
    inner, places = b"", []
    for name in reversed(storages):
        inner = contents[name] + inner
        places.append((name, inner))
        inner = header(name, inner) + name.encode() + inner
    for name, content in reversed(places):
        whole = len(body) + len(inner)
        enter(name, content, whole - len(content) - len(header(name, content)) - len(name))
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, *[len(contents)] * 2, len(directory), len(body) + len(inner), 0)
    target.write_bytes(bytes(body) + inner + bytes(directory) + end)
    return target


def whole_module() -> nn.Module:
    """A network to be pickled as it is."""
    return architectures.build("resnet18", CLASSES)
