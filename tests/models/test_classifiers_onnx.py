"""ONNX classifiers: the pixels arrive as declared, and files that must not or cannot be run are refused in words."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from models.classifiers import inspect_file, open_classifier
from models.classifiers.inputs import NetworkInput
from models.errors import ClassifierError, DeviceError
from models.geometry import normalise
from models.preprocessing import Preprocessing
from tests.networks import CLASSES, SIDE, WEIGHTS, endless, external, pictures, pooled, save, scores_of, spec

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
BYTES = {"size": SIDE, "scale": "byte"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "network.onnx"


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("colour", ["RGB", "BGR"])
@pytest.mark.parametrize("scale", ["unit", "byte"])
def test_pixels_are_prepared_as_for_every_other_network(layout: str, colour: str, scale: str) -> None:
    declared = Preprocessing.model_validate(
        {"size": SIDE, "mean": MEAN, "std": STD, "layout": layout, "colour": colour, "scale": scale}
    )
    batch = pictures(3)
    expected = normalise(torch.from_numpy(batch), declared).numpy()
    found = NetworkInput(declared)(batch)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert found.flags.c_contiguous


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(TensorProto.FLOAT, 1e-5), (TensorProto.FLOAT16, 2e-3), (TensorProto.DOUBLE, 1e-5)],
)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_scores_are_the_networks(file: Path, dtype: int, tolerance: float, layout: str) -> None:
    declared = spec(preprocessing={"size": SIDE, "mean": MEAN, "std": STD, "layout": layout})
    classifier = open_classifier(pooled(file, dtype=dtype, layout=layout), declared)
    batch = pictures(5)
    expected = scores_of(normalise(torch.from_numpy(batch), declared.preprocessing).numpy(), layout)
    found = classifier.forward(batch)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=tolerance)
    assert classifier.provider == "CPUExecutionProvider"


def test_a_network_of_raw_bytes_gets_rounded_bytes(file: Path) -> None:
    classifier = open_classifier(pooled(file, dtype=TensorProto.UINT8), spec(preprocessing=BYTES))
    batch = pictures(2)
    np.testing.assert_allclose(classifier.forward(batch), scores_of(np.rint(batch * 255)), rtol=1e-4)


@pytest.mark.parametrize("count", [1, 4, 5, 9])
def test_a_fixed_batch_is_filled_up_and_gives_what_any_batch_gives(tmp_path: Path, count: int) -> None:
    fixed = open_classifier(pooled(tmp_path / "fixed.onnx", batch=4), spec())
    free = open_classifier(pooled(tmp_path / "free.onnx"), spec())
    assert (fixed.fixed_batch, free.fixed_batch) == (4, None)
    batch = pictures(count)
    np.testing.assert_allclose(fixed.forward(batch), free.forward(batch), rtol=1e-6)


def test_an_input_without_sizes_takes_the_declared_one(file: Path) -> None:
    classifier = open_classifier(pooled(file, sides=("height", "width")), spec())
    assert classifier.forward(pictures(2)).shape == (2, len(CLASSES))


def _two_inputs(file: Path) -> Path:
    both = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, SIDE, SIDE]) for name in ("left", "right")]
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, None)
    return save(file, [helper.make_node("Add", ["left", "right"], ["scores"])], both, [scores])


def _two_outputs(file: Path) -> Path:
    pooled(file)
    model = onnx.load(file)
    model.graph.node.append(helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0))
    model.graph.output.append(helper.make_tensor_value_info("label", TensorProto.INT64, ["n"]))
    onnx.save(model, file)
    return file


@pytest.mark.parametrize(
    ("make", "changes", "field", "message"),
    [
        (
            pooled,
            {"classes": ["cat", "dog"]},
            "classes",
            "gives 3 scores per picture; 2 classes are declared",
        ),
        (
            pooled,
            {"preprocessing": {"size": 32}},
            "preprocessing",
            r"\['n', 3, 16, 16\]; declared is \[N, 3, 32, 32\]",
        ),
        (pooled, {"input_name": "image"}, "input_name", "no input 'image'; the inputs are"),
        (pooled, {"output_name": "logits"}, "output_name", "no output 'logits'; the outputs are"),
        (
            lambda file: pooled(file, channels=1, weights=WEIGHTS[:1]),
            {},
            "preprocessing",
            r"\['n', 1, 16, 16\]",
        ),
        (lambda file: pooled(file, layout="NHWC"), {}, "preprocessing", r"\['n', 16, 16, 3\]"),
        (lambda file: pooled(file, dtype=TensorProto.BFLOAT16), {}, "file", r"takes tensor\(bfloat16\)"),
        (lambda file: pooled(file, dtype=TensorProto.UINT8), {}, "preprocessing", "takes uint8"),
        (_two_inputs, {}, "file", r"needs 2 inputs \(left, right\)"),
        (_two_outputs, {}, "output_name", r"has 2 outputs \(scores, label\)"),
        (_two_outputs, {"output_name": "label"}, "output_name", r"gives tensor\(int64\), not scores"),
    ],
)
def test_a_network_that_does_not_fit_its_declaration_is_refused(
    file: Path, make: Callable[[Path], Path], changes: dict[str, object], field: str, message: str
) -> None:
    with pytest.raises(ClassifierError, match=message) as refused:
        open_classifier(make(file), spec(**changes))
    assert refused.value.field == field


def test_of_several_outputs_the_named_one_is_read(file: Path) -> None:
    classifier = open_classifier(_two_outputs(file), spec(output_name="scores"))
    np.testing.assert_allclose(classifier.forward(pictures(2)), scores_of(pictures(2)), atol=1e-5)


def test_a_turned_layout_is_recognised_in_the_remedy(file: Path) -> None:
    with pytest.raises(ClassifierError) as refused:
        open_classifier(pooled(file, layout="NHWC"), spec())
    assert refused.value.remedy == "declare layout 'NHWC'"


def test_a_number_of_scores_known_only_when_run_is_checked_then(file: Path) -> None:
    kept = helper.make_tensor("kept", TensorProto.BOOL, [3], [True, False, True])
    pooled(
        file,
        scores=None,
        after=[
            helper.make_node("Constant", [], ["kept"], value=kept),
            helper.make_node("Compress", ["linear", "kept"], ["scores"], axis=1),
        ],
    )
    with pytest.raises(ClassifierError, match=r"2 pictures gave scores of shape \[2, 2\], not \[2, 3\]"):
        open_classifier(file, spec()).forward(pictures(2))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA, so nothing can be missing")
@pytest.mark.parametrize("allow_cpu_nodes", [True, False])
def test_cuda_asked_for_and_not_had_is_an_error(file: Path, allow_cpu_nodes: bool) -> None:
    with pytest.raises(DeviceError, match="'cuda' was asked for"):
        open_classifier(pooled(file), spec(), "cuda", allow_cpu_nodes=allow_cpu_nodes)


@pytest.mark.parametrize("location", ["../secrets.bin", "/etc/passwd", "weights.bin", "nested/../../secrets.bin"])
def test_weights_in_other_files_are_refused_wherever_they_lie(file: Path, location: str) -> None:
    (file.parent / "weights.bin").write_bytes(WEIGHTS.tobytes())
    with pytest.raises(ClassifierError, match=f"'weights' lies in another file \\('{location}'\\)") as refused:
        inspect_file(external(file, location), spec())
    assert "external_data=False" in (refused.value.remedy or "")


@pytest.mark.parametrize("location", ["../secrets.bin", "/etc/passwd", "link.bin"])
def test_the_runtime_too_refuses_weights_outside_the_folder(tmp_path: Path, location: str) -> None:
    """So the inspection is not the only thing in their way (ONNX Runtime before 1.24 opened some of them)."""
    folder = tmp_path / "inside"
    folder.mkdir()
    (tmp_path / "secrets.bin").write_bytes(WEIGHTS.tobytes())
    (folder / "link.bin").symlink_to(tmp_path / "secrets.bin")
    with pytest.raises(ClassifierError, match="External data path"):
        open_classifier(external(folder / "network.onnx", location), spec())


def test_weights_elsewhere_are_found_inside_the_body_of_a_loop(file: Path) -> None:
    endless(file)
    model = onnx.load(file)
    loop = next(node for node in model.graph.node if node.op_type == "Loop")
    hidden = loop.attribute[0].g.initializer.add(name="hidden", data_type=TensorProto.FLOAT, dims=[1])
    hidden.data_location = TensorProto.EXTERNAL
    hidden.external_data.add(key="location", value="../x")
    file.write_bytes(model.SerializeToString())
    with pytest.raises(ClassifierError, match="'hidden' lies in another file"):
        inspect_file(file, spec())


@pytest.mark.parametrize(("domain", "operator"), [("evil.example", "Run"), ("com.microsoft", "EPContext")])
def test_foreign_operators_are_refused(file: Path, domain: str, operator: str) -> None:
    pooled(file, after=[helper.make_node(operator, ["linear"], ["scores"], domain=domain)])
    with pytest.raises(ClassifierError, match=f"{domain}::{operator} is not one of ONNX Runtime's own"):
        inspect_file(file, spec())


def test_functions_a_file_defines_itself_are_its_own(file: Path) -> None:
    pooled(file, after=[helper.make_node("Twice", ["linear"], ["scores"], domain="mine")])
    model = onnx.load(file)
    twice = helper.make_node("Add", ["x", "x"], ["y"])
    model.functions.append(helper.make_function("mine", "Twice", ["x"], ["y"], [twice], [helper.make_opsetid("", 20)]))
    model.opset_import.append(helper.make_opsetid("mine", 1))
    onnx.save(model, file)
    inspect_file(file, spec())
    np.testing.assert_allclose(
        open_classifier(file, spec()).forward(pictures(2)), 2 * scores_of(pictures(2)), atol=1e-5
    )


def _pickled(file: Path) -> None:
    file.write_bytes(pickle.dumps({"state_dict": [1, 2, 3]}))


def _saved_by_torch(file: Path) -> None:
    torch.save(torch.nn.Linear(2, 2).state_dict(), file)


def _safetensors(file: Path) -> None:
    file.write_bytes((2).to_bytes(8, "little") + b"{}")


def _cut_off(file: Path) -> None:
    file.write_bytes(pooled(file).read_bytes()[:-50])


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (_pickled, "not an ONNX file but a Python pickle"),
        (_saved_by_torch, "not an ONNX file but a zip archive, as torch.save"),
        (_safetensors, "not an ONNX file but a safetensors file"),
        (_cut_off, "not ONNX, or it is cut off"),
        (lambda file: file.write_bytes(b""), "empty"),
        (lambda file: file.write_text("a picture of a cat"), "not ONNX"),
        (lambda file: file.write_bytes(onnx.ModelProto(ir_version=10).SerializeToString()), "holds no graph"),
    ],
)
def test_files_that_are_something_else_are_refused_by_name(
    file: Path, write: Callable[[Path], object], message: str
) -> None:
    write(file)
    with pytest.raises(ClassifierError, match=message) as refused:
        inspect_file(file, spec())
    assert refused.value.field == "file"


def test_an_honest_file_passes(file: Path) -> None:
    inspect_file(pooled(file), spec())


def test_the_runtime_reports_to_nobody(tmp_path: Path) -> None:
    """ONNX Runtime keeps what it means to send in the home folder; CI machines are spared without being asked."""
    done = subprocess.run(
        [sys.executable, "-c", "import models.runtime; print(open('/proc/self/maps').read())"],
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "libonnxruntime" in done.stdout or "onnxruntime_pybind11_state" in done.stdout
    assert list(tmp_path.iterdir()) == []
