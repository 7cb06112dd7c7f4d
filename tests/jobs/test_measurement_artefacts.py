"""Planted artefacts: the spurious score of classifiers that are known to go by one, and of ones that do not."""

from __future__ import annotations

import numpy as np
import pytest

from models.artefacts import ARTEFACTS
from tests.jobs import world
from tests.jobs.measuring import Recorder, check_that_batches_change_nothing, measure, refused
from tests.jobs.test_patches import encoded
from tests.jobs.world import BLUE, GREEN, RED

SQUARE = {"artefacts": [], "patch": encoded(np.full((8, 8, 3), GREEN, np.uint8)), "patch_share": 0.25}
"""A green square, as the cue of hens."""

BOTH = {**SQUARE, "artefacts": ["tag"]}


def test_a_patch_that_is_the_cue_turns_owls_into_hens_for_a_classifier_that_goes_by_it() -> None:
    found = measure("artefacts", world.looking_at(GREEN), world.samples(4, 24), BOTH)
    assert found.value("spurious_score", part="patch") == 1
    assert found.value("control_score", part="patch") == 0
    entry = found.entry("score_difference", part="patch")
    assert (entry.figure.value, entry.figure.n, entry.flagged) == (1.0, 24, True)
    assert found.value("spurious_score", part="tag") == 0
    assert found.section.flagged == ("hen",)


def test_a_classifier_that_goes_by_the_object_does_not_see_it() -> None:
    found = measure("artefacts", world.looking_at(RED), world.samples(4, 24), BOTH)
    assert found.value("spurious_score", part="patch") == 0
    assert found.section.flagged == ()


def test_the_score_is_of_pictures_that_are_not_taken_for_the_class_and_the_own_ones_stand_apart() -> None:
    """Of 24 owls one in three has the cue of hens already, and is taken for one."""
    items = world.samples(20, 24)
    for i in range(20, 44, 3):
        items[i] = items[i]._replace(content=world.png(world.picture(BLUE, (4, 4), (40, 4))))
    found = measure("artefacts", world.looking_at(GREEN), items, SQUARE)
    assert found.figure("spurious_score", part="patch").n == 24 - 8
    assert found.value("own_difference", "owl", "patch") == pytest.approx(-(24 - 8) / 24)
    assert found.value("own_difference", "hen", "patch") == 0


def test_the_table_of_a_class_is_what_counting_one_by_one_gives() -> None:
    weights = np.random.default_rng(0).normal(size=(3, 64, 64))

    def haphazard(batch: np.ndarray) -> np.ndarray:
        """Answers that depend on the whole picture in no sensible way."""
        score = np.tensordot(batch - 0.5, weights, axes=3)
        return np.stack([np.sin(score), np.zeros_like(score)], axis=1).astype(np.float32)

    found = measure("artefacts", haphazard, world.samples(45, 45), {"artefacts": ["stripe"]})
    clean = {row["row"]: row["predicted"] for row in found.rows("clean")}
    tested = {row["row"]: row["predicted"] for row in found.rows("artefacts/tested")}
    control = {row["row"]: row["predicted"] for row in found.rows("artefacts/control")}
    for place, name in enumerate(("hen", "owl")):
        others = [row for row in clean if clean[row] != place]
        score = np.mean([tested[row] == place for row in others])
        beyond = score - np.mean([control[row] == place for row in others])
        assert 0 < score < 1
        assert found.value("spurious_score", name, "stripe") == pytest.approx(score)
        assert found.value("score_difference", name, "stripe") == pytest.approx(beyond)


def test_the_cost_is_bounded_and_the_draw_is_the_same_for_every_shard() -> None:
    parameters = {"artefacts": ["tag"], "pictures": 5}
    found = measure("artefacts", Recorder(), world.samples(30, 12), parameters)
    planted = [row["class"] for row in found.rows("artefacts/tested")]
    assert (planted.count(0), planted.count(1)) == (5, 5)
    check_that_batches_change_nothing("artefacts", parameters, world.samples(11, 8))


def test_a_blurred_background_is_measured_too() -> None:
    found = measure("artefacts", world.looking_at(GREEN), world.samples(3, 3), {"artefacts": ["blur"]})
    assert len(found.rows("artefacts/tested", "blur")) == 6


def test_what_cannot_be_planted_is_refused_by_name() -> None:
    field, message = refused("artefacts", {"artefacts": ["moustache"]})
    assert field == "measurements.artefacts.artefacts"
    assert all(name in message for name in ("moustache", *ARTEFACTS))
    assert refused("artefacts", {"patch": "?"})[0] == "measurements.artefacts.patch"
    assert "nothing is to be planted" in refused("artefacts", {"artefacts": []})[1]
    assert refused("artefacts", {"patch_share": 0})[0] == "measurements.artefacts.patch_share"
