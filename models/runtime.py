"""Where a network runs: devices, threads and ONNX Runtime sessions whose provider is never a surprise."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

# ONNX Runtime for Linux reports names and digests of the files it opens to its maker since 1.29, from a database in the
# home folder, unless this is set before it is imported. Who wants that sets it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

from models.errors import DeviceError

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda"]
CPU_PROVIDER = "CPUExecutionProvider"
CUDA_PROVIDER = "CUDAExecutionProvider"
NO_FALLBACK = "fallback to CPU EP has been explicitly disabled"
"""In the message of ONNX Runtime 1.31.1 where an operator has no CUDA kernel and may not run on the CPU."""


def resolve_device(device: str) -> torch.device:
    """The device asked for; `auto` is CUDA where there is one.

    Raises:
        DeviceError: CUDA was asked for and torch has none (never a silent fall-back to the CPU).
    """
    import torch  # here, not above: the process that runs an uploaded ONNX file does without torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    resolved = torch.device(device)
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise DeviceError(
            "device 'cuda' was asked for, but torch finds no CUDA device",
            field="device",
            remedy="set the device to 'cpu' or 'auto', or install a CUDA build of torch and its driver",
        )
    return resolved


def open_session(
    model: str | Path | bytes,
    device: str = "cpu",
    threads: int | None = None,
    allow_cpu_nodes: bool = True,
    cuda_memory_bytes: int | None = None,
) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on exactly the device asked for.

    Args:
        model: path or bytes of an ONNX file.
        device: "cpu" or "cuda" (also "cuda:1").
        threads: threads of one operator; all usable cores where None.
        allow_cpu_nodes: on CUDA, let single operators without a CUDA kernel (shape arithmetic) run on the CPU.
        cuda_memory_bytes: most memory the session takes on a CUDA device; no bound where None.

    Raises:
        DeviceError: CUDA was asked for and the session would run elsewhere. onnxruntime-gpu 1.31.1 itself only logs
            a warning and keeps the CPU, and lists CUDA as available even where it cannot load.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
    # Spinning threads starve a second process on the same cores; without spinning nothing measurable is lost.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not device.startswith("cuda"):
        return onnxruntime.InferenceSession(model, options, providers=[CPU_PROVIDER])
    onnxruntime.preload_dlls()
    cuda = {"device_id": device.partition(":")[2] or "0"}
    if cuda_memory_bytes is not None:
        cuda["gpu_mem_limit"] = str(cuda_memory_bytes)
    providers: list[str | tuple[str, dict[str, str]]] = [(CUDA_PROVIDER, cuda)]
    if allow_cpu_nodes:
        providers.append(CPU_PROVIDER)
    else:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        session = onnxruntime.InferenceSession(model, options, providers=providers)
    except Exception as error:
        if NO_FALLBACK in str(error):
            raise DeviceError(
                f"device {device!r} was asked for, but parts of the network have no CUDA kernel: {error}",
                field="device",
                remedy="allow single operators on the CPU, or set the device to 'cpu'",
            ) from error
        raise
    running = session.get_providers()[0]
    if running != CUDA_PROVIDER:
        raise DeviceError(
            f"device {device!r} was asked for, but ONNX Runtime would run on {running}",
            field="device",
            remedy="install the CUDA and cuDNN that onnxruntime-gpu was built for, or set the device to 'cpu'",
        )
    return session
