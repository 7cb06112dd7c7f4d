"""How a measure is scored against what is true."""

from __future__ import annotations

from math import isnan

import pytest

from tests.truth.audit_tables import Score, relies_on_nothing, scores
from tests.truth.members import Member


def member(name: str, truth: dict[str, float], gap: dict[str, float], flagged: list[str]) -> Member:
    mean = sum(gap.values()) / len(gap)
    measured = {"test.gap": gap, "test.core[grey]": {known: -value for known, value in gap.items()}}
    means: dict[str, float | None] = {"test.gap": mean, "test.core[grey]": -mean, "test.same": 1.0}
    worse = {"test.gap": "higher", "test.core[grey]": "lower", "test.same": "neither"}
    return Member(name, truth, means, measured, {"test.gap": flagged}, worse)


@pytest.fixture
def found() -> dict[str, Score]:
    members = [
        member("nothing", {"ant": 0.0, "bee": 0.01}, {"ant": 0.1, "bee": 0.0}, ["ant"]),
        member("half", {"ant": 0.5, "bee": 0.01}, {"ant": 0.4, "bee": 0.0}, ["ant"]),
        member("against", {"ant": -0.5, "bee": 0.0}, {"ant": -0.4, "bee": 0.2}, ["bee"]),
        member("whole", {"ant": 0.9, "bee": 0.8}, {"ant": 0.8, "bee": 0.1}, ["ant"]),
    ]
    return {own.measure: own for own in scores(members)}


def test_a_measure_counts_in_the_direction_that_speaks_for_reliance(found: dict[str, Score]) -> None:
    assert found["test.gap"].rank == found["test.core[grey]"].rank == pytest.approx(1)
    assert found["test.gap"].area == found["test.core[grey]"].area == pytest.approx((5 + 5 + 3.5) / 15)


def test_flags_are_counted_apart_for_classes_relied_on_free_ones_and_classifiers_that_rely_on_nothing(
    found: dict[str, Score],
) -> None:
    own = found["test.gap"]
    assert [(flags.count, flags.total) for flags in (own.found, own.alarms, own.quiet) if flags] == [
        (2, 3),
        (2, 5),
        (1, 2),
    ]
    assert found["test.core[grey]"].found is None


def test_one_that_is_only_surer_is_left_out_where_it_says_so() -> None:
    gaps = {"a": 0.1, "b": 0.2, "c": 0.3, "planted-0-surer": 0.9}
    reliance = {"a": 0.1, "b": 0.2, "c": 0.3, "planted-0-surer": 0.0}
    (own,) = (
        score
        for score in scores([member(name, {"ant": reliance[name]}, {"ant": gap}, []) for name, gap in gaps.items()])
        if score.measure == "test.gap"
    )
    assert own.unscaled == pytest.approx(1)
    assert own.rank == pytest.approx(1 - 6 * 12 / (4 * 15))


def test_what_is_the_same_for_all_orders_nothing(found: dict[str, Score]) -> None:
    assert isnan(found["test.same"].rank)
    assert found["test.same"].members == 4


def test_a_classifier_that_goes_against_its_cues_does_not_rely_on_nothing() -> None:
    assert relies_on_nothing(member("nothing", {"ant": 0.03}, {"ant": 0.0}, []))
    assert not relies_on_nothing(member("against", {"ant": -0.3}, {"ant": 0.0}, []))
