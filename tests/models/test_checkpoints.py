"""Weights of others: every published layout gives the same network, and nothing in a file is ever run."""

from __future__ import annotations

import builtins
import io
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from models import torch_files
from models.checkpoints import read_checkpoint
from models.errors import CheckpointError
from models.restricted_pickle import INERT, read_pickle
from models.torch_files import NAMES, Storage, StoredTensor, TorchFile
from tests.models import checkpoint_files as files

SMALL: dict[str, Any] = {"widths": (4, 4, 8, 8), "blocks": (1, 1, 1, 1)}


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return files.network("small_resnet", **SMALL)


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    ("key", "wrap", "layout"),
    [
        ("model", files.robustness_layout, "robustness"),
        ("state_dict", lambda state: {f"module.{name}": value for name, value in state.items()}, "data-parallel"),
        (None, lambda state: state, "plain"),
    ],
    ids=["robustness", "data parallel", "plain"],
)
def test_every_layout_gives_the_same_weights(
    tmp_path: Path, state: dict[str, Tensor], legacy: bool, key: str | None, wrap: Any, layout: str
) -> None:
    wrapped = wrap(state)
    with files.strange_objects() as others:
        path = files.save(wrapped if key is None else {key: wrapped, **others}, tmp_path / "w.pt", legacy)
    assert key is None or not files.is_importable(files.STRANGE)
    found = read_checkpoint(path)
    assert same(found.state, state)
    assert (found.layout, found.format) == (layout, "torch")
    assert (found.mean, found.std) == ((files.MEAN, files.STD) if layout == "robustness" else (None, None))


def test_safetensors_are_read_in_every_layout_too(tmp_path: Path, state: dict[str, Tensor]) -> None:
    save_file(state, tmp_path / "plain.safetensors")
    wrapped = {name: value.clone() for name, value in files.robustness_layout(state).items()}
    save_file(wrapped, tmp_path / "robust.safetensors")
    assert same(read_checkpoint(tmp_path / "plain.safetensors").state, state)
    robust = read_checkpoint(tmp_path / "robust.safetensors")
    assert same(robust.state, state)
    assert robust.mean == files.MEAN


def test_views_parameters_and_other_kinds_of_numbers_come_out_right(tmp_path: Path) -> None:
    base = torch.arange(24.0)
    tensors = {
        "slice": base[3:15].view(3, 4),
        "turned": base.view(4, 6).T,
        "parameter": torch.nn.Parameter(torch.ones(2, 2)),
        "half": torch.randn(5).half(),
        "brain": torch.randn(5).bfloat16(),
        "count": torch.tensor(7),
        "empty": torch.empty(0, 3),
        "expanded": torch.tensor([2.0]).expand(4),
    }
    for legacy in (False, True):
        with TorchFile(files.save(tensors, tmp_path / f"{legacy}.pt", legacy)) as opened:
            found = opened.tensors(opened.content)
        for name, tensor in tensors.items():
            assert torch.equal(found[name], tensor.detach()), name
            assert found[name].dtype == tensor.dtype
            assert found[name].is_contiguous()


@pytest.mark.parametrize("function", [None, eval, exec], ids=["os.system", "eval", "exec"])
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_hostile_file_is_read_without_effect(
    tmp_path: Path, state: dict[str, Tensor], legacy: bool, function: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    proof = tmp_path / "proof"
    hostile = files.Hostile(proof) if function is None else files.Hostile(proof, function)
    assert files.runs_when_unpickled(hostile)
    path = files.save({"model": state, "optimiser": hostile, "more": [hostile]}, tmp_path / "w.pt", legacy)
    inside = files.save({**state, "conv1.weight": hostile}, tmp_path / "inside.pt", legacy)
    imported: list[str] = []
    real = builtins.__import__

    def noting(name: str, *rest: Any) -> Any:
        imported.append(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", noting)
    assert same(read_checkpoint(path).state, state)
    assert "conv1.weight" not in read_checkpoint(inside).state
    monkeypatch.undo()
    assert not proof.exists()
    assert not {"os", "posix", "builtins", "subprocess"} & set(imported)


def test_a_pickle_that_would_take_for_ever_or_all_memory_does_neither() -> None:
    bomb = io.BytesIO(b"\x80\x02})" + b"2\x86" * 60 + b"K\x01s.")  # {nested tuple of 2 ** 60 parts: 1}
    assert read_pickle(bomb, {}, lambda key: key) == {}
    far = io.BytesIO(b"\x80\x02Nr\xff\xff\xff\x7f.")  # one value remembered as number 2 ** 31 - 1
    assert read_pickle(far, {}, lambda key: key) is None
    long = io.BytesIO(b"\x80\x05\x96" + (2**40).to_bytes(8, "little") + b"few.")  # a byte array of 1 TiB
    with pytest.raises(CheckpointError):
        read_pickle(long, {}, lambda key: key)
    deep = io.BytesIO(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".")
    assert isinstance(read_pickle(deep, {}, lambda key: key), list)
    # Integers of one hash, each of which would be compared with all before it.
    alike = [b"\x8a\x0b" + (number * (2**61 - 1)).to_bytes(11, "little") for number in range(1, 1000)]
    keys = b"\x80\x02}(" + b"".join(key + b"N" for key in alike) + b"u."
    assert read_pickle(io.BytesIO(keys), NAMES, lambda key: key) == {}
    pairs = b"\x80\x02ccollections\nOrderedDict\n](" + b"".join(key + b"N\x86" for key in alike) + b"e\x85R."
    assert read_pickle(io.BytesIO(pairs), NAMES, lambda key: key) == {}
    places = b"".join(b"p%d\n" % (number * (2**61 - 1)) for number in range(1, 1000))
    with pytest.raises(CheckpointError, match="absurd"):
        read_pickle(io.BytesIO(b"\x80\x02N" + places + b"."), {}, lambda key: key)
    # A list of 10,000, handed to a function that copies it 1,000 times.
    copies = b"\x80\x02](" + b"N" * 10_000 + b"eq\x00ctorch\nSize\nq\x01" + b"h\x01h\x00\x85R" * 1_000 + b"."
    with pytest.raises(CheckpointError, match="more than 2,000,000 operations"):
        read_pickle(io.BytesIO(copies), NAMES, lambda key: key)
    loop = io.BytesIO(b"\x80\x02]q\x00h\x00a.")
    found = read_pickle(loop, {}, lambda key: key)
    assert found[0] is found


def test_names_outside_the_table_become_nothing() -> None:
    content = {"path": Path("/tmp"), "kind": int, "function": print, "text": "kept", "numbers": [1, 2.5, None, b"raw"]}
    for protocol in range(6):
        found = read_pickle(io.BytesIO(pickle.dumps(content, protocol)), {}, lambda key: key)
        assert (found["path"], found["kind"], found["function"]) == (INERT, INERT, INERT)
        assert found["text"] == "kept"
        assert found["numbers"][:3] == [1, 2.5, None]


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, state: dict[str, Tensor], legacy: bool) -> None:
    whole = files.save({"model": state}, tmp_path / "whole.pt", legacy).read_bytes()
    part = tmp_path / "part.pt"
    for share in (0.0, 0.001, 0.05, 0.5, 0.9, 0.999):
        part.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(CheckpointError):
            read_checkpoint(part)
    save_file(state, tmp_path / "whole.safetensors")
    part.write_bytes((tmp_path / "whole.safetensors").read_bytes()[:-5])
    with pytest.raises(CheckpointError, match="no whole safetensors"):
        read_checkpoint(part)


def test_a_damaged_storage_is_refused(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = files.save(state, tmp_path / "w.pt")
    short = files.replaced(path, tmp_path / "short.pt", "data/3", lambda content: content[:-4])
    with pytest.raises(CheckpointError, match="cut off"):
        read_checkpoint(short)
    turned = bytearray(path.read_bytes())
    turned[len(turned) // 2] ^= 0xFF
    (tmp_path / "turned.pt").write_bytes(turned)
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path / "turned.pt")


def test_a_tensor_reaches_neither_outside_its_storage_nor_beyond_the_memory_allowed(tmp_path: Path) -> None:
    path = files.save({"a": torch.arange(6.0)}, tmp_path / "w.pt")
    with TorchFile(path) as opened:
        storage = opened.content["a"].storage
        for outside in (
            StoredTensor(storage, 1, (6,), (1,)),
            StoredTensor(storage, 0, (2, 3), (4, 1)),
            StoredTensor(Storage(storage.key, torch.float64, 6), 0, (6,), (1,)),
            StoredTensor(Storage("17", torch.float32, 6), 0, (6,), (1,)),
        ):
            with pytest.raises(CheckpointError):
                opened.tensors({"a": outside})
        repeated = StoredTensor(storage, 0, (path.stat().st_size // 4,), (0,))
        assert opened.tensors({"a": repeated})["a"].tolist() == [0.0] * repeated.elements
        for many in ({str(number): repeated for number in range(5)}, {"a": StoredTensor(storage, 0, (2**20,), (0,))}):
            with pytest.raises(CheckpointError, match="tensors would take"):
                opened.tensors(many)


def test_numbers_are_taken_without_what_lies_between_them(tmp_path: Path) -> None:
    apart = torch.zeros(2**20)
    apart[-1] = 1
    with TorchFile(files.save({"a": apart}, tmp_path / "w.pt", legacy=True)) as opened:
        far = StoredTensor(opened.content["a"].storage, 0, (2,), (2**20 - 1,))
        tracemalloc.start()
        try:
            found = opened.tensors({"a": far})["a"]
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert found.tolist() == [0, 1]
    assert peak < 2**16


def test_members_that_lie_in_one_another_are_not_read_again_and_again(tmp_path: Path) -> None:
    path = files.save({name: torch.zeros(2000) for name in "abcd"}, tmp_path / "w.pt")
    with TorchFile(files.nested(path, tmp_path / "nested.pt")) as opened:
        assert opened.tensors({"a": opened.content["a"]})["a"].shape == (2000,)
        with pytest.raises(CheckpointError, match="larger than the file"):
            opened.tensors(opened.content)


def test_members_are_counted_before_anything_is_made_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = files.save({str(number): torch.zeros(1) for number in range(40)}, tmp_path / "w.pt")
    monkeypatch.setattr(torch_files, "MOST_MEMBERS", 40)
    monkeypatch.setattr("zipfile.ZipFile", None)
    with pytest.raises(CheckpointError, match="more than 40 members"):
        TorchFile(path)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_sizes_beyond_all_use_are_no_tensors(legacy: bool) -> None:
    def read(size: int, shape: tuple[int, ...], offset: int = 0) -> Any:
        storage = files.Persistent(
            ("storage", files.Named("torch", "FloatStorage"), "0", "cpu", size, None)[: 5 + legacy]
        )
        tensor = files.Named(
            "torch._utils", "_rebuild_tensor_v2", (storage, offset, shape, (1,) * len(shape), False, {})
        )
        stored = torch_files._stored_before_zip if legacy else torch_files._stored_in_zip
        return read_pickle(files.pickled(tensor), torch_files.NAMES, stored)

    assert read(6, (6,)) == StoredTensor(Storage("0", torch.float32, 6), 0, (6,), (1,))
    for size, shape, offset in (
        (2**20_000, (6,), 0),  # whose digits alone Python would refuse to write into a message
        (6, (2**20_000,), 0),
        (6, (6,), 2**20_000),
        (6, (0, 2**39, 2**39), 0),
        (6, (1,) * 9, 0),
        (-1, (6,), 0),
        (6, (-6,), 0),
    ):
        assert read(size, shape, offset) is INERT


@pytest.mark.parametrize(
    "value",
    [torch.tensor(float("nan")), torch.tensor(float("inf")), torch.tensor(1e300, dtype=torch.float64)],
    ids=["nan", "infinite", "infinite as float32"],
)
def test_weights_that_are_no_numbers_are_named(tmp_path: Path, state: dict[str, Tensor], value: Tensor) -> None:
    broken = state["layer2.0.conv1.weight"].to(value.dtype, copy=True)
    broken[0, 0, 0, 0] = value
    path = files.save({**state, "layer2.0.conv1.weight": broken}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"1 of .* in 'layer2\.0\.conv1\.weight' are not finite"):
        read_checkpoint(path)


def test_weights_of_any_width_are_read_as_float32(tmp_path: Path, state: dict[str, Tensor]) -> None:
    for kind in (torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn):
        narrow = {name: value.to(kind) if value.is_floating_point() else value for name, value in state.items()}
        save_file(narrow, tmp_path / "w.safetensors")
        found = read_checkpoint(tmp_path / "w.safetensors").state
        assert same(found, {name: value.to(state[name].dtype) for name, value in narrow.items()})


@pytest.mark.parametrize(
    ("figure", "words"),
    [
        (torch.zeros(3), "divides by"),
        (torch.full((3,), -0.2), "divides by"),
        (torch.full((3,), float("nan")), "not finite"),
        (torch.ones(3, dtype=torch.complex64), "complex64"),
    ],
)
def test_a_normaliser_that_none_can_be_is_refused(
    tmp_path: Path, state: dict[str, Tensor], figure: Tensor, words: str
) -> None:
    broken = files.robustness_layout(state) | {"module.normalizer.new_std": figure}
    with pytest.raises(CheckpointError, match=words):
        read_checkpoint(files.save({"model": broken}, tmp_path / "w.pt"))


def test_what_is_no_network_with_maps_and_a_head_is_refused_with_what_is_missing(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    cases: dict[str, Any] = {
        "transformer": {"encoder.layers.encoder_layer_0.ln_1.weight": torch.ones(3), "class_token": torch.ones(1)},
        "no linear head": {name: value for name, value in state.items() if not name.startswith("fc.")},
        "linear head": state | {"fc.weight": torch.empty(2**40, 0)},
        r"linear head \(classifier\.1\.weight": {
            "features.18.0.weight": torch.ones(2),
            "classifier.1.weight": torch.ones(2, 2),
        },
        "holds no ResNet": {"features.0.weight": torch.ones(3, 3)},
        "holds no tensors": {"epoch": 3},
        "no state dict": files.whole_module(),
    }
    for words, content in cases.items():
        with pytest.raises(CheckpointError, match=words) as refused:
            read_checkpoint(files.save(content, tmp_path / "w.pt"))
        assert refused.value.remedy
    (tmp_path / "text").write_text("You are not signed in to this network.")
    with pytest.raises(CheckpointError, match=r"neither safetensors nor a file of torch\.save"):
        read_checkpoint(tmp_path / "text")
    for name, content in {"empty": b"", "zip": b"PK\x03\x04" + bytes(99), "pickle": pickle.dumps([1], 2)}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError):
            read_checkpoint(tmp_path / name)
