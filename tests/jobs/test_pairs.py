"""Paired outcomes from rows: matched by picture and part, over repeats, whatever the order."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from jobs import rows
from jobs.pairs import Pairs, Rows


def table(pictures: int, repeats: int) -> pa.Table:
    """Of class 0: the control is always right; the tested one on repeat 0 alone, with one nat less."""
    parts = ["a/0", "a/1", "b/0", "b/1"] if repeats == 2 else ["a", "b"]
    found = []
    for row in range(pictures):
        for part in parts:
            for variant in ("control", "tested", "other"):
                right = variant == "control" or part.endswith("/0")
                found.append((row, variant, part, right, 2.0 if variant == "control" else 1.0))
    order = np.random.default_rng(0).permutation(len(found))
    columns = list(zip(*(found[i] for i in order), strict=True))
    return rows.rows(
        {
            "sample": [str(row) for row in columns[0]],
            "row": columns[0],
            "class": [0] * len(found),
            "variant": columns[1],
            "part": columns[2],
            "correct": columns[3],
            "log_odds": columns[4],
            "energy": [1.0] * len(found),
        }
    )


def counted(pictures: int, repeats: int) -> Pairs:
    pairs = Pairs(2, ["a", "b"], repeats)
    own = table(pictures, repeats)
    pairs.add(Rows(own, "control", ["a", "b"], repeats), Rows(own, "tested", ["a", "b"], repeats))
    return pairs


def test_a_picture_with_two_repeats_is_one_outcome() -> None:
    """Every picture agrees: 24 of them, not 48 answers, of which half are right."""
    pairs, generator = counted(24, 2), np.random.default_rng(0)
    assert pairs.counts(0, "a").tolist() == [[0, 0, 0], [0, 0, 0], [0, 24, 0]]
    accuracy = pairs.accuracy_of_second(0, "b", generator)
    assert (accuracy.value, accuracy.n) == (0.5, 24)
    assert accuracy.interval.low > 0.4
    assert pairs.accuracy_of_first(0, "b", generator).value == 1
    assert pairs.difference(0, "a", generator).value == 0.5
    assert pairs.evidence(0, "a", generator).value == 1
    assert pairs.p_value(0, "a") == pytest.approx(0.5**24)
    assert pairs.difference(1, "a", generator).n == 0


def test_without_repeats_it_is_the_usual_table() -> None:
    pairs = counted(24, 1)
    assert pairs.counts(0, "b").tolist() == [[0, 0], [24, 0]]
    assert pairs.difference(0, "b", np.random.default_rng(0)).value == 1


def test_pairs_that_are_not_kept_do_not_count() -> None:
    pairs, own = Pairs(2, ["a", "b"]), table(10, 1)
    first, second = Rows(own, "control", ["a", "b"]), Rows(own, "tested", ["a", "b"])
    pairs.add(first, second, first.row < 4)
    assert pairs.counts(0, "a").sum() == 4
