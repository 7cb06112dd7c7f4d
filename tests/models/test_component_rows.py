"""A component as a labelled row of a bank: masks, activations and contributions as a channel has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from models.backbone import Backbone
from models.bank import COMPONENTS, Bank, Feature, Statistics, Votes
from models.bank_folders import BUILT_IN
from models.bank_writing import write_bank
from models.components import Components
from models.contributions import contributions
from models.errors import BankError
from models.geometry import prepare
from models.masks import Selection, nams
from tests.models.conftest import PREPROCESSING, manifest

CHANNELS, CAT = 24, 2


def component_row(number: int, **changes: object) -> Feature:
    fields = {
        "class_index": CAT,
        "feature_index": CHANNELS + number,
        "component": 3 * number,
        "rank": 10 + number,
        "importance": 0.5,
        "label": "spurious",
        "kind": "ambiguous",
        "votes": Votes(background=2, separate_object=2, main_object=1),
        "statistics": Statistics(images=10, mean=0.0, std=0.1, valid_from=-0.05, valid_to=2.0),
    }
    return Feature.model_validate(fields | changes)


@pytest.fixture(scope="module")
def rows() -> Components:
    generator = torch.Generator().manual_seed(1)
    return Components(torch.randn(2, CHANNELS, generator=generator), torch.tensor([0.25, -0.5]))


@pytest.fixture(scope="module")
def with_components(weights: Path, rows: Components, tmp_path_factory: pytest.TempPathFactory) -> Bank:
    stated = manifest(components=2, features=(*manifest().features, component_row(0), component_row(1)))
    return write_bank(tmp_path_factory.mktemp("banks") / "tiny", stated, weights, components=rows)


@pytest.fixture(scope="module")
def inputs() -> torch.Tensor:
    generator = np.random.default_rng(3)
    pictures = [generator.integers(0, 256, (100, 120, 3), dtype=np.uint8) for _ in range(3)]
    return torch.stack([prepare(picture, PREPROCESSING) for picture in pictures])


@pytest.mark.parametrize("runtime", ["torch", "onnxruntime"])
def test_components_follow_the_channels(
    with_components: Bank, rows: Components, inputs: torch.Tensor, runtime: Literal["torch", "onnxruntime"]
) -> None:
    plain = with_components.backbone(components=False, runtime=runtime).forward(inputs)
    served = with_components.backbone(runtime=runtime).forward(inputs)
    assert plain.phi.shape == (3, CHANNELS)
    assert torch.equal(served.logits, plain.logits)
    assert torch.equal(served.maps[:, :CHANNELS], plain.maps)
    alpha = plain.phi @ rows.directions.T - rows.offsets
    torch.testing.assert_close(served.phi[:, CHANNELS:], alpha)
    torch.testing.assert_close(served.maps[:, CHANNELS:].mean(dim=(2, 3)), alpha + rows.offsets)


def test_with_components_the_parts_still_sum_to_the_logit(with_components: Bank, inputs: torch.Tensor) -> None:
    backbone: Backbone = with_components.backbone()
    features = backbone.forward(inputs)
    selection = Selection.of([with_components.features(CAT)] * len(inputs))
    classes = torch.full((len(inputs),), CAT)
    split = contributions(features, backbone.weight, backbone.bias, classes, selection)
    total = sum(part.sum(dim=(1, 2)) for part in (split.core, split.spurious, split.unlabelled)) + split.bias
    torch.testing.assert_close(total, features.logits[:, CAT], rtol=1e-4, atol=1e-5)
    own = [row.component is not None for row in with_components.features(CAT)]
    alone = features.maps[:, CHANNELS:].mean(dim=(2, 3))
    torch.testing.assert_close(split.per_feature[:, own], alone, rtol=1e-4, atol=1e-5)


def test_the_mask_of_a_component_is_where_it_speaks_for_the_class(with_components: Bank, inputs: torch.Tensor) -> None:
    maps = with_components.backbone().forward(inputs).maps[:, CHANNELS:]
    assert (maps < 0).any()
    masks = nams(maps)
    assert ((masks >= 0) & (masks <= 1)).all()
    assert torch.equal(masks > 0, maps > 0)


def test_a_row_must_say_whether_it_is_a_channel_or_a_component() -> None:
    firing = Statistics(images=10, mean=0.1, std=0.1, valid_from=0.05, valid_to=2.0)
    with pytest.raises(ValueError, match="name no component"):
        manifest(components=2, features=(component_row(0, component=None, statistics=firing),))
    with pytest.raises(ValueError, match="name no component"):
        manifest(components=2, features=(component_row(0, feature_index=5),))
    with pytest.raises(ValueError, match="0 components"):
        manifest(features=(*manifest().features, component_row(0)))
    with pytest.raises(ValueError, match="never negative"):
        component_row(0, component=None, feature_index=5)


def test_components_that_do_not_fit_are_refused(weights: Path, rows: Components, tmp_path: Path) -> None:
    stated = manifest(components=3, features=(*manifest().features, component_row(0)))
    with pytest.raises(BankError, match="directions is"):
        write_bank(tmp_path / "tiny", stated, weights, components=rows)
    with pytest.raises(BankError, match=COMPONENTS):
        write_bank(tmp_path / "tiny", stated, weights)
    broken = Components(rows.directions * float("nan"), rows.offsets)
    broken.save(tmp_path / "broken.safetensors")
    with pytest.raises(BankError, match="not finite"):
        Components.load(tmp_path / "broken.safetensors")


def test_banks_from_before_components_keep_their_digest() -> None:
    """A field that their files lack must not change what they are called in reports."""
    content = json.loads((BUILT_IN / "planted" / "manifest.json").read_text())
    assert "components" not in content
    assert Bank.load(BUILT_IN / "planted").digest == content["digest"]
