"""The line through several classifiers, and how each stands to it."""

from __future__ import annotations

import numpy as np
import pytest

from models.effective_robustness import effective_robustness


def test_a_worked_example() -> None:
    # lowest = .1 + .5 highest, and the third classifier 6 points above it; least squares by hand
    fit = effective_robustness([0.6, 0.8, 1.0], [0.4, 0.56, 0.6])
    assert float(fit.slope) == pytest.approx(0.5)
    assert float(fit.intercept) == pytest.approx(0.52 - 0.5 * 0.8)
    assert fit.residuals == pytest.approx([-0.02, 0.04, -0.02])


def test_it_agrees_with_a_second_implementation_and_sums_to_nothing() -> None:
    highest, lowest = np.random.default_rng(3).random((2, 7, 12))
    fit = effective_robustness(highest, lowest)
    for x, y, slope, intercept in zip(highest, lowest, fit.slope, fit.intercept, strict=True):
        assert np.polyfit(x, y, 1) == pytest.approx([slope, intercept])
    assert fit.residuals.sum(axis=-1) == pytest.approx(np.zeros(7))


@pytest.mark.parametrize(("highest", "why"), [([0.5, 0.6], "too few"), ([0.7, 0.7, 0.7], "equally accurate")])
def test_no_line_where_there_is_none(highest: list[float], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        effective_robustness(highest, highest)
