"""SpuFix against a case computed by hand, and against neural principal components, of which it is the same thing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.components import ClassComponents
from models.errors import FeaturesError
from models.spufix import Covariation, Evidence

ROW = np.array([3.0, 4.0, 5.0])
FEATURES = np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
FIRST, SECOND = [1.0, -1, 0, 0], [1.0, -1, 1, -1]
APART = 0.05


def test_one_feature_by_hand() -> None:
    """sum of alpha psi = (6, 0, 0), so d = (1, 0, 0) and beta = 3 f_0: the third own feature never matters."""
    pictures = Covariation.of(FEATURES, np.array([FIRST]).T)
    np.testing.assert_allclose(pictures.directions(ROW), [[1, 0, 0]])
    evidence = Evidence.transferred(pictures, ROW, APART)
    np.testing.assert_allclose(evidence.betas([[2.0, 7, 7]]), [[6]])
    assert evidence.ridge == 0


def test_two_features_that_are_not_orthogonal_by_hand() -> None:
    """d = (1, 0, 0) and (.6, .8, 0), G^-1 = [[1, -.6], [-.6, 1]] / .64: beta = 3 f_0 - 3 f_1 and 1.4 * 1.25 * 4 f_1."""
    pictures = Covariation.of(FEATURES, np.array([FIRST, SECOND]).T)
    np.testing.assert_allclose(pictures.directions(ROW), [[1, 0, 0], [0.6, 0.8, 0]])
    evidence = Evidence.transferred(pictures, ROW, APART)
    np.testing.assert_allclose(evidence.betas([[2.0, 1, 9]]), [[3, 7]])


def test_the_mean_of_the_pictures_is_where_evidence_begins() -> None:
    shifted = Covariation.of(FEATURES + np.array([10, 20, 30]), np.array([FIRST]).T + 5)
    evidence = Evidence.transferred(shifted, ROW, APART)
    np.testing.assert_allclose(evidence.betas([[10.0, 20, 30], [12, 0, 0]]), [[0], [6]], atol=1e-12)


def test_of_the_same_network_directions_are_components_and_beta_is_alpha() -> None:
    generator = torch.Generator().manual_seed(3)
    phi = torch.rand(40, 6, generator=generator, dtype=torch.float64)
    row = torch.randn(6, generator=generator, dtype=torch.float64)
    components = ClassComponents.of_features(phi, row, 0.5)
    alphas = components.alphas(phi)
    found = Covariation.of(phi.numpy(), alphas.numpy())
    along = np.abs((found.directions(row.numpy()) * components.vectors.numpy()).sum(axis=1))
    np.testing.assert_allclose(along, 1)
    for chosen in ([0], [1, 4]):
        own = Covariation.of(phi.numpy(), alphas[:, chosen].numpy())
        evidence = Evidence.transferred(own, row.numpy(), APART)
        np.testing.assert_allclose(evidence.betas(phi.numpy()), alphas[:, chosen].numpy(), atol=1e-9)


def test_neither_the_order_of_pictures_nor_how_they_are_cut_matters_and_a_batch_of_one_is_a_batch() -> None:
    generator = np.random.default_rng(0)
    features, alphas = generator.random((30, 4)), generator.random((30, 2))
    whole = Evidence.transferred(Covariation.of(features, alphas), np.ones(4), APART)
    order = generator.permutation(30)
    parts = [Covariation.of(features[part], alphas[part]) for part in (order[:1], order[1:12], order[12:])]
    joined = Evidence.transferred(parts[0].merge(parts[1]).merge(parts[2]), np.ones(4), APART)
    np.testing.assert_allclose(joined.weight, whole.weight, atol=1e-9)
    np.testing.assert_allclose(joined.betas(features[:1]), whole.betas(features)[:1], atol=1e-9)


def test_a_ridge_keeps_collinear_directions_from_blowing_up() -> None:
    generator = np.random.default_rng(1)
    features, alpha = generator.random((50, 5)), generator.random(50)
    twice = np.stack([alpha, alpha + 1e-7 * generator.random(50)], axis=1)
    once = Evidence.transferred(Covariation.of(features, alpha[:, None]), np.ones(5), APART).betas(features)
    both = Evidence.transferred(Covariation.of(features, twice), np.ones(5), APART)
    assert both.ridge == pytest.approx(APART, abs=1e-6)
    np.testing.assert_allclose(both.betas(features).sum(axis=1), once[:, 0], rtol=2 * APART, atol=1e-6)


def test_what_does_not_vary_has_no_direction() -> None:
    alphas = np.array([[2.0, 1], [2, -1], [2, 0], [2, 0]])
    evidence = Evidence.transferred(Covariation.of(FEATURES, alphas), ROW, APART)
    assert evidence.of == (1,)
    nothing = Evidence.transferred(Covariation.of(FEATURES, alphas[:, :1]), ROW, APART)
    assert nothing.betas(FEATURES).shape == (4, 0)


def test_values_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(FeaturesError, match="not finite"):
        Covariation.of([[np.nan]], [[1.0]])
