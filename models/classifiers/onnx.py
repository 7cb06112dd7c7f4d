"""Classifiers as ONNX files, run by ONNX Runtime without any custom operators."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.classifiers.inputs import NetworkInput
from models.classifiers.linear_head import as_features
from models.classifiers.spec import ClassifierSpec
from models.errors import ClassifierError, DeviceError
from models.runtime import open_session

if TYPE_CHECKING:
    from models.classifiers.onnx_head import OnnxHead

INPUT_TYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}
SCORE_TYPES = ("tensor(float)", "tensor(float16)", "tensor(double)")


def inspect(path: Path, spec: ClassifierSpec) -> None:
    """Parse the file without running it; see `models.classifiers.inspect_file`."""
    from models.classifiers.onnx_graph import (
        inspect_graph,
    )  # here: running a file does without the onnx package

    inspect_graph(path)


def open_classifier(
    file: Path | bytes,
    spec: ClassifierSpec,
    device: str,
    threads: int,
    allow_cpu_nodes: bool,
    cuda_memory_bytes: int | None,
    features: bool = False,
) -> OnnxClassifier:
    """Start a session on a file or on what one would hold; see `models.classifiers.open_classifier`."""
    model, head = file, None
    if features:
        from models.classifiers.onnx_head import open_head  # here: running a file does without the onnx package

        head, model = open_head(file if isinstance(file, bytes) else file.read_bytes(), spec.output_name)
    try:
        session = open_session(model, device, threads, allow_cpu_nodes, cuda_memory_bytes)
    except DeviceError:
        raise
    except Exception as error:  # ONNX Runtime's errors share no base class
        raise ClassifierError(
            f"ONNX Runtime cannot load the file: {error}",
            field="file",
            remedy="check it with onnx.checker.check_model and run it once with onnxruntime",
        ) from error
    return OnnxClassifier(session, spec, head)


class OnnxClassifier:
    """A session with one input for pictures and one output for scores; a `models.classifiers.Classifier`."""

    def __init__(self, session: Any, spec: ClassifierSpec, head: OnnxHead | None = None) -> None:
        """Check the session's declared input and output against the spec.

        Args:
            session: of ONNX Runtime.
            spec: what its owner declares.
            head: its last linear layer; what goes into it is a further output of the session.

        Raises:
            ClassifierError: they do not fit.
        """
        self._session = session
        self._classes = len(spec.classes)
        source = _only_input(session.get_inputs(), spec.input_name)
        self.head = None if head is None else head.layer
        self.spufix = None if head is None or head.spufix is None else head.spufix.correction
        self._features_name = "" if head is None else head.features
        outputs = [one for one in session.get_outputs() if one.name != self._features_name]
        scores = _scores_output(outputs, spec.output_name)
        self._input_name, self._output_name = source.name, scores.name
        self._input = NetworkInput(spec.preprocessing, _input_type(source, spec))
        self.fixed_batch = _fixed_batch(source, spec)
        self.provider: str = session.get_providers()[0]
        _check_scores(scores, self._classes)

    def forward(self, batch: np.ndarray) -> np.ndarray:
        """float32 [N, 3, s, s] in [0, 1] -> float32 [N, C]; see `models.classifiers.Classifier`."""
        return self._run(batch, [self._output_name])[0]

    def look(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same and the features behind it, float32 [N, D]; see `models.classifiers.Classifier`."""
        assert self.head is not None
        scores, found = self._run(batch, [self._output_name, self._features_name])
        features = as_features(found, len(batch), self.head.weight.shape[1])
        taken = np.float32(0) if self.spufix is None else self.spufix.taken(features).astype(np.float32)
        self.head.check(features, scores + taken)
        return scores, features

    def _run(self, batch: np.ndarray, names: list[str]) -> list[np.ndarray]:
        """Some outputs, the scores first, whatever number of pictures the network takes at once."""
        if self.fixed_batch is None:
            return self._run_whole(batch, names)
        starts = range(0, len(batch), self.fixed_batch)
        parts = [self._run_padded(batch[at : at + self.fixed_batch], names) for at in starts]
        return [np.concatenate(own) for own in zip(*parts, strict=True)]

    def _run_padded(self, batch: np.ndarray, names: list[str]) -> list[np.ndarray]:
        assert self.fixed_batch is not None
        missing = self.fixed_batch - len(batch)
        padding = np.zeros((missing, *batch.shape[1:]), batch.dtype)
        whole = self._run_whole(np.concatenate([batch, padding]) if missing else batch, names)
        return [own[: len(batch)] for own in whole]

    def _run_whole(self, batch: np.ndarray, names: list[str]) -> list[np.ndarray]:
        scores, *further = self._session.run(names, {self._input_name: self._input(batch)})
        if scores.shape[:2] != (len(batch), self._classes) or scores.size != len(batch) * self._classes:
            raise ClassifierError(
                f"{len(batch)} pictures gave scores of shape {list(scores.shape)}, "
                f"not [{len(batch)}, {self._classes}]: {self._classes} classes are declared",
                field="classes",
                remedy="declare one class per output, and export with a batch dimension first",
            )
        return [np.asarray(scores.reshape(len(batch), self._classes), np.float32), *further]


def _only_input(inputs: list[Any], name: str | None) -> Any:
    names = [found.name for found in inputs]
    if name is not None and name not in names:
        raise ClassifierError(f"there is no input {name!r}; the inputs are {names}", field="input_name")
    if len(inputs) != 1:
        raise ClassifierError(
            f"the network needs {len(inputs)} inputs ({', '.join(names)}); an audit feeds pictures only",
            field="file",
            remedy="export it with one input for pictures and all others made constant",
        )
    return inputs[0]


def _scores_output(outputs: list[Any], name: str | None) -> Any:
    by_name = {found.name: found for found in outputs}
    if name is not None and name not in by_name:
        raise ClassifierError(f"there is no output {name!r}; the outputs are {list(by_name)}", field="output_name")
    if name is None and len(outputs) != 1:
        raise ClassifierError(
            f"the network has {len(outputs)} outputs ({', '.join(by_name)})",
            field="output_name",
            remedy="declare output_name: the output with one score per class",
        )
    return by_name[name] if name is not None else outputs[0]


def _input_type(source: Any, spec: ClassifierSpec) -> type[np.generic]:
    if source.type not in INPUT_TYPES:
        raise ClassifierError(
            f"input {source.name!r} takes {source.type}; pictures can be given as {', '.join(INPUT_TYPES)}",
            field="file",
            remedy="export with a float32 input and convert inside the network",
        )
    declared = spec.preprocessing
    raw_bytes = declared.scale == "byte" and not any(declared.mean) and set(declared.std) == {1.0}
    if source.type == "tensor(uint8)" and not raw_bytes:
        raise ClassifierError(
            f"input {source.name!r} takes uint8, which holds raw pixels only",
            field="preprocessing",
            remedy="declare scale 'byte', mean [0, 0, 0] and std [1, 1, 1], or export with a float32 input",
        )
    return INPUT_TYPES[source.type]


def _fixed_batch(source: Any, spec: ClassifierSpec) -> int | None:
    """Check the input's declared shape; its first dimension where that is a number."""
    side, layout = spec.preprocessing.size, spec.preprocessing.layout
    expected = [3, side, side] if layout == "NCHW" else [side, side, 3]
    shape = list(source.shape)
    if len(shape) != 4 or any(isinstance(d, int) and d != e for d, e in zip(shape[1:], expected, strict=False)):
        other = "NHWC" if layout == "NCHW" else "NCHW"
        looks_turned = len(shape) == 4 and shape[3 if layout == "NCHW" else 1] == 3
        raise ClassifierError(
            f"input {source.name!r} has shape {shape}; declared is [N, {', '.join(map(str, expected))}] ({layout})",
            field="preprocessing",
            remedy=f"declare layout {other!r}" if looks_turned else "declare the size and layout it was exported with",
        )
    return shape[0] if isinstance(shape[0], int) else None


def _check_scores(scores: Any, classes: int) -> None:
    if scores.type not in SCORE_TYPES:
        raise ClassifierError(
            f"output {scores.name!r} gives {scores.type}, not scores ({', '.join(SCORE_TYPES)})",
            field="output_name",
            remedy="name an output with one floating-point score per class, not the label it chose",
        )
    shape = list(scores.shape)
    if len(shape) > 1 and isinstance(shape[1], int) and shape[1] != classes:
        raise ClassifierError(
            f"output {scores.name!r} gives {shape[1]} scores per picture; {classes} classes are declared",
            field="classes",
            remedy="declare one class name per output, in the order of the outputs",
        )
