"""Where a session runs is never a surprise."""

from __future__ import annotations

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from models.errors import DeviceError
from models.runtime import CPU_PROVIDER, open_session, resolve_device

without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA, so nothing can be missing")


@pytest.fixture
def doubling() -> bytes:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "doubling", [value], [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def test_the_cpu_is_what_it_says(doubling: bytes) -> None:
    assert open_session(doubling, threads=1).get_providers() == [CPU_PROVIDER]


@without_cuda
def test_a_silent_fall_back_to_the_cpu_is_an_error(doubling: bytes) -> None:
    with pytest.raises(DeviceError, match="cuda"):
        open_session(doubling, device="cuda")


@without_cuda
def test_auto_takes_what_there_is_and_cuda_must_be_there() -> None:
    assert resolve_device("auto") == torch.device("cpu")
    with pytest.raises(DeviceError, match="CUDA"):
        resolve_device("cuda")
