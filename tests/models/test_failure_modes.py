"""Failure modes: the published figures from their counts, planted modes found, chance told from a mode."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import FeaturesError
from models.failure_modes import failure_modes
from models.failure_tree import Leaf, average_leaf_error_rate, gains, grow, largest_gains_by_chance


def planted(pictures: int, width: int, feature: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise features; failure is likely (70 %) where one feature is below 0.3, else rare (5 %)."""
    generator = np.random.default_rng(seed)
    phi = generator.random((pictures, width)).astype(np.float32)
    return phi, generator.random(pictures) < np.where(phi[:, feature] < 0.3, 0.7, 0.05)


def test_the_published_syringe_tree_comes_out_of_its_counts() -> None:
    phi = np.zeros((1406, 700))
    phi[:, 638] = np.where(np.arange(1406) < 395, 0.232, 0.233098)
    failed = np.concatenate([np.arange(395) < 139, np.arange(1011) < 145])
    found = failure_modes(phi, failed, permutations=19)
    assert (found.pictures, found.failures) == (1406, 284)
    assert found.base_error_rate == pytest.approx(0.2020, abs=5e-5)
    (mode,) = found.modes
    (step,) = mode.path
    assert (step.feature, step.above) == (638, False), "the feature's own index, not its place among the selected"
    assert step.threshold == pytest.approx(0.232549, abs=1e-6)
    assert (mode.failures, mode.pictures) == (139, 395)
    assert found.precision == pytest.approx(0.3519, abs=5e-5)
    assert found.recall == pytest.approx(0.4894, abs=5e-5)
    assert mode.importance == pytest.approx(0.1722, abs=5e-5)
    assert found.aler == pytest.approx(0.2455, abs=5e-5)
    assert found.features == (638,)
    assert found.p_value == pytest.approx(1 / 20)


def test_the_published_water_jug_tree_explains_every_failure() -> None:
    phi = np.random.default_rng(0).random((144, 9))
    phi[:, 7] = np.where(np.arange(144) < 72, 0.05, 0.2)
    found = failure_modes(phi, np.arange(144) < 72)
    (mode,) = found.modes
    assert found.base_error_rate == 0.5
    assert (mode.error_rate, mode.error_coverage, found.aler, found.cross_fitted_aler) == (1, 1, 1, 1)
    assert (found.precision, found.recall, found.features) == (1, 1, (7,))


@settings(max_examples=40, deadline=None)
@given(
    pictures=st.integers(4, 60),
    width=st.integers(1, 6),
    depth=st.integers(1, 3),
    data=st.data(),
    seed=st.integers(0, 99),
)
def test_figures_keep_their_bounds(pictures: int, width: int, depth: int, data: st.DataObject, seed: int) -> None:
    generator = np.random.default_rng(seed)
    phi = generator.integers(0, 4, (pictures, width)) / 4
    failed = np.array(data.draw(st.lists(st.booleans(), min_size=pictures, max_size=pictures)))
    found = failure_modes(phi, failed, depth=depth, smallest_leaf=2, permutations=9)
    if found.empty:
        assert (found.leaves, found.modes, found.features, found.aler, found.p_value) == ((), (), (), None, None)
        return
    assert sum(leaf.pictures for leaf in found.leaves) == pictures
    assert sum(leaf.failures for leaf in found.leaves) == failed.sum()
    assert min(leaf.pictures for leaf in found.leaves) >= 2
    assert max(len(leaf.path) for leaf in found.leaves) <= depth
    assert found.base_error_rate - 1e-12 <= found.aler <= 1
    counts = sum(leaf.failures**2 / leaf.pictures for leaf in found.leaves) / failed.sum()
    assert found.aler == pytest.approx(counts)
    assert found.nodes[0].aler == pytest.approx(found.aler)
    for leaf in found.leaves:
        assert leaf.failing == (leaf.error_rate > found.base_error_rate)
        inside = np.all([condition.holds(phi) for condition in leaf.path], axis=0)
        assert (inside.sum(), failed[inside].sum()) == (leaf.pictures, leaf.failures)
    assert 0.1 <= found.p_value <= 1
    assert found.cross_fitted_aler is None or 0 <= found.cross_fitted_aler <= 1


def test_a_node_s_rate_is_that_of_the_leaves_below_it() -> None:
    phi = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 10, dtype=float)
    failed = (phi[:, 0] == 0) & (phi[:, 1] == 0)
    tree = grow(phi, failed, [0, 1], depth=2, smallest_leaf=1)
    assert [(len(node.path), node.feature, node.aler) for node in tree.nodes] == [(0, 0, 1.0), (1, 1, 1.0)]
    best = tree.leaves[0]
    assert (best.pictures, best.error_rate, best.error_coverage) == (10, 1, 1)
    assert tree.aler == 1
    shallow = grow(phi, failed, [0, 1], depth=1, smallest_leaf=1)
    assert shallow.aler == 0.5
    assert average_leaf_error_rate([Leaf.of((), (0, 0), (40, 10))]) == 0


def test_a_planted_mode_is_found_and_generalises() -> None:
    phi, failed = planted(300, 40, 23)
    found = failure_modes(phi, failed)
    assert found.features == (23,)
    assert found.p_value == 1 / 200
    assert found.cross_fitted_aler > 2 * found.base_error_rate
    assert found.modes[0].path[0].threshold == pytest.approx(0.3, abs=0.03)


def test_chance_is_told_from_a_mode() -> None:
    """Without any mode the p-value is uniform and held-out pictures show no more failures than the group has."""
    p_values, above = [], []
    for seed in range(40):
        generator = np.random.default_rng(seed)
        found = failure_modes(generator.random((120, 15)), np.arange(120) < 30, permutations=39, seed=seed)
        p_values.append(found.p_value)
        above.append((found.aler - 0.25, found.cross_fitted_aler - 0.25))
    assert 0.3 < np.mean(p_values) < 0.7
    assert np.mean(np.array(p_values) <= 0.1) < 0.3
    fitted, held_out = np.array(above).T
    assert fitted.mean() > 0.03, "on its own pictures every tree looks good"
    without_itself = 29 / 119 - 0.25
    assert abs(held_out.mean() - without_itself) < 3 * held_out.std() / np.sqrt(len(held_out))


def test_the_shortcut_of_the_null_is_the_largest_gain_over_all_features() -> None:
    generator = np.random.default_rng(0)
    phi = generator.integers(0, 6, (50, 300)).astype(float)
    failed = np.arange(50) < 13
    found = largest_gains_by_chance(phi, failed, 4, 5, np.random.default_rng(1))
    again = np.random.default_rng(1)
    np.testing.assert_allclose(found, [gains(phi, again.permutation(failed), 4).max() for _ in range(5)], atol=1e-12)


def test_a_gain_is_the_information_in_the_best_threshold() -> None:
    failed = np.arange(8) < 2
    perfect, none, half = np.arange(8) >= 2, np.zeros(8), np.array([0, 1, 1, 1, 1, 1, 1, 1])
    found = gains(np.stack([perfect, none, half], axis=1).astype(float), failed, 1)
    # Failures weigh 3 each: the third feature isolates 3 of 12, leaving 3 failures beside 6 successes.
    left = 1 - 9 / 12 * -(1 / 3 * np.log2(1 / 3) + 2 / 3 * np.log2(2 / 3))
    np.testing.assert_allclose(found, [1, 0, left])
    assert gains(np.stack([half], axis=1).astype(float), failed, 2).tolist() == [0]


def test_the_result_is_the_same_for_the_same_seed() -> None:
    phi, failed = planted(120, 10, 3)
    assert failure_modes(phi, failed, seed=4) == failure_modes(phi, failed, seed=4)
    assert failure_modes(phi, failed, seed=4).cross_fitted_aler != failure_modes(phi, failed, seed=5).cross_fitted_aler


@pytest.mark.parametrize(
    ("phi", "failed", "rate", "reason"),
    [
        (np.empty((0, 3)), [], None, "no picture"),
        (np.ones((1, 3)), [True], 1.0, "every picture fails"),
        (np.ones((1, 3)), [False], 0.0, "no picture fails"),
        (np.random.default_rng(0).random((30, 3)), [False] * 30, 0.0, "no picture fails"),
        (np.random.default_rng(0).random((30, 3)), [True] * 30, 1.0, "every picture fails"),
        (np.random.default_rng(0).random((10, 3)), [True, False] * 5, 0.5, "too few"),
        (np.zeros((40, 3)), [True, False] * 20, 0.5, "no feature tells"),
    ],
)
def test_a_group_of_which_nothing_can_be_said_says_so(
    phi: np.ndarray, failed: list[bool], rate: float | None, reason: str
) -> None:
    found = failure_modes(phi, failed)
    assert reason in found.empty
    assert found.base_error_rate == rate
    assert (found.modes, found.features, found.aler, found.cross_fitted_aler, found.p_value) == (
        (),
        (),
        None,
        None,
        None,
    )


def test_one_failure_cannot_be_cross_fitted() -> None:
    phi = np.random.default_rng(0).random((40, 3))
    found = failure_modes(phi, np.arange(40) == 5)
    assert found.modes
    assert found.cross_fitted_aler is None


def test_what_is_no_number_or_does_not_belong_together_is_refused() -> None:
    phi = np.ones((4, 2))
    with pytest.raises(FeaturesError, match="do not go together"):
        failure_modes(phi, [True, False])
    phi[3, 1] = np.nan
    with pytest.raises(FeaturesError, match="feature 1 of picture 3"):
        failure_modes(phi, [True, False, True, False])
