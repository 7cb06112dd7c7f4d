"""Importance and the groups that it is measured on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.errors import FeaturesError
from models.importance import group_of, importance, top_features
from models.moments import Moments


def test_importances_of_a_class_sum_to_its_mean_logit_without_the_bias() -> None:
    generator = np.random.default_rng(0)
    phi, row = generator.random((40, 6)), generator.standard_normal(6)
    np.testing.assert_allclose(importance(Moments.of(phi).mean, row).sum(), (phi @ row).mean())


def test_features_that_never_fire_and_groups_without_pictures_have_none() -> None:
    phi = np.array([[0.0, 1.0], [0.0, 3.0]])
    assert importance(Moments.of(phi).mean, [5.0, 2.0]).tolist() == [0.0, 4.0]
    assert importance(Moments.empty(2).mean, [5.0, 2.0]).tolist() == [0.0, 0.0]


def test_the_top_features_are_the_most_important_that_add_to_the_logit() -> None:
    assert top_features([0.5, -9.0, 2.0, 0.0, 2.0], 5) == [2, 4, 0]
    assert top_features([0.5, -9.0, 2.0, 0.0, 2.0], 1) == [2]
    assert top_features([0.0, -1.0], 3) == []


@pytest.mark.parametrize(
    ("grouping", "expected"), [("predicted", [0, 1, 1, 2]), ("label", [0, 1, 2, -1]), ("both", [0, 1, -1, -1])]
)
def test_each_convention_groups_by_its_own_rule(grouping: str, expected: list[int]) -> None:
    predicted, labels = torch.tensor([0, 1, 1, 2]), torch.tensor([0, 1, 2, -1])
    found = group_of(predicted, labels, grouping)
    assert found.tolist() == expected
    assert found.dtype == torch.int64


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(FeaturesError, match="head rows"):
        importance([1.0, 2.0], [1.0])
    with pytest.raises(FeaturesError, match="not finite"):
        importance([1.0, np.nan], [1.0, 1.0])
    with pytest.raises(FeaturesError, match="2 predictions and 1 labels"):
        group_of(torch.tensor([0, 1]), torch.tensor([0]), "both")
    with pytest.raises(FeaturesError, match="unknown grouping"):
        group_of(torch.tensor([0]), torch.tensor([0]), "guess")
