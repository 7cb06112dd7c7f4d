"""Encoders in the store: whatever file they come in, the same network; refused with the reason; banks' are encoders."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from jobs.catalogue import CatalogueEntry, find_entry, imagenet_classes, read_catalogue
from jobs.encoder_declaration import EncoderDeclaration
from jobs.encoders import (
    delete_encoder,
    encoder_spec,
    get_encoder,
    import_encoder,
    list_encoders,
    load_encoder,
)
from jobs.errors import Invalid, NotFound, StoreFull
from jobs.settings import Settings
from jobs.store import Store
from models import architectures
from models.bank import Bank
from models.bank_folders import BUILT_IN
from models.encoder import EncoderSpec
from models.errors import ModelsError
from tests.jobs.test_scratch import most_bytes
from tests.models import checkpoint_files as files

SIDE = 32
CLASSES = tuple(f"class {index}" for index in range(files.CLASSES))
ARGUMENTS: dict[str, Any] = {"widths": [4, 4, 8, 8], "strides": [1, 2, 2, 1]}
MAPS = (8, 8, 8)
SHRINKING = {
    "architecture": "small_resnet",
    "arguments": ARGUMENTS | {"stem_stride": 2},
    "preprocessing": {"size": 8},
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", device="cpu", threads=1, runtime="torch")


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return files.network("small_resnet", **ARGUMENTS)


def declaration(preprocessing: dict[str, Any] | None = None, **changes: object) -> EncoderDeclaration:
    backbone = {
        "architecture": "small_resnet",
        "arguments": ARGUMENTS,
        "preprocessing": {"size": SIDE} | (preprocessing or {}),
    }
    return EncoderDeclaration.model_validate({"name": "small", "classes": CLASSES, "backbone": backbone} | changes)


def pictures(count: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator)


def test_every_file_of_the_same_weights_gives_the_same_encoder(
    store: Store, settings: Settings, tmp_path: Path, state: dict[str, Tensor]
) -> None:
    figures = {"mean": files.MEAN, "std": files.STD}
    save_file(state, tmp_path / "w.safetensors")
    with files.strange_objects() as others:
        content = {"model": files.robustness_layout(state), **others}
        robust = files.save(content, tmp_path / "new.pt")
        legacy = files.save(content, tmp_path / "old.pt", legacy=True)
    plain = import_encoder(store, tmp_path / "w.safetensors", declaration(figures), settings)
    assert import_encoder(store, robust, declaration(), settings) == plain
    assert import_encoder(store, legacy, declaration(figures), settings) == plain
    assert plain.spec.backbone.maps == MAPS
    assert plain.origin is not None
    assert plain.origin.format == "safetensors"
    assert list_encoders(store) == [plain] == [get_encoder(store, plain.id)]
    assert import_encoder(store, robust, plain.spec, settings) == plain


def test_the_loaded_network_computes_what_torch_does(
    store: Store, settings: Settings, tmp_path: Path, state: dict[str, Tensor]
) -> None:
    path = files.save({"model": files.robustness_layout(state)}, tmp_path / "w.pt", legacy=True)
    record = import_encoder(store, path, declaration(), settings)
    backbone = load_encoder(store, record.id, settings)
    assert backbone.weights_digest == record.weights_digest
    network = architectures.build("small_resnet", len(CLASSES), ARGUMENTS).eval()
    network.load_state_dict(state)
    mean, std = (torch.tensor(figures).view(3, 1, 1) for figures in (files.MEAN, files.STD))
    with torch.inference_mode():
        expected = network((pictures() / 255 - mean) / std)
    found = backbone.forward(pictures())
    assert found.maps.shape == (3, *MAPS)
    torch.testing.assert_close(found.logits, expected, rtol=1e-4, atol=1e-4)


def test_another_declaration_is_another_encoder_and_deleting_one_keeps_the_other(
    store: Store, settings: Settings, tmp_path: Path, state: dict[str, Tensor]
) -> None:
    path = files.save(state, tmp_path / "w.pt")
    first, second = (import_encoder(store, path, declaration(title=title), settings) for title in ("one", "two"))
    assert first.id != second.id
    assert first.weights_digest == second.weights_digest
    assert [record.id for record in list_encoders(store)] == sorted([first.id, second.id])
    assert len(list_encoders(store, limit=1)) == 1
    delete_encoder(store, first.id)
    assert list_encoders(store) == [second]
    load_encoder(store, second.id, settings)
    for gone in (first.id, "nowhere", "../keys"):
        with pytest.raises(NotFound):
            get_encoder(store, gone)
        with pytest.raises(NotFound):
            delete_encoder(store, gone)


def test_a_torchvision_network_needs_no_declared_architecture(store: Store, settings: Settings, tmp_path: Path) -> None:
    path = files.save({"state_dict": files.network("resnet18")}, tmp_path / "w.pt")
    declared = declaration(backbone={"preprocessing": {"size": 64, "resize": 72}})
    spec = import_encoder(store, path, declared, settings).spec
    assert (spec.backbone.architecture, spec.backbone.arguments, spec.backbone.maps) == ("resnet18", {}, (512, 2, 2))


def test_a_network_of_another_family_computes_what_torch_does(store: Store, settings: Settings, tmp_path: Path) -> None:
    state = files.network("densenet121")
    path = files.save({"model": files.robustness_layout(state)}, tmp_path / "w.pt", legacy=True)
    declared = declaration(backbone={"preprocessing": {"size": 64}})
    record = import_encoder(store, path, declared, settings)
    assert (record.spec.backbone.architecture, record.spec.backbone.maps) == ("densenet121", (1024, 2, 2))
    network = architectures.build("densenet121", len(CLASSES)).eval()
    network.load_state_dict(state)
    generator = torch.Generator().manual_seed(1)
    pictures = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8, generator=generator)
    mean, std = (torch.tensor(figures).view(3, 1, 1) for figures in (files.MEAN, files.STD))
    with torch.inference_mode():
        expected = network((pictures / 255 - mean) / std)
    found = load_encoder(store, record.id, settings).forward(pictures)
    torch.testing.assert_close(found.logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classes": ("a", "b")}, "7 outputs and 2 classes"),
        ({"backbone": {"preprocessing": {"size": SIDE}}}, "no ResNet of torchvision"),
        ({"backbone": {"architecture": "resnet18", "preprocessing": {"size": SIDE}}}, "does not fit 'resnet18'"),
        ({"backbone": {"architecture": "vit_b_16", "preprocessing": {"size": SIDE}}}, "unknown architecture"),
        ({"backbone": SHRINKING}, "maps of 1 x 1"),
        ({"preprocessing": {"mean": (0.5, 0.5, 0.5)}}, "trained with"),
        ({"preprocessing": {"scale": "byte"}}, "normaliser"),
    ],
    ids=["classes", "untold", "other", "unknown", "too small", "other mean", "bytes"],
)
def test_what_does_not_go_together_is_refused_and_nothing_kept(
    store: Store, settings: Settings, tmp_path: Path, state: dict[str, Tensor], changes: dict[str, Any], words: str
) -> None:
    path = files.save({"model": files.robustness_layout(state)}, tmp_path / "w.pt")
    with pytest.raises((Invalid, ModelsError), match=words):
        import_encoder(store, path, declaration(**changes), settings)
    assert list_encoders(store) == []
    assert list(store.list("encoders")) == []
    assert path.exists()


def test_declared_maps_are_checked(store: Store, settings: Settings, tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = files.save(state, tmp_path / "w.pt")
    spec = import_encoder(store, path, declaration(), settings).spec
    wrong = EncoderSpec.model_validate(
        spec.model_dump() | {"backbone": spec.backbone.model_copy(update={"maps": (8, 4, 4)}).model_dump()}
    )
    with pytest.raises(Invalid, match="Maps"):
        import_encoder(store, path, wrong, settings)


def test_weights_that_overflow_in_the_forward_are_refused(
    store: Store, settings: Settings, tmp_path: Path, state: dict[str, Tensor]
) -> None:
    huge = {name: value * 1e30 if name.endswith("bn1.weight") else value for name, value in state.items()}
    with pytest.raises(Invalid, match="no numbers"):
        import_encoder(store, files.save(huge, tmp_path / "w.pt"), declaration(), settings)


def test_without_room_nothing_is_kept(
    store: Store, settings: Settings, tmp_path: Path, state: dict[str, Tensor]
) -> None:
    path = files.save(state, tmp_path / "w.pt")
    with most_bytes(1024), pytest.raises(StoreFull):
        import_encoder(store, path, declaration(), settings)
    assert list_encoders(store) == []
    assert list((tmp_path / "store" / ".scratch").iterdir()) == []
    import_encoder(store, path, declaration(), settings)


def test_the_backbone_of_a_bank_is_an_encoder(store: Store, settings: Settings) -> None:
    spec = encoder_spec(store, "bank:planted", settings)
    bank = Bank.load(BUILT_IN / "planted")
    assert spec.classes == bank.classes
    assert spec.backbone == bank.manifest.backbone
    side = spec.backbone.preprocessing.size
    found = load_encoder(store, "bank:planted", settings).forward(torch.zeros(1, 3, side, side, dtype=torch.uint8))
    assert found.maps.shape[1:] == spec.backbone.maps
    for unknown in ("bank:nowhere", "nowhere"):
        with pytest.raises(NotFound):
            encoder_spec(store, unknown, settings)
        with pytest.raises(NotFound):
            load_encoder(store, unknown, settings)


def test_the_catalogue_declares_encoders_that_can_be_imported(settings: Settings) -> None:
    catalogue = read_catalogue(settings)
    assert {"robust-resnet50-l2-3", "transfer-resnet50-l2-3", "transfer-resnet18-l2-3"} <= catalogue.keys()
    for entry in catalogue.values():
        declared = entry.declaration()
        assert len(declared.classes) == len(set(declared.classes)) == 1000
        assert declared.backbone.architecture in architectures.names()
        assert all(url.startswith("https://") for url in entry.urls)
        assert entry.licence
    assert imagenet_classes()[0] == "tench"
    with pytest.raises(NotFound, match="no encoder 'nowhere'"):
        find_entry(settings, "nowhere")


def test_a_further_catalogue_adds_and_replaces_entries(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "more.toml"
    entry = {
        "title": "ours",
        "urls": ["http://127.0.0.1/w.pt"],
        "licence": "ours",
        "classes": ["a", "b"],
        "preprocessing": {"size": 64},
    }
    text = "\n".join(f"{key} = {value!r}" for key, value in entry.items() if key != "preprocessing")
    file.write_text(
        f"[ours]\n{text}\n[ours.preprocessing]\nsize = 64\n[transfer-resnet18-l2-3]\n{text}\n"
        "[transfer-resnet18-l2-3.preprocessing]\nsize = 64\n"
    )
    assert tomllib.loads(file.read_text())["ours"] == entry
    found = read_catalogue(settings.model_copy(update={"catalogue": file}))
    assert found["ours"] == CatalogueEntry.model_validate(entry | {"name": "ours"})
    assert found["transfer-resnet18-l2-3"].title == "ours"
    assert found["robust-resnet50-l2-3"] == read_catalogue(settings)["robust-resnet50-l2-3"]
    for faulty in ("[ours]\ntitle = 'x'\n", "not toml", "[Ours Of]\n", "ours = 1\n"):
        file.write_text(faulty)
        with pytest.raises(Invalid, match=r"more\.toml"):
            read_catalogue(settings.model_copy(update={"catalogue": file}))
