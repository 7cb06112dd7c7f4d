"""How core and spurious features share pictures, and what the cue costs without what it shares with the object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from jobs import rows
from jobs.audit import Subjects
from jobs.classification import Predict
from jobs.datasets import Sample
from models.backbone import Backbone
from models.partition import PARTS
from tests.jobs import world
from tests.jobs.measuring import Recorder, check_that_batches_change_nothing, measure
from tests.jobs.world import GREEN, RED

DIFFERENCE, WHOLE = "spurious_only_region_control_difference", "whole_spurious_region_control_difference"
SQUARE = 16 * 16 / 64**2


def test_the_shares_of_squares_that_lie_apart() -> None:
    found = measure("overlap", world.looking_at(GREEN), world.samples(24, 4))
    shares = {part: found.value(part) for part in PARTS}
    expected = {"core_only": SQUARE, "spurious_only": SQUARE, "both": 0, "neither": 1 - 2 * SQUARE}
    assert shares == pytest.approx(expected, abs=0.002)
    assert found.figure("both").n == 24
    noted = [row["core_only"] for row in found.rows(rows.CLEAN)]
    assert noted[24:] == [None] * 4  # owls have no cue
    assert not any(row["core_only"] for row in found.table.to_pylist() if row["variant"] != rows.CLEAN)


def test_a_cue_reliant_classifier_is_flagged_for_the_cue_alone_and_an_object_reliant_one_is_not() -> None:
    found = measure("overlap", world.looking_at(GREEN), world.samples(24, 3), beside=["region-noise"])
    assert (found.value(DIFFERENCE), found.entry(DIFFERENCE).flagged) == (1.0, True)
    assert found.value(WHOLE) == 1
    other = measure("overlap", world.looking_at(RED), world.samples(24, 3))
    assert (other.value(DIFFERENCE), other.section.flagged) == (0, ())


def seeing_cues_on_objects(predict: Predict, items: Sequence[Sample], cue_too: bool = True) -> Subjects:
    """The backbone's feature of the cue answers to the object as well, or to the object alone."""

    def trunk(pictures: Tensor) -> Tensor:
        red, green, *rest = (world.colour_share(pictures.float() / 255, colour, 0.1) for colour in world.COLOURS)
        return functional.adaptive_avg_pool2d(
            torch.stack([red, red + green if cue_too else red, *rest], dim=1), world.CELLS
        )

    own = world.backbone()
    backbone = Backbone(
        architecture="world",
        preprocessing=world.PREPROCESSING,
        weight=own.weight,
        bias=own.bias,
        trunk=trunk,
        precision="fp32",
        runtime="torch",
        provider="torch-cpu",
        weights_digest="0" * 64,
    )
    return replace(world.subjects(predict, dataset=items), backbone=backbone)


def test_what_a_spurious_mask_costs_by_covering_the_object_goes_with_the_overlap() -> None:
    """The classifier looks at the object alone, which the spurious mask covers too."""
    items = world.samples(24, 0)
    subject = seeing_cues_on_objects(world.looking_at(RED), items)
    found = measure("overlap", None, items, beside=["region-noise"], subjects=subject)
    assert found.value("both") == pytest.approx(SQUARE, abs=0.002)
    assert found.value("spurious_only") == pytest.approx(SQUARE, abs=0.002)
    assert found.value(WHOLE) == 1  # the whole mask hides the object
    assert found.value(DIFFERENCE) == 0  # without the overlap nothing of it remains
    assert found.section.flagged == ()


def test_noise_falls_on_the_cue_and_not_on_what_it_shares_with_the_object() -> None:
    seen = Recorder()
    (item,) = world.samples(1, 0)
    measure("overlap", None, [item], subjects=seeing_cues_on_objects(seen, [item]))
    clean, alone = seen.shown[:2]
    pixels = world.opened(item)
    hit = np.abs(alone - clean).max(axis=0) > 1e-4
    assert hit[(pixels == GREEN).all(axis=-1)].mean() > 0.99
    rows_hit, columns_hit = np.nonzero((pixels == RED).all(axis=-1))
    inside = (slice(rows_hit.min() + 2, rows_hit.max() - 1), slice(columns_hit.min() + 2, columns_hit.max() - 1))
    assert not hit[inside].any()  # within the soft edge


def test_where_the_object_covers_the_cue_there_is_nothing_to_show() -> None:
    items = world.samples(3, 0)
    found = measure("overlap", None, items, subjects=seeing_cues_on_objects(Recorder(), items, cue_too=False))
    assert found.rows("overlap/spurious_only") == []
    assert found.figure(DIFFERENCE).n == 0


def test_the_comparison_needs_the_noise_on_the_whole_mask() -> None:
    found = measure("overlap", world.looking_at(GREEN), world.samples(20, 0))
    assert WHOLE not in {entry.metric for entry in found.section.entries}


def test_batches_and_shards_change_nothing() -> None:
    check_that_batches_change_nothing("overlap", {}, world.samples(9, 4))
