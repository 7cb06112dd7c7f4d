"""The measurement of a classifier's own head, in the world of coloured squares, where every answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from jobs.audit import audit_shard
from jobs.audit_subjects import Own, Subjects, scope_of
from jobs.measurements import own_head as measured
from jobs.sections import Entry, Section
from models.classifiers.linear_head import LinearHead
from tests.jobs import world

REQUEST = world.REQUEST.model_copy(update={"measurements": {"own-head": {"features": 2}}})
COLOURS = (world.RED, world.GREEN, world.BLUE)
CUE = LinearHead(np.array([[1.0, 9, 0], [0, 0, 5]], np.float32) * 100, np.zeros(2, np.float32))
"""Hens: mostly the green cue, a little red."""


def look(batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pixels = torch.from_numpy(batch)
    features = torch.stack([world.colour_share(pixels, one, 0.1).mean(dim=(1, 2)) for one in COLOURS], dim=1).numpy()
    return CUE.scores(features), features


def subjects(own: Own | str) -> Subjects:
    made = world.subjects(lambda batch: look(batch)[0], dataset=ITEMS)
    return replace(made, own=own)


ITEMS = world.samples(60, 4, cue=lambda i: i % 3 != 0)


def section(own: Own | str, cut: int, step: int = 1) -> Section:
    """Of all pictures in two shards, `cut` of them in the first, at every `step`-th row of a data set."""
    made = subjects(own)
    items = [item._replace(row=step * item.row) for item in ITEMS]
    parts = [items[:cut], items[cut:]]
    tables = [audit_shard(part, made, REQUEST, 10**6, lambda done: None) for part in parts]
    scope = scope_of(made.bank, made.classes, made.pictures, REQUEST.seed)
    tally = measured.MEASUREMENT.tally(scope, measured.OwnHeadParameters(features=2))
    for table in tables:
        tally.add(table)
    while tally.again():
        for table in tables:
            tally.add(table)
    return tally.section()


def entry(found: Section, metric: str, **wanted: object) -> Entry:
    return next(
        one for one in found.entries if one.metric == metric and all(getattr(one, k) == v for k, v in wanted.items())
    )


def test_the_own_feature_that_sees_the_cue_carries_its_evidence() -> None:
    found = section(Own(look, CUE), cut=30)
    assert found.withheld is None
    carrier = entry(found, "loading", of="hen", feature=1, part="own feature 1")
    assert abs(carrier.figure.value or 0) == pytest.approx(1, abs=0.01)
    share = entry(found, "cue_share", of="hen", feature=1)
    assert share.figure.value == pytest.approx(1, abs=0.05), "nothing but the cue makes hens' scores differ"
    assert share.figure.n == 60
    shown = entry(found, "cue_evidence", of="hen", feature=1)
    cue = 900 * 16 * 16 / 64**2  # in the score, where it shows; about a third of either half lacks it
    assert shown.figure.value == pytest.approx(cue / 3, rel=0.15)
    assert shown.figure.n == 40
    assert not found.flagged


def test_a_class_at_every_other_row_is_cut_in_halves_all_the_same() -> None:
    share = entry(section(Own(look, CUE), cut=30, step=2), "cue_share", of="hen", feature=1)
    assert share.figure.n == 60
    assert share.figure.value == pytest.approx(1, abs=0.05)


def test_neither_shards_nor_their_cuts_matter() -> None:
    first, second = (section(Own(look, CUE), cut) for cut in (17, 41))
    for own, other in zip(first.entries, second.entries, strict=True):
        assert own.figure.value == pytest.approx(other.figure.value, abs=1e-6)


def test_without_a_linear_head_the_section_says_why() -> None:
    found = section("the classifier has no linear head: its graph ends in Softmax", cut=30)
    assert found.entries == ()
    assert found.withheld is not None
    assert "Softmax" in found.withheld
