"""The strongest pictures of every feature: those a sort of everything gives, whatever was merged with what."""

from __future__ import annotations

import functools
import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jobs.strongest import NOBODY, Strongest


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=40), st.lists(st.integers(1, 39), max_size=4), st.integers(1, 6)
)
def test_merged_equals_one_sort_of_all(levels: list[int], cuts: list[int], count: int) -> None:
    """Few levels, so that ties are common: equal activations go by row."""
    phi = np.array(levels, dtype=np.float32)[:, None]
    rows = np.arange(len(levels), dtype=np.int64)
    edges = [0, *sorted({cut for cut in cuts if cut < len(levels)}), len(levels)]
    parts = [Strongest.of(phi[a:b], rows[a:b], count) for a, b in itertools.pairwise(edges)]
    merged = functools.reduce(lambda first, second: second.merge(first), parts)
    expected = sorted(rows.tolist(), key=lambda row: (-levels[row], row))[:count]
    assert [row for row, _ in merged.of_feature(0)] == expected
    assert [value for _, value in merged.of_feature(0)] == [levels[row] for row in expected]


def test_fewer_pictures_than_asked_for_are_all_there_are() -> None:
    found = Strongest.of(np.array([[2.0, 0.0]], dtype=np.float32), np.array([9]), 3)
    assert found.rows.tolist() == [[9, NOBODY, NOBODY]] * 2
    assert found.of_feature(1) == [(9, 0.0)]
