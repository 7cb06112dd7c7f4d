"""Files told by their first bytes, so that a pickle in disguise is named as one and never opened."""

from __future__ import annotations

from pathlib import Path

from models.errors import ClassifierError

HEAD = 16

EXPORT = "export the network to ONNX (torch.onnx.export), or save its state dict with safetensors"

SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (
        0,
        b"PK\x03\x04",
        "a zip archive, as torch.save, TorchScript and torch.export write them around a pickle",
    ),
    (0, b"PK\x05\x06", "an empty zip archive"),
    *((0, bytes([0x80, protocol]), "a Python pickle, which runs code when it is opened") for protocol in range(2, 6)),
    (0, b"\x1f\x8b\x08", "a gzip file"),
    (0, b"BZh", "a bzip2 file"),
    (0, b"\xfd7zXZ", "an xz file"),
    (0, b"\x89HDF", "an HDF5 file, as Keras writes them"),
    (1, b"\0\0\0TFL3", "a TensorFlow Lite file"),
    (1, b"\0\0\0ORTM", "a file in ONNX Runtime's own format"),
    (0, b"GGUF", "a GGUF file"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"\x7fELF", "a program"),
    (0, b"MZ", "a Windows program"),
    (0, b"#!", "a script"),
)
"""(offset, bytes there, what the file is). No ONNX file begins like one of them."""


def recognise(head: bytes) -> str | None:
    """What a file with these first bytes is, where that can be told and it is not ONNX."""
    # First, for a safetensors file starts with any two bytes: the length of its header, here below 4 GiB.
    if head[4:9] == b"\0\0\0\0{":
        return "a safetensors file"
    for offset, signature, name in SIGNATURES:
        if head[offset : offset + len(signature)] == signature:
            return name
    return None


def refuse_disguise(path: Path, expected: str) -> None:
    """Refuse a file whose first bytes say that it is something else.

    Args:
        path: the file.
        expected: what it should be: "an ONNX file" or "a safetensors file".

    Raises:
        ClassifierError: it is empty, or recognised as something else.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head:
        raise ClassifierError("the file is empty", field="file", remedy="upload the whole file")
    found = recognise(head)
    if found not in (None, expected):
        raise ClassifierError(f"the file is not {expected} but {found}", field="file", remedy=EXPORT)
