"""Failure modes of an audited classifier, and leaks from class to class, in a world of coloured squares."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from jobs.audit import audit_shard
from jobs.audit_request import AuditRequest
from jobs.audit_subjects import scope_of
from jobs.datasets import Sample
from jobs.measurements import measurements
from jobs.sections import Section
from models.bank import Bank
from tests.jobs import world


def section(name: str, items: list[Sample], predict: object, bank: Bank, **asked: object) -> tuple[Section, pa.Table]:
    subjects = world.subjects(predict, bank, dataset=items)
    request = AuditRequest(classifier="c", dataset="d", bank="world", batch_size=8, measurements={name: asked})
    table = audit_shard(items, subjects, request, 10**6, lambda done: None)
    tally = measurements()[name].tally(scope_of(bank, subjects.classes, subjects.pictures, 0), request.chosen()[0][1])
    tally.add(table)
    while tally.again():
        tally.add(table)
    return tally.section(), table


def pictures(cued: np.ndarray, label: int = 0) -> list[Sample]:
    """Red squares, some with a green one."""
    shapes = [world.picture(world.RED, (4, 4), (40, 28) if own else None) for own in cued]
    return [Sample(i, f"hen/{i}.png", label, world.png(shape)) for i, shape in enumerate(shapes)]


def test_the_cue_is_found_to_tell_where_a_cue_reliant_classifier_fails() -> None:
    cued = np.arange(60) % 3 > 0
    found, _ = section("failure-modes", pictures(cued), world.looking_at(world.GREEN), world.bank())
    assert found.flagged == ("hen",)
    mode = next(entry for entry in found.entries if entry.metric == "mode_error_rate")
    assert (mode.feature, mode.figure.value) == (1, 1)  # green, and every picture without it fails
    assert "up to" in mode.part
    assert "labelled spurious" in found.answer


def test_among_the_pictures_said_to_be_a_class_what_it_lacks_tells_the_wrong_ones() -> None:
    """The classifier takes what is green for a hen: of those, the pictures without red are owls."""
    hens = pictures(np.ones(40, dtype=bool))
    shapes = [world.picture(world.BLUE, (4, 4), (40, 28) if i % 2 else None) for i in range(40)]
    owls = [Sample(40 + i, f"owl/{i}.png", 1, world.png(shape)) for i, shape in enumerate(shapes)]
    found, _ = section("failure-modes", hens + owls, world.looking_at(world.GREEN), world.bank(), group="predicted")
    assert found.flagged == ("hen",)
    of_hens = {entry.metric: entry for entry in found.entries if entry.of == "hen"}
    assert of_hens["error_rate"].figure.value == 20 / 60
    assert "of the pictures said to be hen that were drawn" in of_hens["error_rate"].figure.reading.lower()
    mode = of_hens["mode_error_rate"]
    assert (mode.feature, mode.figure.value) == (0, 1)  # red, and every picture without it is an owl
    assert "of the pictures said to be hen are of another class" in mode.figure.reading
    assert "up to" in mode.part


def test_failures_that_nothing_tells_are_no_mode() -> None:
    """The classifier errs by the picture's place in the data set, which no feature shows."""
    generator = np.random.default_rng(0)
    flagged = 0
    for _ in range(5):
        right = generator.random(60) < 0.7
        answers = iter(right.tolist())

        def predict(batch: np.ndarray, answers=answers) -> np.ndarray:
            return np.array([[1.0, 0.0] if next(answers) else [0.0, 1.0] for _ in batch], dtype=np.float32)

        found, _ = section("failure-modes", pictures(generator.random(60) < 0.5), predict, world.bank())
        flagged += len(found.flagged)
    assert flagged <= 1


def test_only_the_pictures_drawn_keep_their_features() -> None:
    cued = np.arange(150) % 2 > 0
    _, table = section("failure-modes", pictures(cued), world.looking_at(world.GREEN), world.bank(), pictures=100)
    kept = sum(value is not None and len(value) > 0 for value in table["phi"].to_pylist())
    assert 70 < kept < 130


def test_a_cue_that_is_core_elsewhere_draws_pictures_to_that_class() -> None:
    """Green is spurious for hens and core for owls here; the classifier takes whatever is green for an owl."""
    bank = world.bank(
        world.feature(0, 0, 1, "core"), world.feature(0, 1, 2, "spurious"), world.feature(1, 1, 1, "core")
    )
    cued = np.arange(60) % 3 == 0

    def predict(batch: np.ndarray) -> np.ndarray:
        return world.looking_at(world.GREEN)(batch)[:, ::-1].copy()

    found, _ = section("class-leaks", pictures(cued), predict, bank)
    leak = next(entry for entry in found.entries if entry.metric == "leak")
    gap = next(entry for entry in found.entries if entry.metric == "feature_gap")
    assert (leak.of, leak.feature, leak.part, leak.flagged) == ("hen", 1, "owl", True)
    assert leak.figure.value == 1
    assert gap.figure.value == -1
    assert "explain" in found.answer


def test_without_a_shared_feature_there_is_no_leak_to_look_for() -> None:
    found, _ = section("class-leaks", pictures(np.ones(4, dtype=bool)), world.looking_at(world.GREEN), world.bank())
    assert found.withheld
    assert not found.entries
