"""Classifiers people bring to be audited: what is declared about one, and how each file format is read and run.

A new format is one new module with `inspect` and `open_classifier`, and one row in `formats`. The module is imported
when it is needed: running an ONNX file must not cost the import of torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

    from models.classifiers.linear_head import LinearHead
    from models.classifiers.spec import ClassifierSpec
    from models.spufix import Correction


@dataclass(frozen=True)
class Format:
    """A file format of classifiers.

    Attributes:
        title: what it is, for people.
        module: the module that reads and runs it.
        requires: fields of `ClassifierSpec` that must be declared for it.
        accepts: further fields that may be.
    """

    title: str
    module: str
    requires: frozenset[str] = frozenset()
    accepts: frozenset[str] = frozenset()

    def load(self) -> Any:
        """The module, with `inspect` and `open_classifier` as declared by the functions below."""
        return import_module(self.module)


formats: dict[str, Format] = {
    "onnx": Format(
        "ONNX with embedded weights, run by ONNX Runtime",
        "models.classifiers.onnx",
        accepts=frozenset({"input_name", "output_name"}),
    ),
    "safetensors": Format(
        "safetensors weights of a named torchvision architecture, run by torch",
        "models.classifiers.safetensors",
        requires=frozenset({"architecture"}),
        accepts=frozenset({"arguments"}),
    ),
}


class Classifier(Protocol):
    """An opened classifier.

    Attributes:
        provider: what really runs it, e.g. "CPUExecutionProvider" or "torch-cuda".
        fixed_batch: the only number of pictures its network takes at once (others are padded), or None for any.
        head: its last linear layer, where it was opened for its features.
        spufix: what is taken off the scores behind that layer, if anything.
    """

    provider: str
    fixed_batch: int | None
    head: LinearHead | None
    spufix: Correction | None

    def forward(self, batch: np.ndarray) -> np.ndarray:
        """Scores of pictures.

        Args:
            batch: float32 [N, 3, s, s] in [0, 1], RGB, before `mean` and `std`; s is the declared size and N >= 1.

        Returns:
            float32 [N, C], the network's raw outputs in the order of the declared classes.

        Raises:
            ClassifierError: the outputs are not one score per declared class and picture.
        """
        ...

    def look(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores of pictures and the features they come from, of a classifier that has a head.

        Returns:
            float32 [N, C] as `forward`, and float32 [N, D], with which `head` (less `spufix`) gives these scores.

        Raises:
            ClassifierError: as `forward`; HeadError: the head does not give these scores.
        """
        ...


def inspect_file(path: Path, spec: ClassifierSpec) -> None:
    """Read a file without running it.

    Parsers are native code too: hand them files of unknown origin in a process of their own (`jobs.isolation`).

    Raises:
        ClassifierError: the file is not what `spec` declares, or asks for more than to be run.
    """
    formats[spec.format].load().inspect(path, spec)


def open_classifier(
    path: Path,
    spec: ClassifierSpec,
    device: str = "cpu",
    threads: int = 1,
    *,
    allow_cpu_nodes: bool = True,
    cuda_memory_bytes: int | None = None,
    features: bool = False,
) -> Classifier:
    """Open a file that `inspect_file` let pass.

    Args:
        path: the file.
        spec: what its owner declares about it.
        device: "cpu" or "cuda".
        threads: CPU threads of the runtime.
        allow_cpu_nodes: on CUDA, let single ONNX operators without a CUDA kernel run on the CPU.
        cuda_memory_bytes: most memory taken on a CUDA device; no bound where None.
        features: find its last linear layer, and let it `look`.

    Raises:
        HeadError: features are asked for and its scores do not come from a linear layer.
        ClassifierError: the network does not fit `spec` (input, outputs, number of classes, architecture).
        DeviceError: the device asked for would not be the one that runs.
    """
    opened: Classifier = (
        formats[spec.format]
        .load()
        .open_classifier(path, spec, device, threads, allow_cpu_nodes, cuda_memory_bytes, features)
    )
    return opened
