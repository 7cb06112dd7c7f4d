"""Released components are read without running anything, and whatever else a file holds is refused with the reason."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import LabelsError
from models.published.spurious_components import MAX_BYTES, read_components

LABELS = {400: [7], 459: [23], 87: [6], 738: [0, 6, 3], 756: [1], 999: [300]}


def npy(program: bytes, header: str | None = None, version: bytes = b"\x01\x00") -> bytes:
    text = (header or "{'descr': '|O', 'fortran_order': False, 'shape': (), }").encode()
    size = len(text).to_bytes(2 if version == b"\x01\x00" else 4, "little")
    return b"\x93NUMPY" + version + size + text + program


def saved(content: object, protocol: int | None = None) -> bytes:
    """As NumPy saves it, with any protocol."""
    array = np.empty((), dtype=object)
    array[()] = content
    if protocol is not None:
        return npy(pickle.dumps(array, protocol))
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def read(tmp_path: Path, content: bytes, **limits: int) -> dict[int, tuple[int, ...]]:
    path = tmp_path / "spurious_components.npy"
    path.write_bytes(content)
    return read_components(path, **limits)


def test_components_come_by_class_in_the_files_order(tmp_path: Path) -> None:
    found = read(tmp_path, saved(LABELS))
    assert found == {index: tuple(components) for index, components in LABELS.items()}
    assert list(found) == sorted(LABELS)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("of", [int, np.int64, np.int32, np.uint8, np.dtype(">i4").type])
def test_every_protocol_and_kind_of_integer_is_read(tmp_path: Path, protocol: int, of: Any) -> None:
    labels = {of(7): [of(3), of(0)], of(9): [of(90)]}
    assert read(tmp_path, saved(labels, protocol)) == {7: (3, 0), 9: (90,)}


def test_the_module_name_of_numpy_before_version_2_is_known(tmp_path: Path) -> None:
    program = pickle.dumps(np.array(LABELS, dtype=object), 3).replace(b"numpy._core", b"numpy.core")
    assert read(tmp_path, npy(program))[459] == (23,)


def test_a_class_with_many_components_and_a_big_file_are_read(tmp_path: Path) -> None:
    labels = {index: list(range(index % 50 + 1)) for index in range(1000)}
    assert read(tmp_path, saved(labels)) == {index: tuple(found) for index, found in labels.items()}


# --- Hostile files


class Runs:
    """What pickle would call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("place", ["alone", "as the array's content", "among the components", "as a key"])
def test_nothing_is_run(tmp_path: Path, protocol: int, place: str) -> None:
    trap = tmp_path / "trap"
    hostile: Any = Runs(os.mkdir, str(trap))
    if place == "alone":
        content = npy(pickle.dumps(hostile, protocol))
    else:
        wrapped = {
            "as the array's content": hostile,
            "among the components": {1: [2, hostile]},
            "as a key": {hostile: [2]},
        }[place]
        content = saved(wrapped, protocol)
    with pytest.raises(LabelsError, match=r"asks for|names what is registered|no text|keeps values outside"):
        read(tmp_path, content)
    assert not trap.exists()
    pickle.loads(content[content.index(b"()") + 4 :])  # and it would have been
    assert trap.exists()


@pytest.mark.parametrize(
    "hostile",
    [
        Runs(eval, "1"),
        Runs(getattr, "a", "upper"),
        Runs(np.load, "elsewhere.npy"),
        Runs(np.frombuffer, b"12345678"),
        Runs(np.dtype, "i8"),
        Runs(bytearray, 10**9),
        np.float64(1.5),
        np.zeros(3),
        1.5,
        {"a": 1},
        {1, 2},
        b"bytes",
        "text",
        None,
        [1, 2],
        {},
        {1: 2},
        {1: []},
        {1: [True]},
        {1: [1.0]},
        {1: ["1"]},
        {1: (1, 2)},
        {1: [[1]]},
        {True: [1]},
        {"1": [1]},
        {(1,): [1]},
        {-1: [1]},
        {1000: [1]},
        {1: [-1]},
        {1: [2048]},
        {1: [10**300]},
        {10**300: [1]},
        {1: [3, 3]},
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_other_contents_are_refused(tmp_path: Path, hostile: Any, protocol: int) -> None:
    with pytest.raises(LabelsError, match="does not hold spurious components") as raised:
        read(tmp_path, saved(hostile, protocol))
    assert raised.value.field == "file"
    assert raised.value.remedy
    assert len(str(raised.value)) < 400


def test_the_reason_names_what_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match=r"asks for (posix|nt)\.mkdir"):
        read(tmp_path, saved({1: [Runs(os.mkdir, "x")]}))
    with pytest.raises(LabelsError, match="class 1000 lies outside 0 to 999"):
        read(tmp_path, saved({1000: [1]}))
    with pytest.raises(LabelsError, match="class 3: component 512 lies outside 0 to 511"):
        read(tmp_path, saved({3: [512]}), channels=512)
    with pytest.raises(LabelsError, match="class 3 names a component twice"):
        read(tmp_path, saved({3: [5, 5]}))


def test_cut_anywhere_or_followed_by_more_it_is_refused(tmp_path: Path) -> None:
    whole = saved(LABELS)
    for end in range(0, len(whole), 3):
        with pytest.raises(LabelsError):
            read(tmp_path, whole[:end])
    for tail in (b"\x00", whole):
        with pytest.raises(LabelsError, match="goes on after its end"):
            read(tmp_path, whole + tail)


def test_damaged_bytes_give_a_refusal_or_checked_labels_and_nothing_else(tmp_path: Path) -> None:
    whole = bytearray(saved(LABELS))
    generator = random.Random(0)
    for _ in range(500):
        damaged = bytearray(whole)
        for _ in range(generator.randint(1, 4)):
            damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        try:
            found = read(tmp_path, bytes(damaged))
        except LabelsError:
            continue
        assert all(type(c) is int and 0 <= c < 2048 for components in found.values() for c in components)


def op(name: str) -> bytes:
    return next(opcode.code for opcode in pickletools.opcodes if opcode.name == name).encode("latin1")


@pytest.mark.parametrize(
    "program",
    [
        op("BINPUT") + b"\x00.",
        op("EMPTY_LIST") + op("LONG_BINPUT") + b"\xff\xff\xff\x7f.",
        op("LONG_BINGET") + b"\xff\xff\xff\x7f.",
        op("BINBYTES8") + b"\xff" * 8 + b".",
        op("BYTEARRAY8") + b"\xff" * 7 + b"\x00.",
        op("LONG4") + b"\xff\xff\xff\x7f.",
        op("BINUNICODE") + b"\xff\xff\xff\xff.",
        op("PERSID") + b"x\n.",
        op("EXT1") + b"\x01.",
        op("INST") + b"os\nsystem\n.",
        op("EMPTY_DICT") + op("MARK") + op("NONE") + op("SETITEMS") + b".",
        op("EMPTY_DICT") + op("MARK") + op("APPENDS") + b".",
        op("MARK") * 3 + op("TUPLE2") + b".",
        op("MARK") + b".",
        op("REDUCE") + b".",
        op("BUILD") + b".",
        op("TUPLE") + b".",
        op("STACK_GLOBAL") + b".",
        b".",
        b"",
        op("EMPTY_TUPLE") + (op("TUPLE1")) * 100_000 + b".",
        op("EMPTY_DICT") + op("EMPTY_TUPLE") + op("TUPLE1") * 100_000 + op("NONE") + op("SETITEM") + b".",
        op("EMPTY_LIST") + op("MEMOIZE") * 200_000 + b".",
        # A text of 500,000 letters, encoded 40,000 times, which would be 20 GB.
        b"c_codecs\nencode\nq\x01X\x06\x00\x00\x00latin1q\x02X"
        + (500_000).to_bytes(4, "little")
        + b"a" * 500_000
        + b"q\x00"
        + b"h\x01h\x00h\x02\x86R" * 40_000
        + b".",
    ],
)
def test_malformed_programs_are_refused_at_little_cost(tmp_path: Path, program: bytes) -> None:
    with pytest.raises(LabelsError, match="does not hold spurious components"):
        read(tmp_path, npy(program))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a .npy file"),
        (b"PK\x03\x04", "not a .npy file"),
        (b"\x93NUMPY\x09\x00", "version"),
        (npy(b"", version=b"\x02\x00")[:9], "ends within its header"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}", "more than 1,024"),
        (npy(b"", "{'descr': '<i8', 'fortran_order': False, 'shape': ()}"), "dtype object without axes"),
        (npy(b"", "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"), "dtype object without axes"),
        (npy(b"", "{'descr': '|O', 'fortran_order': 0, 'shape': ()}"), "dtype object without axes"),
        (npy(b"", "{'descr': '|O'}"), "dtype object without axes"),
        (npy(b"", "[]"), "dtype object without axes"),
        (npy(b"", "__import__('os').mkdir('x')"), "header cannot be read"),
        (npy(b"", "(" * 1000), "header cannot be read"),
        (npy(b"", "-" * 1000 + "1"), "header cannot be read|dtype object"),
        (npy(b"", "{'descr': \x00}"), "header cannot be read"),
    ],
)
def test_the_header_must_state_such_an_array(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(LabelsError, match=message):
        read(tmp_path, content)


def test_a_file_that_is_too_large_or_absent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="larger than"):
        read(tmp_path, saved(LABELS) + bytes(MAX_BYTES))
    with pytest.raises(LabelsError, match="cannot be read"):
        read_components(tmp_path / "none.npy")
