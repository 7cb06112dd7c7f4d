"""Features replaced by fills: who relies on them is known, and what is shown is what was asked for."""

from __future__ import annotations

import numpy as np
import pytest

from models.fills import FILLS
from tests.jobs import world
from tests.jobs.measuring import Recorder, check_that_batches_change_nothing, measure, refused
from tests.jobs.world import GREEN, RED

TELLING = ("grey", "blur", "in-painting")
"""Shuffling the patches of a square of one colour leaves it as it is."""


def test_a_cue_reliant_classifier_is_flagged_under_every_fill_that_takes_the_cue_away() -> None:
    found = measure("ablations", world.looking_at(GREEN), world.samples(24, 3))
    for fill in TELLING:
        entry = found.entry("spurious_control_difference", part=fill)
        assert (entry.figure.value, entry.flagged) == (1.0, True)
        assert found.value("core_accuracy", part=fill) == 0
        assert found.value("core_control_difference", part=fill) == 0
        assert found.value("spurious_evidence", part=fill) == pytest.approx(100 * 16 * 16 / 64**2, rel=0.01)
    assert found.value("spurious_control_difference", part="patch-shuffle") == 0
    assert found.section.flagged == ("hen",)
    assert "1 of 1 class" in found.section.answer


def test_an_object_reliant_classifier_is_not() -> None:
    found = measure("ablations", world.looking_at(RED), world.samples(24, 3))
    for fill in TELLING:
        assert found.value("spurious_control_difference", part=fill) == 0
        assert found.value("core_control_difference", part=fill) == 1
        assert found.value("spurious_accuracy", part=fill) == 0
        assert found.value("core_accuracy", of=None, part=fill) == 1
    assert found.section.flagged == ()


def test_classes_with_few_pictures_are_withheld_and_not_tested() -> None:
    found = measure("ablations", world.looking_at(GREEN), world.samples(19, 3), {"fills": ["grey"]})
    entry = found.entry("spurious_control_difference", part="grey")
    assert (entry.figure.value, entry.p_value, entry.figure.n) == (None, None, 19)
    assert "too few" in (entry.figure.withheld or "")


def test_grey_is_half_way_before_mean_and_standard_deviation_and_covers_the_mask_alone() -> None:
    """The mask is made of the same 64 pixels the classifier sees: no zoom, no shift."""
    seen = Recorder()
    (item,) = world.samples(1, 0)
    found = measure("ablations", seen, [item], {"fills": ["grey"]})
    clean, without_cue = seen.shown[0], seen.shown[1]
    cue = (np.abs(world.opened(item) - np.array(GREEN)).max(axis=-1) == 0)[None].repeat(3, axis=0)
    changed = np.abs(without_cue - clean) > 0.02
    assert not changed[~cue].any()  # grey on grey does not show
    rows_hit = np.flatnonzero(cue[0].any(axis=1))
    columns_hit = np.flatnonzero(cue[0].any(axis=0))
    middle = (slice(None), slice(rows_hit[0] + 2, rows_hit[-1] - 1), slice(columns_hit[0] + 2, columns_hit[-1] - 1))
    np.testing.assert_allclose(without_cue[middle], 0.5, atol=1e-6)
    assert [row["part"] for row in found.rows("ablations/spurious")] == ["grey"]
    assert found.rows("ablations/spurious")[0]["overlap"] == pytest.approx(0, abs=0.02)


def test_batches_and_shards_change_nothing() -> None:
    check_that_batches_change_nothing("ablations", {}, world.samples(9, 4))


def test_fills_are_chosen_by_name() -> None:
    found = measure("ablations", Recorder(), world.samples(2, 0), {"fills": ["blur", "grey", "blur"]})
    assert [entry.part for entry in found.section.entries if entry.of is None][:6] == ["grey"] * 3 + ["blur"] * 3
    field, message = refused("ablations", {"fills": ["sepia"]})
    assert field == "measurements.ablations.fills"
    assert all(name in message for name in ("sepia", *FILLS))
    assert refused("ablations", {"fills": []})[0] == "measurements.ablations.fills"
