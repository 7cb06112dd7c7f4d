"""Noise of several strengths: its curve, its controls, and the traps of released code."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.datasets import Sample
from models.corruptions import draws_of_sample
from models.energy import TOLERANCE
from models.preprocessing import Preprocessing
from tests.jobs import world
from tests.jobs.measuring import Recorder, check_that_batches_change_nothing, measure, refused
from tests.jobs.world import GREEN, RED

NAME = "noise-sweep"
ONE = {"sigmas": [0.25], "draws": 1}


def shown(item: Sample, parameters: dict, **subject: object) -> list[np.ndarray]:
    """Clean; on the cue, on its two controls; on the object, on its two controls; outside the object."""
    seen = Recorder()
    measure(NAME, seen, [item], parameters, subjects=world.subjects(seen, dataset=[item], **subject))
    return seen.shown


def test_a_cue_reliant_classifier_is_flagged_at_every_strength_against_both_controls() -> None:
    found = measure(NAME, world.looking_at(GREEN), world.samples(24, 3))
    for sigma in ("0.125", "0.25", "0.5"):
        for metric in ("spurious_control_difference", "spurious_energy_difference"):
            entry = found.entry(metric, part=sigma)
            assert (entry.figure.value, entry.figure.n, entry.flagged) == (1.0, 24, True)
        assert found.value("core_accuracy", part=sigma) == 0
        assert found.value("rcs", part=sigma) == -1  # right under noise on the core, wrong under noise outside it
    area = found.entry("spurious_area_mean_difference")
    assert area.figure.value == pytest.approx(0.875)  # 1 from .125 on, and from 0 to there half of it
    assert area.flagged
    assert "in 1 of 1 class tested: hen." in found.section.answer


def test_an_object_reliant_classifier_is_not() -> None:
    found = measure(NAME, world.looking_at(RED), world.samples(24, 3))
    assert found.section.flagged == ()
    assert found.value("spurious_area_mean_difference") == 0
    assert found.value("core_energy_mean_difference") == pytest.approx(0.875)
    assert found.value("rcs", part="0.5") == 1


def test_the_curves_are_the_means_over_classes_by_sigma() -> None:
    found = measure(NAME, world.looking_at(GREEN), world.samples(24, 3))
    (curve,) = (series for series in found.section.series if series.name == "spurious_control_difference")
    assert [point.x for point in curve.points] == [0.125, 0.25, 0.5]
    assert [point.figure for point in curve.points] == [
        found.figure("spurious_control_difference", None, f"{point.x:g}") for point in curve.points
    ]


def test_the_standard_deviation_is_divided_once_and_by_nothing() -> None:
    """A release divides it by 255 twice; means and standard deviations of the network play no part either."""
    narrow = Preprocessing(size=64, mean=(0.5, 0.5, 0.5), std=(0.1, 0.1, 0.1))
    (item,) = world.samples(1, 0)
    clean, cue, *_ = shown(item, ONE, preprocessing=narrow)
    draws = draws_of_sample(0, item.sample, (3, 64, 64))
    green = np.flatnonzero(np.abs(clean - np.array(GREEN)[:, None, None] / 255).max(axis=0).ravel() < 0.01)
    rows, columns = np.unravel_index(green, (64, 64))
    middle = (slice(None), slice(rows.min() + 3, rows.max() - 2), slice(columns.min() + 3, columns.max() - 2))
    np.testing.assert_allclose(cue[middle], np.clip(clean + 0.25 * draws, 0, 1)[middle], atol=1e-5)


def test_the_mask_is_not_zoomed_beside_the_picture() -> None:
    """A release puts masks of the input's size through resize and crop again, which enlarges them by 1.143."""
    zooming = Preprocessing(size=64, resize=73)
    pixels = world.picture(RED, (4, 4), (40, 28))
    item = Sample(0, "hen/0.png", 0, world.png(pixels))
    clean, cue, *_ = shown(item, ONE, preprocessing=zooming)
    green = (clean[1] > 0.7) & (clean[0] < 0.4)
    noisy = np.abs(cue - clean).max(axis=0) > 0.05

    def box(where: np.ndarray) -> np.ndarray:
        rows, columns = np.flatnonzero(where.any(axis=1)), np.flatnonzero(where.any(axis=0))
        return np.array([rows[0], rows[-1], columns[0], columns[-1]])

    # the backbone sees the picture as it is, the classifier its middle enlarged; half a cell of slope around the mask
    assert np.abs(box(noisy) - box(green)).max() <= 3


def test_tested_mask_and_controls_share_the_same_draws() -> None:
    """On a picture of one grey every noisy pixel is 0.5 + scale * z, with the picture's own z."""
    pixels = np.full((64, 64, 3), 128, dtype=np.uint8)
    pixels[8:24, 8:24], pixels[40:56, 36:52] = RED, GREEN
    item = Sample(0, "hen/0.png", 0, world.png(pixels))
    clean, _, area, energy, *_ = shown(item, {"sigmas": [0.125], "draws": 1})
    draws = draws_of_sample(0, "hen/0.png", (3, 64, 64))
    grey = np.abs(clean - 128 / 255).max(axis=0) < 1e-6
    for control in (area, energy):
        change = (control - clean)[:, grey]
        own = np.abs(change) > 1e-4
        assert own.sum() > 500
        assert np.array_equal(np.sign(change[own]), np.sign(draws[:, grey][own]))


def test_controls_of_the_same_energy_have_it_and_those_of_the_same_area_have_not_quite() -> None:
    found = measure(NAME, Recorder(), world.samples(6, 6))
    tested = found.rows(f"{NAME}/spurious")
    ratios = {
        control: np.array(
            [c["energy"] / t["energy"] for c, t in zip(found.rows(f"{NAME}/spurious_{control}"), tested, strict=True)]
        )
        for control in ("area", "energy")
    }
    assert len(tested) == 6 * 3 * 2
    assert np.abs(ratios["energy"] - 1).max() <= TOLERANCE
    assert np.median(ratios["area"]) > 1.05  # grey clips less than pure green


def test_draws_differ_and_a_picture_is_counted_once() -> None:
    found = measure(NAME, Recorder(), world.samples(20, 0), {"sigmas": [0.25], "draws": 3})
    own = found.rows(f"{NAME}/spurious")
    assert [row["part"] for row in own[:3]] == ["0.25/0", "0.25/1", "0.25/2"]
    assert len({row["energy"] for row in own[:3]}) == 3
    assert found.figure("core_accuracy", part="0.25").n == 20


def test_batches_and_shards_change_nothing() -> None:
    check_that_batches_change_nothing(NAME, {"sigmas": [0.2, 0.4], "draws": 2}, world.samples(7, 4))


def test_strengths_are_in_order_each_once_and_within_reach() -> None:
    found = measure(NAME, Recorder(), world.samples(2, 0), {"sigmas": [0.5, 0.25, 0.5], "draws": 1})
    (curve,) = (series for series in found.section.series if series.name == "rcs")
    assert [point.x for point in curve.points] == [0.25, 0.5]
    assert refused(NAME, {"sigmas": [0.0, 0.5]}) == (
        "measurements.noise-sweep.sigmas",
        "a sigma of 0 is not above 0 and at most 2",
    )
    assert refused(NAME, {"draws": 0})[0] == "measurements.noise-sweep.draws"
