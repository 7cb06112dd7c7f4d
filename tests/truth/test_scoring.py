"""Precision, recall and agreement of labels, on cases counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from models.bank import Kind, Label
from models.planted.rendering import render
from models.planted.scenes import Scene
from tests.truth.exact import Verdict, verdict
from tests.truth.scoring import Mean, Row, core_share, figures, second_round, truth

OBJECT, OTHER, GROUND = "main_object", "separate_object", "background"


def row(answer: str, panel: list[Verdict], top: list[Verdict], rank: int = 1, validated: bool = True) -> Row:
    """A row whose label is that of its one answer."""
    label: Label = "core" if answer == OBJECT else "spurious"
    kind: Kind = answer  # type: ignore[assignment]
    return Row("kite", 7, rank, kind, 5, "seen", label, kind, validated, {"overlap": panel}, {"overlap": top})  # type: ignore[arg-type]


ROWS = [
    row(OBJECT, [OBJECT] * 5, [OBJECT] * 10),  # right, holds
    row(OTHER, [OTHER] * 5, [OTHER] * 8 + [OBJECT] * 2),  # right, holds on 8 of 10
    row(OTHER, [GROUND] * 5, [OBJECT] * 6 + [GROUND] * 4, validated=False),  # right but for the place; 4 of 10
    row(OBJECT, [GROUND] * 3 + [OBJECT] * 2, [GROUND] * 10),  # wrong
]


def test_precision_and_recall_are_as_counted_by_hand() -> None:
    found = figures(ROWS, "overlap", 5)
    counts = {
        label: (found.precision[label].count, found.precision[label].total, found.recall[label].count,
                found.recall[label].total)
        for label in ("spurious", "core")
    }  # fmt: skip
    assert counts == {"spurious": (2, 2, 2, 3), "core": (1, 2, 1, 1)}
    assert (found.places.count, found.places.total) == (2, 4)


def test_labels_are_held_against_every_picture_of_the_top_fifth() -> None:
    annotator, masks, all_core, shuffled = figures(ROWS, "overlap", 5).holding
    assert (annotator.rows.count, masks.rows.count, all_core.rows.count, shuffled.rows.count) == (2, 3, 2, 2)
    assert isinstance(annotator.pictures, Mean)
    assert annotator.pictures.value == pytest.approx((1 + 0.8 + 0.4 + 0) / 4)
    assert annotator.pictures.interval.low < 0.3 < 0.8 < annotator.pictures.interval.high
    assert isinstance(all_core.pictures, Mean)
    assert all_core.pictures.value == pytest.approx((1 + 0.2 + 0.6 + 0) / 4)
    assert shuffled.pictures == pytest.approx(0.5)  # half of the rows were labelled core


def test_only_the_first_features_count_and_the_second_round_is_compared() -> None:
    later = row(OBJECT, [GROUND] * 5, [GROUND] * 5, rank=6)
    assert figures([*ROWS, later], "overlap", 5).places.total == 4
    assert figures([*ROWS, later], "overlap", 16).places.total == 5
    shares = second_round(ROWS, "overlap")
    assert [(one.count, one.total) for one in shares.values()] == [(2, 3), (0, 1)]


def test_silent_pictures_count_for_nothing_and_ties_are_core() -> None:
    assert truth([None, GROUND, OTHER, None]) == ("spurious", "ambiguous")
    assert truth([OBJECT, GROUND]) == ("core", "main_object")
    assert core_share([None, OBJECT, OBJECT, GROUND]) == pytest.approx(2 / 3)


def test_the_two_rules_differ_where_a_mask_covers_an_object_and_much_ground() -> None:
    kite = render(Scene("kite", 5, 1, "sand", "badge"))
    mask = 0.3 * np.ones((96, 96)) + 0.7 * kite.object_mask
    assert verdict("overlap", mask, kite, "kite") == OBJECT
    assert verdict("mass", mask, kite, "kite") == GROUND
    assert verdict("overlap", mask, kite, "fish") == OTHER, "a kite is not the object of the class fish"
    assert verdict("mass", np.zeros((96, 96)), kite, "kite") is None
