"""Weights of others: every published layout gives the same network, and nothing in a file is ever run."""

from __future__ import annotations

import builtins
import io
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from models.checkpoints import Network, fit_network, infer_network, maps_shape, read_checkpoint
from models.errors import CheckpointError
from models.preprocessing import Preprocessing
from models.restricted_pickle import INERT, read_pickle
from models.torch_files import MOST_BYTES, Storage, StoredTensor, TorchFile
from tests.models import checkpoint_files as files
from tests.models.conftest import ARGUMENTS

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
    with pytest.raises(CheckpointError, match="holds no ResNet"):
        read_checkpoint(inside)
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
        unfolded = StoredTensor(storage, 0, (2**20, 2**20), (0, 0))
        assert unfolded.bytes > MOST_BYTES
        with pytest.raises(CheckpointError, match="GiB"):
            opened.tensors({"a": unfolded})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_named(tmp_path: Path, state: dict[str, Tensor], value: float) -> None:
    broken = state["layer2.0.conv1.weight"].clone()
    broken[0, 0, 0, 0] = value
    path = files.save({**state, "layer2.0.conv1.weight": broken}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"1 of .* in 'layer2\.0\.conv1\.weight' are not finite"):
        read_checkpoint(path)


def test_what_is_no_network_with_maps_and_a_head_is_refused_with_what_is_missing(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    cases: dict[str, Any] = {
        "transformer": {"encoder.layers.encoder_layer_0.ln_1.weight": torch.ones(3), "class_token": torch.ones(1)},
        "no linear head": {name: value for name, value in state.items() if not name.startswith("fc.")},
        "holds no ResNet": {"features.0.weight": torch.ones(3, 3)},
        "holds no tensors": {"epoch": 3},
        "no state dict": files.whole_module(),
    }
    for words, content in cases.items():
        with pytest.raises(CheckpointError, match=words) as refused:
            read_checkpoint(files.save(content, tmp_path / "w.pt"))
        assert refused.value.remedy
    for name, content in {"empty": b"", "text": b"weights\n" * 9, "zip": b"PK\x03\x04" + bytes(99)}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError):
            read_checkpoint(tmp_path / name)


@pytest.mark.parametrize(
    "network",
    [
        Network("resnet18", {}),
        Network("resnet50", {}),
        Network("wide_resnet50_2", {}),
        Network("resnext50_32x4d", {}),
        Network("resnet50", {"groups": 2, "width_per_group": 32}),
    ],
    ids=str,
)
def test_the_weights_tell_their_network(network: Network) -> None:
    with torch.device("meta"):
        state = files.network(network.architecture, **network.arguments)
    assert infer_network(state) == network
    assert fit_network(state, network, files.CLASSES).keys() == state.keys()


def test_a_network_that_does_not_fit_is_refused(state: dict[str, Tensor]) -> None:
    declared = Network("small_resnet", SMALL)
    assert same(fit_network(state, declared, files.CLASSES), state)
    with pytest.raises(CheckpointError, match="no ResNet of torchvision"):
        infer_network(state)
    with pytest.raises(CheckpointError, match=r"7 outputs and 5 classes"):
        fit_network(state, declared, 5)
    with pytest.raises(CheckpointError, match="does not fit 'resnet18'"):
        fit_network(state, Network("resnet18", {}), files.CLASSES)
    with pytest.raises(CheckpointError, match="more blocks"):
        fit_network(state, Network("small_resnet", {"blocks": [10**9] * 4}), files.CLASSES)


def test_counters_that_old_files_lack_are_put_in(state: dict[str, Tensor]) -> None:
    old = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    assert same(fit_network(old, Network("small_resnet", SMALL), files.CLASSES), state)


def test_the_shape_of_maps_is_known_without_computing_them() -> None:
    resnet = Network("resnet50", {})
    assert maps_shape(resnet, 1000, Preprocessing(size=224)) == (2048, 7, 7)
    assert maps_shape(Network("small_resnet", ARGUMENTS), 5, Preprocessing(size=96)) == (24, 12, 12)
    with pytest.raises(CheckpointError, match="1 x 1"):
        maps_shape(resnet, 1000, Preprocessing(size=32))
    with pytest.raises(CheckpointError, match="numbers a picture"):
        maps_shape(Network("small_resnet", {"strides": [1] * 4}), 10, Preprocessing(size=2048))
