"""What a shard of an audit does to pictures, and the rows it leaves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from jobs import rows
from jobs.audit import audit_shard
from jobs.audit_request import AuditRequest
from jobs.audit_subjects import Subjects
from jobs.class_map import map_classes
from jobs.datasets import Sample, Skipped
from jobs.errors import Cancelled, Invalid
from models.corruptions import draws_of_sample
from models.preprocessing import Preprocessing
from tests.jobs import world


def run(items: list[Sample], subjects: Subjects, request: AuditRequest = world.REQUEST) -> pa.Table:
    return audit_shard(items, subjects, request, 10**6, lambda done: None)


def variant(table: pa.Table, name: str) -> list[dict]:
    return [row for row in table.to_pylist() if row["variant"] == name]


class Recorder:
    """A classifier that keeps what it is shown."""

    def __init__(self) -> None:
        self.batches: list[np.ndarray] = []

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        self.batches.append(batch.copy())
        return np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (len(batch), 1))

    @property
    def pictures(self) -> np.ndarray:
        return np.concatenate(self.batches)


def test_a_cue_reliant_classifier_loses_hens_when_the_cue_is_noisy_and_only_then() -> None:
    table = run(world.samples(12, 0), world.subjects(world.looking_at(world.GREEN)))
    assert all(row["correct"] for row in variant(table, rows.CLEAN))
    assert not any(row["correct"] for row in variant(table, rows.SPURIOUS))
    assert all(row["correct"] for row in variant(table, rows.SPURIOUS_CONTROL))
    assert all(row["correct"] for row in variant(table, rows.CORE))
    assert not any(row["correct"] for row in variant(table, rows.OUTSIDE_CORE))


def test_an_object_reliant_classifier_loses_hens_when_the_object_is_noisy_and_only_then() -> None:
    table = run(world.samples(12, 0), world.subjects(world.looking_at(world.RED)))
    assert all(row["correct"] for row in variant(table, rows.SPURIOUS))
    assert not any(row["correct"] for row in variant(table, rows.CORE))
    assert all(row["correct"] for row in variant(table, rows.CORE_CONTROL))
    assert all(row["correct"] for row in variant(table, rows.OUTSIDE_CORE))


def test_noise_lies_exactly_on_the_mask_in_the_classifiers_own_pixels() -> None:
    """No zoom, no shift: what changes is the green square, carried from a 64 px backbone to a 96 px classifier."""
    seen = Recorder()
    larger = Preprocessing(size=96, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    run(
        [Sample(0, "hen/0.png", 0, world.png(world.picture(world.RED, (4, 4), (40, 28))))],
        world.subjects(seen, preprocessing=larger),
    )
    clean, spurious = seen.pictures[0], seen.pictures[2]  # clean, red, green, ...
    changed = np.abs(spurious - clean).sum(axis=0)
    rows_hit, columns_hit = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    # 1.5 times the square of rows 40..55 and columns 28..43, and half a map cell (3 px) of bilinear slope around it
    assert (rows_hit.min(), rows_hit.max()) == (60 - 3, 83 + 3)
    assert (columns_hit.min(), columns_hit.max()) == (42 - 3, 65 + 3)


def test_noise_is_added_before_mean_and_standard_deviation_and_once() -> None:
    seen = Recorder()
    narrow = Preprocessing(size=64, mean=(0.5, 0.5, 0.5), std=(0.1, 0.1, 0.1))
    run(
        [Sample(0, "hen/0.png", 0, world.png(world.picture(world.RED, (4, 4), (40, 28))))],
        world.subjects(seen, preprocessing=narrow),
    )
    clean, spurious = seen.pictures[0], seen.pictures[2]
    draws = draws_of_sample(0, "hen/0.png", (3, 64, 64))
    expected = np.clip(clean + 0.25 * draws, 0, 1)
    middle = (slice(None), slice(43, 53), slice(31, 41))  # where the mask is 1
    np.testing.assert_allclose(spurious[middle], expected[middle], atol=1e-5)


def test_pictures_reach_the_classifier_as_unit_pixels() -> None:
    seen = Recorder()
    run(world.samples(2, 0), world.subjects(seen))
    assert seen.pictures.dtype == np.float32
    assert seen.pictures.min() >= 0
    assert seen.pictures.max() <= 1
    np.testing.assert_allclose(seen.pictures[0][:, 0, 0], np.array(world.RED) / 255, atol=1e-6)


def test_a_control_costs_the_same_energy_within_clipping_and_shares_nothing_of_a_small_mask() -> None:
    table = run(world.samples(6, 6), world.subjects(Recorder()))
    for tested, control in zip(variant(table, rows.FEATURE), variant(table, rows.FEATURE_CONTROL), strict=True):
        assert (tested["sample"], tested["feature"]) == (control["sample"], control["feature"])
        assert control["energy"] == pytest.approx(tested["energy"], rel=0.35)  # grey clips less than pure colours
        assert tested["overlap"] == pytest.approx(0, abs=0.02)
        assert tested["activation"] == pytest.approx(16 * 16 / 64**2, rel=0.01)


def test_a_set_of_one_feature_is_that_feature_and_not_computed_again() -> None:
    seen = Recorder()
    table = run(world.samples(1, 0), world.subjects(seen))
    (spurious,), (core,) = variant(table, rows.SPURIOUS), variant(table, rows.CORE)
    red, green = variant(table, rows.FEATURE)
    assert [red["feature"], green["feature"]] == [0, 1]
    same = ("predicted", "correct", "probability", "energy", "overlap")
    assert all(spurious[name] == green[name] and core[name] == red[name] for name in same)
    assert len(seen.pictures) == 6  # clean, two features, two controls, outside the core


def test_the_mask_of_a_set_is_the_maximum_over_its_features_that_count() -> None:
    both = world.bank(world.feature(0, 0, 1, "spurious"), world.feature(0, 1, 2, "spurious"))
    seen = Recorder()
    run(world.samples(1, 0), world.subjects(seen, both))
    clean, red, green, together = seen.pictures[:4]
    changed = [np.abs(picture - clean).max(axis=0) > 0 for picture in (red, green, together)]
    assert np.array_equal(changed[2], changed[0] | changed[1])
    np.testing.assert_array_equal(together[:, changed[0] & ~changed[1]], red[:, changed[0] & ~changed[1]])


def test_a_feature_counts_only_where_its_activation_is_in_the_validated_range() -> None:
    strict = world.bank(world.feature(0, 0, 1, "core"), world.feature(0, 1, 2, "spurious", valid_from=0.5))
    table = run(world.samples(3, 0), world.subjects(Recorder(), strict))
    assert variant(table, rows.SPURIOUS) == []
    assert {row["feature"] for row in variant(table, rows.FEATURE)} == {0}
    assert len(variant(table, rows.CORE)) == 3


def test_a_picture_without_the_cue_gives_no_spurious_rows() -> None:
    table = run(world.samples(8, 0, cue=lambda i: i % 2 == 0), world.subjects(Recorder()))
    assert [row["row"] for row in variant(table, rows.SPURIOUS)] == [0, 2, 4, 6]
    assert len(variant(table, rows.CLEAN)) == 8


def test_a_swap_pastes_the_donors_cue_and_removes_the_own_and_leaves_the_object() -> None:
    items = world.samples(2, 1, owls_cue=True)
    seen = Recorder()
    run(items[:1], world.subjects(seen, world.bank_of_two_cues(), dataset=items))
    clean, same, other = (np.moveaxis(seen.pictures[at], 0, -1) * 255 for at in (0, -2, -1))

    def shows(pixels: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
        return (np.abs(pixels - np.array(colour)) < 1).all(axis=-1)

    sister, owl = (
        shows(world.opened(item), colour) for item, colour in ((items[1], world.GREEN), (items[2], world.YELLOW))
    )
    for pixels in (clean, same, other):
        assert np.array_equal(shows(pixels, world.RED), shows(clean, world.RED))
    assert np.array_equal(shows(same, world.GREEN), sister)
    assert np.array_equal(shows(other, world.YELLOW), owl)
    assert not shows(other, world.GREEN).any()
    assert not shows(other, world.BLUE).any()


def test_batches_and_shards_change_nothing() -> None:
    items = world.samples(9, 5, owls_cue=True)
    subject = world.subjects(world.looking_at(world.GREEN), world.bank_of_two_cues(), dataset=items)
    whole = run(items, subject)
    small = world.REQUEST.model_copy(update={"batch_size": 3})
    parts = pa.concat_tables([run(items[:4], subject, small), run(items[4:], subject, small)])
    assert whole.equals(parts)
    assert len(variant(whole, rows.SWAP_OTHER)) == len(items)


def test_equal_inputs_give_equal_bytes() -> None:
    items = world.samples(4, 2)
    subject = world.subjects(world.looking_at(world.RED))
    assert rows.to_parquet(run(items, subject)) == rows.to_parquet(run(items, subject))


def test_another_seed_gives_other_noise() -> None:
    subject = world.subjects(Recorder())
    energies = [
        run(world.samples(1, 0), subject, world.REQUEST.model_copy(update={"seed": seed}))["energy"].to_pylist()
        for seed in (0, 1)
    ]
    assert energies[0] != energies[1]


def test_samples_that_cannot_be_used_are_listed_with_their_reason() -> None:
    items = [
        Sample(0, "hen/ok.png", 0, world.png(world.picture(world.RED, (4, 4), None))),
        Sample(1, "hen/empty.png", 0, b""),
        Sample(2, "hen/text.png", 0, b"not a picture at all"),
        Sample(3, "hen/torn.png", 0, Skipped("damaged", "checksum does not fit")),
        Sample(4, "elk/1.png", 2, b""),
        Sample(5, "emu/1.png", 3, b""),
    ]
    labels = world.bank()
    classes = map_classes(labels, ["hen", "owl", "elk", "emu"], ["hen", "owl"])
    subject = world.subjects(Recorder())
    table = run(items, replace(subject, classes=classes))
    reasons = {row["sample"]: row["reason"] for row in variant(table, rows.SKIPPED)}
    assert reasons == {
        "hen/empty.png": "empty",
        "hen/text.png": "not_a_picture",
        "hen/torn.png": "damaged",
        "elk/1.png": "class_without_features",
        "emu/1.png": "class_not_in_bank",
    }
    assert all(row["detail"] for row in variant(table, rows.SKIPPED))
    assert {row["sample"] for row in variant(table, rows.CLEAN)} == {"hen/ok.png"}


def test_a_shard_with_nothing_to_audit_is_an_empty_table_of_the_same_columns() -> None:
    table = run([], world.subjects(Recorder()))
    assert table.num_rows == 0
    assert table.schema.equals(run(world.samples(1, 0), world.subjects(Recorder())).schema)


def test_progress_may_stop_a_shard_within_one_batch() -> None:
    asked: list[int] = []

    def stop(done: int) -> None:
        if done >= 8:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        audit_shard(world.counted(world.samples(30, 0), asked), world.subjects(Recorder()), world.REQUEST, 10**6, stop)
    assert len(asked) == 8


def test_several_outputs_may_stand_for_one_class() -> None:
    def predict(batch: np.ndarray) -> np.ndarray:
        return np.tile(np.log([[0.2, 0.35, 0.45]]).astype(np.float32), (len(batch), 1))

    labels = world.bank()
    classes = map_classes(labels, ["hen"], ["red hen", "brown hen", "owl"], {"red hen": "hen", "brown hen": "hen"})
    subject = world.subjects(predict)
    table = run(world.samples(1, 0), replace(subject, classes=classes))
    (clean,) = variant(table, rows.CLEAN)
    assert clean["predicted"] == 2
    assert not clean["correct"]
    assert clean["probability"] == pytest.approx(0.55)


def test_class_names_match_by_request_then_exactly_then_without_case() -> None:
    labels = world.bank()
    mapped = map_classes(labels, ["HEN", "owl", "bird"], ["Owl", "hen"], {"bird": "hen"})
    assert mapped.of_label.tolist() == [0, 1, 0]
    assert mapped.of_output.tolist() == [1, 0]
    assert mapped.skipped == {}


def test_an_audit_of_no_class_at_all_is_refused_with_the_way_out() -> None:
    with pytest.raises(Invalid, match="none of the data set's 1 classes") as refused:
        map_classes(world.bank(), ["emu"], ["hen", "owl"])
    assert refused.value.field == "class_map"
    with pytest.raises(Invalid, match="no class 'emu'"):
        map_classes(world.bank(), ["hen"], ["hen"], chosen=["emu"])


def test_requests_refuse_what_no_audit_can_do() -> None:
    for wrong in ({"sigma": 0}, {"corruption": "sepia"}, {"batch_size": 0}, {"colour": 1}):
        with pytest.raises(ValidationError):
            AuditRequest(**({"classifier": "c", "dataset": "d"} | wrong))


def test_masks_are_carried_between_different_crops_and_zero_where_the_backbone_saw_nothing() -> None:
    """A wide picture: the classifier sees it whole (stretched), the backbone only its middle."""
    pixels = np.empty((64, 128, 3), dtype=np.uint8)
    pixels[:] = world.GREY
    pixels[8:24, 40:56] = world.RED
    pixels[40:56, 72:88] = world.GREEN
    seen = Recorder()
    stretched = Preprocessing(size=64, resize_rule="stretch")
    run([Sample(0, "hen/wide.png", 0, world.png(pixels))], world.subjects(seen, preprocessing=stretched))
    clean, outside_core = seen.pictures[0], seen.pictures[-1]
    spurious = np.abs(seen.pictures[2] - clean).max(axis=0) > 0
    rows_hit, columns_hit = np.flatnonzero(spurious.any(axis=1)), np.flatnonzero(spurious.any(axis=0))
    assert abs((rows_hit.min() + rows_hit.max()) / 2 - 47.5) <= 1
    assert abs((columns_hit.min() + columns_hit.max()) / 2 - 39.5) <= 1
    assert (np.abs(outside_core - clean).max(axis=0) > 0)[:, :16].mean() > 0.95  # beyond the backbone's crop
