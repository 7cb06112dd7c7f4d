"""Accuracy over spuriosity, on pictures of which everything is known."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from jobs import rows
from jobs.measurement import Scope
from jobs.measurements.natural_pictures import GAP, HIGHEST, LOWEST, MEASUREMENT, WORST, NaturalParameters, NaturalTally
from jobs.readings import Reading
from jobs.sections import Section
from jobs.spread import Spreads
from jobs.spurious_activations import COLUMN
from tests.jobs import world

HEN, OWL = 0, 1
SCOPE = Scope(world.bank_of_two_cues(), [HEN, OWL], 0, {}, np.zeros(0, np.int32), np.array([HEN, OWL], np.int32))


def table(activations: np.ndarray, correct: np.ndarray, class_index: int = HEN) -> pa.Table:
    """Clean rows of one class, whose only spurious feature is as strong as given."""
    count = len(activations)
    clean = rows.rows(
        {
            "sample": [f"{i}" for i in range(count)],
            "row": np.arange(count),
            "class": np.full(count, class_index),
            "variant": [rows.CLEAN] * count,
            "predicted": np.where(correct, class_index, 1 - class_index),
            "correct": correct,
        }
    )
    return clean.append_column(COLUMN, pa.array([[value] for value in activations], COLUMN.type))


def section(*tables: pa.Table, **asked: float) -> Section:
    tally = NaturalTally(SCOPE, NaturalParameters(**asked))
    for _ in range(2):
        for own in tables:
            tally.add(own)
        more = tally.again()
    assert not more
    return tally.section()


def value(found: Section, reading: Reading, of: str | None = "hen") -> float | None:
    return next(entry for entry in found.entries if (entry.metric, entry.of) == (reading.metric.name, of)).figure.value


def test_the_gap_is_that_of_the_two_ends_each_from_its_own_end() -> None:
    """The released rankings take both ends from the same one wherever a class has few pictures: their gap is 0."""
    strength = np.arange(100.0)
    found = section(table(strength, strength >= 50), ends=0.2)
    assert (value(found, HIGHEST), value(found, LOWEST), value(found, GAP)) == (1, 0, 1)
    assert found.flagged == ("hen",)
    assert [point.figure.value for point in found.series[1].points[:1]] == [None]  # ten pictures are too few


def test_a_classifier_that_errs_by_chance_is_not_flagged() -> None:
    generator = np.random.default_rng(0)
    flagged = 0
    for _ in range(40):
        found = section(table(generator.random(200), generator.random(200) < 0.7))
        flagged += len(found.flagged)
    assert flagged <= 3


def test_a_cue_that_misleads_gives_a_negative_gap_and_no_flag() -> None:
    strength = np.arange(100.0)
    found = section(table(strength, strength < 50))
    assert value(found, GAP) == -1
    assert found.flagged == ()


def test_shards_change_nothing() -> None:
    generator = np.random.default_rng(1)
    strength, correct = generator.random(300), generator.random(300) < 0.8
    whole = section(table(strength, correct), table(strength, correct, OWL))
    parts = section(
        *(table(strength[i::3], correct[i::3]) for i in range(3)),
        *(table(strength[i::3], correct[i::3], OWL) for i in range(3)),
    )
    assert whole == parts


def test_the_worst_group_is_the_bin_of_lowest_accuracy() -> None:
    strength = np.arange(300.0)
    found = section(table(strength, (strength < 60) | (strength >= 90)))
    assert value(found, WORST) == 0


def test_equal_values_fall_on_the_same_side() -> None:
    spreads = Spreads(1)
    spreads.add(0, np.r_[np.zeros(80), np.ones(20)], np.ones(100, dtype=bool))
    spread = spreads.of(0)
    low, high = spread.ends(0.2)
    assert (low.sum(), high.sum()) == (80, 20)
    spreads = Spreads(1)
    spreads.add(0, np.zeros(100), np.ones(100, dtype=bool))
    spread = spreads.of(0)
    assert spread.ends(0.2) is None


@pytest.mark.parametrize("values", [np.linspace(-9, 9, 1000), np.r_[np.zeros(500), np.linspace(0, 3, 500)]])
def test_bins_hold_every_picture_once(values: np.ndarray) -> None:
    spreads = Spreads(1)
    spreads.add(0, values, values > 0)
    spread = spreads.of(0)
    bins = spread.bins(10)
    assert bins.sum() == 1000
    assert bins[:, 1].sum() == (values > 0).sum()


def test_the_change_of_the_worst_group_is_that_of_the_audits_and_its_interval_holds_the_truth() -> None:
    """Two classifiers that err on the same pictures mostly, worst at opposite ends: .7 - .5 in truth."""
    generator, asked, held = np.random.default_rng(5), NaturalParameters(bins=5), 0
    repeats, strength = 40, np.arange(300.0)
    for _ in range(repeats):
        draw = generator.random(300)
        first, second = (draw < np.linspace(low, high, 300) for low, high in ((0.67, 0.95), (0.95, 0.45)))
        tables = [table(strength, right) for right in (first, second)]
        (changes,) = MEASUREMENT.changes((SCOPE, SCOPE), asked)
        changes.look(*tables)
        changes.add(*tables)
        found = next(own for own in changes.found() if (own.metric, own.of) == (WORST.metric.name, "hen")).estimate
        apart = [value(section(own, bins=5), WORST) or 0.0 for own in tables]
        assert found.value == pytest.approx(apart[0] - apart[1])
        held += found.interval.low <= 0.2 <= found.interval.high
    assert held / repeats >= 0.9
