"""The split of a logit is exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.backbone import Backbone, Features
from models.bank import Bank
from models.contributions import Contributions, contributions
from models.geometry import place, prepare, spread
from models.masks import Selection


@pytest.fixture(scope="module")
def backbone(bank: Bank) -> Backbone:
    return bank.backbone(runtime="torch")


def split(
    backbone: Backbone, bank: Bank, pictures: list[np.ndarray], classes: list[int]
) -> tuple[Features, Contributions]:
    batch = torch.stack([prepare(picture, backbone.preprocessing) for picture in pictures])
    features = backbone.forward(batch)
    selection = Selection.of([bank.features(c) for c in classes])
    return features, contributions(features, backbone.weight, backbone.bias, torch.tensor(classes), selection)


def test_parts_and_bias_sum_to_the_logit(backbone: Backbone, bank: Bank, pictures: list[np.ndarray]) -> None:
    classes = [0, 1, 3, 4]
    features, parts = split(backbone, bank, pictures, classes)
    total = sum(part.sum((1, 2)) for part in (parts.core, parts.spurious, parts.unlabelled)) + parts.bias
    expected = features.logits[range(4), classes]
    assert torch.equal(parts.logit, expected)
    assert torch.allclose(total, expected, rtol=1e-4, atol=1e-6)


def test_each_feature_gives_weight_times_activation(backbone: Backbone, bank: Bank, pictures: list[np.ndarray]) -> None:
    features, parts = split(backbone, bank, pictures, [1] * 4)
    for k, feature in enumerate(bank.features(1)):
        expected = backbone.weight[1, feature.feature_index] * features.phi[:, feature.feature_index]
        assert torch.allclose(parts.per_feature[:, k], expected, rtol=1e-5)
    core = [k for k, feature in enumerate(bank.features(1)) if feature.label == "core"]
    assert torch.allclose(parts.core.sum((1, 2)), parts.per_feature[:, core].sum(1), rtol=1e-4, atol=1e-6)


def test_a_class_without_labels_is_all_unlabelled(backbone: Backbone, bank: Bank, pictures: list[np.ndarray]) -> None:
    _, parts = split(backbone, bank, pictures[:1], [4])
    assert parts.core.abs().sum() == parts.spurious.abs().sum() == 0
    assert torch.allclose(parts.unlabelled.sum() + parts.bias[0], parts.logit[0], rtol=1e-4, atol=1e-6)


def test_the_sum_survives_the_way_back_to_the_picture(
    backbone: Backbone, bank: Bank, pictures: list[np.ndarray]
) -> None:
    _, parts = split(backbone, bank, pictures, [0] * 4)
    grids = [place(backbone.preprocessing, *picture.shape[:2]) for picture in pictures]
    upsampled = spread(parts.unlabelled[:, None], grids, grids)
    assert torch.allclose(upsampled.sum((1, 2, 3)), parts.unlabelled.sum((1, 2)), rtol=1e-4, atol=1e-6)
