"""Neural principal components: the exact split of a logit, by two routes, and as rows of a bank."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.components import ClassComponents, Components
from models.errors import BankError, FeaturesError
from models.moments import Scatter

BIAS = 0.3


def features(pictures: int, width: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """phi >= 0 with features that fire seldom, one that never does, and a head row with a zero."""
    generator = torch.Generator().manual_seed(seed)
    phi = torch.randn(pictures, width, generator=generator).clamp(min=-0.5) + 0.5
    phi[:, 1] = 0
    phi[:, 2] = 0.7
    weight = torch.randn(width, generator=generator)
    weight[3] = 0
    return phi * torch.logspace(0, -2, width), weight


def routes(phi: torch.Tensor, weight: torch.Tensor) -> list[ClassComponents]:
    return [
        ClassComponents.of_features(phi, weight, BIAS),
        ClassComponents.of_scatter(Scatter.of(phi), weight, BIAS),
    ]


@settings(max_examples=25, deadline=None)
@given(pictures=st.integers(1, 40), width=st.integers(4, 24), seed=st.integers(0, 1000))
def test_the_components_sum_to_the_logit_on_every_picture(pictures: int, width: int, seed: int) -> None:
    phi, weight = features(pictures, width, seed)
    others = 3 * features(20, width, seed + 1)[0] + 1
    for found in routes(phi, weight):
        for shown in (phi, others):
            logits = shown.double() @ weight.double() + BIAS
            rebuilt = found.alphas(shown).sum(dim=1) + found.remainders(shown) + found.constant
            torch.testing.assert_close(rebuilt, logits, atol=1e-5, rtol=0)
        assert found.remainders(phi).abs().max() < 1e-5, "on the class's pictures the components alone suffice"


@pytest.mark.parametrize("pictures", [9, 20, 60])
def test_both_routes_give_the_same_components(pictures: int) -> None:
    phi, weight = features(pictures, 20)
    by_pictures, by_scatter = routes(phi, weight)
    assert len(by_pictures) == len(by_scatter) == min(pictures - 1, 17)
    torch.testing.assert_close(by_pictures.eigenvalues, by_scatter.eigenvalues, rtol=1e-6, atol=0)
    torch.testing.assert_close(by_pictures.vectors, by_scatter.vectors, atol=1e-5, rtol=0)
    torch.testing.assert_close(by_pictures.remainder, by_scatter.remainder, atol=1e-5, rtol=0)


@pytest.mark.parametrize("pictures", [12, 60])
def test_components_are_the_eigenvectors_of_the_covariance_of_psi(pictures: int) -> None:
    phi, weight = features(pictures, 20)
    for found in routes(phi, weight):
        covariance = torch.from_numpy(np.cov((phi.double() * weight.double()).numpy(), rowvar=False, ddof=1))
        torch.testing.assert_close(
            found.vectors @ covariance, found.eigenvalues[:, None] * found.vectors, atol=1e-9, rtol=1e-6
        )
        torch.testing.assert_close(
            found.vectors @ found.vectors.T, torch.eye(len(found), dtype=torch.float64), atol=1e-6, rtol=0
        )
        assert found.eigenvalues.diff().max() <= 0
        projections = (phi.double() * weight.double() - found.mean * found.weight) @ found.vectors.T
        torch.testing.assert_close(projections.var(dim=0), found.eigenvalues, rtol=1e-6, atol=1e-12)


def test_alphas_do_not_depend_on_the_sign_of_an_eigenvector_and_are_zero_on_average() -> None:
    phi, weight = features(30, 12)
    for found in routes(phi, weight):
        flipped = ClassComponents(
            found.eigenvalues, -found.vectors, found.remainder, found.mean, found.weight, found.bias
        )
        torch.testing.assert_close(flipped.alphas(phi), found.alphas(phi))
        torch.testing.assert_close(flipped.as_components([0, 2]).directions, found.as_components([0, 2]).directions)
        assert found.alphas(phi).mean(dim=0).abs().max() < 1e-9


def test_a_component_is_a_linear_feature_of_phi_and_of_the_maps() -> None:
    phi, weight = features(30, 12)
    found = ClassComponents.of_features(phi, weight, BIAS)
    rows = found.as_components([4, 0])
    assert rows.directions.dtype == torch.float32
    torch.testing.assert_close(rows.alphas(phi).double(), found.alphas(phi)[:, [4, 0]], atol=1e-5, rtol=1e-5)
    maps = torch.rand(3, 12, 5, 5)
    torch.testing.assert_close(rows.maps(maps).mean((2, 3)) - rows.offsets, rows.alphas(maps.mean((2, 3))))


def test_a_class_with_one_picture_has_no_component_but_keeps_its_logit() -> None:
    phi, weight = features(1, 8)
    for found in routes(phi, weight):
        assert len(found) == 0
        assert found.alphas(phi).shape == (1, 0)
        torch.testing.assert_close(found.constant, float(phi[0] @ weight) + BIAS, atol=1e-6, rtol=0)
        assert found.as_components([]).directions.shape == (0, 8)


def test_a_class_whose_features_never_fire_has_none() -> None:
    for found in routes(torch.zeros(5, 4), torch.ones(4)):
        assert len(found) == 0
        assert found.constant == pytest.approx(BIAS)
        assert found.alphas(torch.ones(2, 4)).shape == (2, 0)


def test_what_has_no_components_is_refused_in_words() -> None:
    phi, weight = features(5, 8)
    with pytest.raises(FeaturesError, match="no picture"):
        ClassComponents.of_features(phi[:0], weight, BIAS)
    with pytest.raises(FeaturesError, match="no picture"):
        ClassComponents.of_scatter(Scatter.empty(8), weight, BIAS)
    with pytest.raises(FeaturesError, match="8 features"):
        ClassComponents.of_features(phi, weight[:7], BIAS)
    with pytest.raises(FeaturesError, match="row holds"):
        ClassComponents.of_features(phi, weight * float("nan"), BIAS)
    phi[2, 4] = float("nan")
    with pytest.raises(FeaturesError, match="feature 4 of picture 2"):
        ClassComponents.of_features(phi, weight, BIAS)


def test_they_are_read_as_they_were_written_and_damage_is_refused(tmp_path: Path) -> None:
    phi, weight = features(30, 12)
    rows = ClassComponents.of_features(phi, weight, BIAS).as_components([0, 1])
    file = tmp_path / "components.safetensors"
    rows.save(file)
    again = Components.load(file)
    assert torch.equal(again.directions, rows.directions)
    assert torch.equal(again.offsets, rows.offsets)
    Components(rows.directions * float("inf"), rows.offsets).save(file)
    with pytest.raises(BankError, match="not finite"):
        Components.load(file)
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(BankError, match="cannot be read"):
        Components.load(file)
