"""Running moments: many parts in any order give what one pass gives."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.errors import FeaturesError
from models.moments import GroupedMoments, Moments, Scatter

FEATURES = arrays(
    np.float32, st.tuples(st.integers(1, 12), st.just(4)), elements=st.floats(0, 1e4, width=32, allow_subnormal=False)
)
KINDS = pytest.mark.parametrize("kind", [Moments, Scatter])


@KINDS
@settings(deadline=None)
@given(phi=FEATURES, data=st.data())
def test_parts_merged_in_any_order_give_the_one_pass_figures(kind: type, phi: np.ndarray, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(phi)), max_size=4).map(sorted))
    parts = data.draw(st.permutations(np.split(phi, cuts)))
    left = reduce(lambda whole, part: whole.update(part), parts, kind.empty(4))
    right = reduce(lambda whole, part: part.merge(whole), [kind.of(part) for part in parts], kind.empty(4))
    expected = np.cov(phi.astype(np.float64), rowvar=False, ddof=0) * len(phi)
    for found in (left, right):
        assert found.count == len(phi)
        np.testing.assert_allclose(found.mean, phi.astype(np.float64).mean(0), rtol=1e-12, atol=1e-9)
        squares = found.squares if kind is Moments else np.diag(found.products)
        np.testing.assert_allclose(squares, np.diag(expected), rtol=1e-9, atol=1e-6)
        if kind is Scatter:
            np.testing.assert_allclose(found.products, expected, rtol=1e-9, atol=1e-6)


@KINDS
@settings(deadline=None)
@given(value=st.floats(0, 1e6), counts=st.lists(st.integers(1, 7), min_size=1, max_size=5))
def test_a_feature_that_never_changes_has_no_deviation_at_all(kind: type, value: float, counts: list[int]) -> None:
    found = reduce(lambda whole, count: whole.update(np.full((count, 1), value)), counts, kind.empty(1))
    assert found.mean[0] == value
    assert (found.squares if kind is Moments else found.products).item() == 0


def test_the_deviation_survives_a_mean_a_million_times_larger() -> None:
    phi = 1e6 + np.random.default_rng(0).standard_normal((5000, 3))
    found = reduce(lambda whole, part: whole.update(part), np.array_split(phi, 50), Moments.empty(3))
    np.testing.assert_allclose(found.std, phi.std(0), rtol=1e-8)


def test_std_is_of_the_population_and_covariance_of_the_sample() -> None:
    phi = np.array([[1.0, 2.0], [3.0, 2.0], [5.0, 8.0]])
    np.testing.assert_allclose(Moments.of(phi).std, phi.std(0, ddof=0))
    np.testing.assert_allclose(Scatter.of(phi).covariance, np.cov(phi, rowvar=False, ddof=1))


@KINDS
def test_one_picture_has_a_mean_and_no_spread_and_none_has_neither(kind: type) -> None:
    one = kind.of([[0.1, 3.0]])
    assert one.mean.tolist() == [0.1, 3.0]
    assert not (one.squares if kind is Moments else one.products).any()
    none = kind.of(np.empty((0, 2)))
    assert none.count == 0
    assert not none.mean.any()
    assert Moments.empty(2).std.tolist() == [0, 0]
    with pytest.raises(FeaturesError, match="two pictures"):
        _ = Scatter.of([[1.0, 2.0]]).covariance


@KINDS
def test_they_are_stored_as_plain_arrays(kind: type) -> None:
    found = kind.of(np.random.default_rng(1).random((5, 3)))
    again = kind.from_arrays(found.to_arrays())
    assert again.count == 5
    for name, values in found.to_arrays().items():
        np.testing.assert_array_equal(values, again.to_arrays()[name])
    with pytest.raises(FeaturesError, match="lack"):
        kind.from_arrays({"count": np.array(2)})
    with pytest.raises(FeaturesError, match="cannot be"):
        kind.from_arrays(found.to_arrays() | {"mean": np.full(3, np.nan)})
    with pytest.raises(FeaturesError, match="fit"):
        kind.from_arrays(found.to_arrays() | {"mean": np.zeros(4)})


@KINDS
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused_by_name(kind: type, bad: float) -> None:
    phi = np.ones((3, 2))
    phi[1, 0] = bad
    with pytest.raises(FeaturesError, match="feature 0 of picture 1"):
        kind.empty(2).update(phi)


@KINDS
def test_features_of_another_encoder_are_refused(kind: type) -> None:
    with pytest.raises(FeaturesError, match="2 and of 3 features"):
        kind.of(np.ones((3, 2))).merge(kind.of(np.ones((3, 3))))
    with pytest.raises(FeaturesError, match="shape"):
        kind.of(np.ones(3))


def test_moments_of_many_groups_are_those_of_each() -> None:
    generator = np.random.default_rng(0)
    together, each = GroupedMoments(4, 3), [Moments.empty(3) for _ in range(4)]
    for _ in range(5):
        groups = np.sort(generator.choice([0, 1, 3], 20))
        phi = np.c_[generator.random((20, 2)), np.full(20, 0.1)]
        together.update(groups, phi)
        each = [own.update(phi[groups == group]) for group, own in enumerate(each)]
    assert together.count.tolist() == [own.count for own in each]
    np.testing.assert_allclose(together.mean, [own.mean for own in each], rtol=1e-12)
    np.testing.assert_allclose(together.squares, [own.squares for own in each], rtol=1e-10)
    scores = together.z_scores(groups, phi)
    expected = (phi[:, 0] - together.mean[groups, 0]) / np.array([own.std[0] for own in each])[groups]
    np.testing.assert_allclose(scores[:, 0], expected)
    assert not scores[:, 2].any()
