"""Where a network runs: devices, threads and ONNX Runtime sessions whose provider is never a surprise."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import onnxruntime

from models.errors import BackboneError

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda"]
CPU_PROVIDER = "CPUExecutionProvider"
CUDA_PROVIDER = "CUDAExecutionProvider"


def resolve_device(device: str) -> torch.device:
    """The device asked for; `auto` is CUDA where there is one.

    Raises:
        BackboneError: CUDA was asked for and torch has none (never a silent fall-back to the CPU).
    """
    import torch  # here, not above: the process that runs an uploaded ONNX file does without torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    resolved = torch.device(device)
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise BackboneError(
            "device 'cuda' was asked for, but torch finds no CUDA device",
            field="device",
            remedy="set the device to 'cpu' or 'auto', or install a CUDA build of torch and its driver",
        )
    return resolved


def open_session(
    model: str | Path | bytes, device: str = "cpu", threads: int | None = None, allow_cpu_nodes: bool = True
) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on exactly the device asked for.

    Args:
        model: path or bytes of an ONNX file.
        device: "cpu" or "cuda" (also "cuda:1").
        threads: threads of one operator; all usable cores where None.
        allow_cpu_nodes: on CUDA, let single operators without a CUDA kernel (shape arithmetic) run on the CPU.

    Raises:
        RuntimeError: CUDA was asked for and the session would run elsewhere. onnxruntime-gpu 1.31.1 itself only logs
            a warning and keeps the CPU, and lists CUDA as available even where it cannot load.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
    # Spinning threads starve a second process on the same cores; without spinning nothing measurable is lost.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers: list[str | tuple[str, dict[str, str]]] = [CPU_PROVIDER]
    if device.startswith("cuda"):
        onnxruntime.preload_dlls()
        index = device.partition(":")[2] or "0"
        providers = (
            [(CUDA_PROVIDER, {"device_id": index}), CPU_PROVIDER]
            if allow_cpu_nodes
            else [(CUDA_PROVIDER, {"device_id": index})]
        )
        if not allow_cpu_nodes:
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    session = onnxruntime.InferenceSession(model, options, providers=providers)
    running = session.get_providers()[0]
    if device.startswith("cuda") and running != CUDA_PROVIDER:
        raise RuntimeError(f"device {device!r} was asked for, but ONNX Runtime would run on {running}")
    return session
