"""From rows to counts to findings."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from jobs import rows
from jobs.audit import audit_shard
from jobs.counts import WORST, Counts
from jobs.figures import MINIMUM_PICTURES
from jobs.findings import ClassFindings, Findings
from jobs.reduction import find
from jobs.unmeasured import explained
from models.statistics import rcs
from tests.jobs import world

BANK = world.bank()


def audited(hens: int, colour: tuple[int, int, int]) -> pa.Table:
    subjects = world.subjects(world.looking_at(colour), BANK)
    return audit_shard(world.samples(hens, hens // 2), subjects, world.REQUEST, 10**6, lambda done: None)


def hens_and_owls(findings: Findings) -> tuple[ClassFindings, ClassFindings]:
    hen, owl = findings.classes
    assert (hen.name, owl.name) == ("hen", "owl")
    return hen, owl


def shard(first: int, hens: int, clean: float, control: float, tested: float, seed: int = 0) -> pa.Table:
    """Rows of hens whose outcomes are coins with these chances of being right, independent of one another."""
    generator = np.random.default_rng([seed, first])
    names = (rows.CLEAN, rows.SPURIOUS, rows.SPURIOUS_CONTROL, rows.CORE, rows.CORE_CONTROL, rows.OUTSIDE_CORE)
    chances = (clean, tested, control, 0.3, 0.6, 0.7)
    features = [
        (rows.FEATURE, 0, 0.3),
        (rows.FEATURE_CONTROL, 0, 0.6),
        (rows.FEATURE, 1, tested),
        (rows.FEATURE_CONTROL, 1, control),
    ]
    variants = [*names, *(name for name, _, _ in features)]
    chance = np.array([*chances, *(c for _, _, c in features)])
    right = generator.random((hens, len(variants))) < chance
    row = np.repeat(np.arange(first, first + hens), len(variants))
    feature = np.ma.array(np.tile([0] * 7 + [0, 1, 1], hens), mask=np.tile([True] * 6 + [False] * 4, hens))
    return rows.rows(
        {
            "sample": np.array([f"hen/{r}.png" for r in row], dtype=object),
            "row": row,
            "class": np.zeros(row.size, dtype=np.int32),
            "variant": np.array(variants * hens, dtype=object),
            "feature": feature,
            "predicted": (~right).astype(np.int32).ravel(),
            "correct": right.ravel(),
            "probability": np.where(right, 0.9, 0.1).ravel(),
            "log_odds": np.where(right, 2.0, -2.0).ravel(),
            "energy": np.tile(np.arange(len(variants), dtype=float), hens),
            "overlap": np.full(row.size, 0.1),
            "activation": np.full(row.size, 0.5),
        }
    )


def test_figures_are_those_of_the_rows() -> None:
    table = shard(0, 500, 0.9, 0.8, 0.5)
    (hen,) = find(Counts.of(BANK, [table]), BANK, seed=0).classes
    frame = table.to_pylist()

    def accuracy(variant: str, feature: int | None = None) -> float:
        picked = [r["correct"] for r in frame if r["variant"] == variant and r["feature"] == feature]
        return sum(picked) / len(picked)

    assert hen.clean_accuracy.value == pytest.approx(accuracy(rows.CLEAN))
    assert hen.core_accuracy.value == pytest.approx(accuracy(rows.SPURIOUS))
    assert hen.spurious_accuracy.value == pytest.approx(accuracy(rows.CORE))
    assert hen.spurious_drop.value == pytest.approx(accuracy(rows.CLEAN) - accuracy(rows.SPURIOUS))
    assert hen.spurious_control_difference.value == pytest.approx(
        accuracy(rows.SPURIOUS_CONTROL) - accuracy(rows.SPURIOUS)
    )
    assert hen.rcs.value == pytest.approx(float(rcs(accuracy(rows.OUTSIDE_CORE), accuracy(rows.CORE))))
    # log-odds are 2 where right and -2 where wrong, so evidence is four times the difference in accuracy
    assert hen.spurious_evidence.value == pytest.approx(4 * hen.spurious_control_difference.value)
    assert hen.evidence_balance.value == pytest.approx(hen.spurious_evidence.value - hen.core_evidence.value)
    green = hen.features[1]
    assert green.sensitivity.value == pytest.approx(accuracy(rows.CLEAN) - accuracy(rows.FEATURE, 1))
    assert green.control_difference.value == pytest.approx(
        accuracy(rows.FEATURE_CONTROL, 1) - accuracy(rows.FEATURE, 1)
    )
    assert (green.energy, green.control_energy) == (pytest.approx(8), pytest.approx(9))
    assert hen.spurious_overlap == pytest.approx(0.1)
    assert all(
        figure.low <= figure.value <= figure.high and figure.n == 500
        for figure in (hen.clean_accuracy, hen.core_accuracy, hen.spurious_drop, hen.rcs, green.sensitivity)
    )


def test_shards_add_up_in_any_cut() -> None:
    tables = [shard(0, 40, 0.9, 0.8, 0.5), shard(40, 7, 0.9, 0.8, 0.5), shard(47, 60, 0.9, 0.8, 0.5)]
    whole = find(Counts.of(BANK, [pa.concat_tables(tables)]), BANK, seed=3)
    cut = find(Counts.of(BANK, tables), BANK, seed=3)
    assert cut == whole


def test_rows_may_come_back_from_parquet_and_in_any_order() -> None:
    table = shard(0, 50, 0.9, 0.8, 0.5)
    shuffled = table.take(np.random.default_rng(0).permutation(table.num_rows))
    assert find(Counts.of(BANK, [shuffled]), BANK, 0) == find(Counts.of(BANK, [table]), BANK, 0)


def test_equal_counts_and_seed_give_equal_findings_and_another_seed_other_intervals() -> None:
    counts = Counts.of(BANK, [shard(0, 60, 0.9, 0.8, 0.5)])
    assert find(counts, BANK, 1) == find(counts, BANK, 1)
    first, second = (find(counts, BANK, seed).classes[0].spurious_drop for seed in (1, 2))
    assert first.value == second.value
    assert first.low != second.low


def test_a_cue_reliant_classifier_is_flagged_and_an_object_reliant_one_is_not() -> None:
    reliant, _ = hens_and_owls(find(Counts.of(BANK, [audited(40, world.GREEN)]), BANK, 0))
    sound, owl = hens_and_owls(find(Counts.of(BANK, [audited(40, world.RED)]), BANK, 0))
    assert reliant.verdict == "relies"
    assert reliant.spurious_control_difference.value == 1
    assert reliant.rcs.value == -1
    assert reliant.evidence_balance.low > 0
    assert sound.verdict == "not_shown"
    assert sound.spurious_control_difference.value == 0
    assert sound.core_control_difference.value == 1
    assert sound.rcs.value == 1
    assert sound.evidence_balance.high < 0
    assert owl.verdict == "no_spurious_features"


def test_evidence_flags_a_class_whose_accuracy_is_perfect() -> None:
    """Noise that shakes confidence in the cue more than in the object counts, long before an answer flips."""
    table = shard(0, 60, 1.0, 1.0, 1.0)
    always = pa.array(np.ones(table.num_rows, dtype=bool))
    table = table.set_column(table.schema.get_field_index("correct"), "correct", always)
    at, variant = table.schema.get_field_index("log_odds"), np.array(table["variant"].to_pylist())
    generator = np.random.default_rng(0)

    def verdict(spurious: float, core: float) -> str:
        lost = np.select([variant == rows.SPURIOUS, variant == rows.CORE], [spurious, core], 0.0)
        log_odds = pa.array(3 - lost + generator.normal(0, 0.3, lost.size), type=pa.float32())
        (hen,) = find(Counts.of(BANK, [table.set_column(at, table.schema.field(at), log_odds)]), BANK, 0).classes
        return hen.verdict

    assert verdict(spurious=1.0, core=0.2) == "relies"
    assert verdict(spurious=0.5, core=1.0) == "not_shown"
    assert verdict(spurious=0.0, core=0.0) == "not_shown"


def test_swaps_tell_what_cues_cost_and_whom_they_draw() -> None:
    """Of the classifier that looks for the green cue all of it, of the one that looks at the red hen nothing."""
    bank, items = world.bank_of_two_cues(), world.samples(30, 25, owls_cue=True)
    found = {}
    for colour in (world.GREEN, world.RED):
        subjects = world.subjects(world.looking_at(colour), bank, dataset=items)
        table = audit_shard(items, subjects, world.REQUEST, 10**6, lambda done: None)
        findings = find(Counts.of(bank, [table]), bank, 0)
        hen, owl = hens_and_owls(findings)
        assert (hen.swap_gap.n, findings.overall.swap_gap.sample_mean.n) == (30, 55)
        assert (hen.swap_pull.n, owl.swap_pull.n) == (25, 30), "hens' features are given to owls, and owls' to hens"
        assert hen.swap_pull.value == owl.swap_pull.value == (1 if colour == world.GREEN else 0)
        same, other = (
            {r["row"]: r for r in table.to_pylist() if r["variant"] == name and r["class"] == 0}
            for name in (rows.SWAP_SAME, rows.SWAP_OTHER)
        )
        lost = [same[row]["log_odds"] - other[row]["log_odds"] for row in same]
        assert hen.swap_evidence.value == pytest.approx(np.mean(lost))
        found[colour] = hen
    cue, hen = found[world.GREEN], found[world.RED]
    assert (cue.swap_same_accuracy.value, cue.swap_other_accuracy.value, cue.swap_gap.value) == (1, 0, 1)
    assert (hen.swap_same_accuracy.value, hen.swap_other_accuracy.value, hen.swap_gap.value) == (1, 1, 0)
    assert hen.swap_evidence.value == pytest.approx(0, abs=1e-6)


def test_a_class_is_flagged_where_cues_of_another_decide_most_pictures() -> None:
    """Noise costs nothing; part of a donor's object, pasted with its cue, may cost some answers and flags nothing."""

    def found(lost: int, pictures: int) -> ClassFindings:
        table = shard(0, pictures, 1.0, 1.0, 1.0)
        frame = [r for r in table.to_pylist() if r["variant"] in (rows.CLEAN, rows.SPURIOUS_CONTROL)]
        swapped = [
            {**row, "variant": rows.SWAP_SAME if row["variant"] == rows.CLEAN else rows.SWAP_OTHER} for row in frame
        ]
        for row in swapped:
            row["correct"] = row["variant"] == rows.SWAP_SAME or row["row"] >= lost
        both = pa.concat_tables([table, pa.Table.from_pylist(swapped, schema=rows.SCHEMA)])
        (hen,) = find(Counts.of(BANK, [both]), BANK, 0).classes
        assert hen.swap_gap.value == pytest.approx(lost / pictures)
        return hen

    most = found(45, 60)
    assert most.verdict == "relies"
    assert "another class" in most.reading
    assert found(20, 60).verdict == "cannot_tell", "a third lost is no sign of soundness"
    assert found(32, 60).verdict == "cannot_tell", "hardly more than half may be chance"
    assert found(3, 60).verdict == "not_shown"


def test_a_class_is_flagged_whose_cues_draw_pictures_of_other_classes() -> None:
    """Its own pictures are right whatever they show; of owls that are given its cue some are taken for hens."""

    def found(taken: int, lost: int, given: int = 60) -> ClassFindings:
        hens = shard(0, 60, 1.0, 1.0, 1.0)
        (one,) = hens.slice(0, 1).to_pylist()
        owls = [
            {**one, "row": row, "sample": f"owl/{row}.png", "class": 1, "variant": variant, "lender": lender}
            for row in range(100, 100 + given)
            for variant, lender in ((rows.CLEAN, None), (rows.SWAP_SAME, 0), (rows.SWAP_OTHER, 0))
        ]
        for row in owls:
            place = row["row"] - 100
            row["as_lender"] = place < taken if row["variant"] == rows.SWAP_OTHER else given - place <= lost
        (hen, _) = find(
            Counts.of(BANK, [pa.concat_tables([hens, pa.Table.from_pylist(owls, schema=rows.SCHEMA)])]), BANK, 0
        ).classes
        assert hen.swap_pull.n == given
        assert hen.swap_pull.value == pytest.approx((taken - lost) / given)
        return hen

    drawn = found(taken=20, lost=0)
    assert drawn.verdict == "relies"
    assert "pictures of other classes are taken for it more often" in drawn.reading
    assert found(taken=20, lost=15).verdict == "not_shown", "as many turn the other way"
    assert found(taken=3, lost=0).verdict == "not_shown", "three may be chance"
    assert found(taken=6, lost=0, given=24).verdict == "cannot_tell", "a quarter is no sign of soundness"


def test_without_another_class_that_shows_cues_there_is_no_swap_gap() -> None:
    items = world.samples(40, 20)
    subjects = world.subjects(world.looking_at(world.GREEN), BANK, dataset=items)
    table = audit_shard(items, subjects, world.REQUEST, 10**6, lambda done: None)
    gap = find(Counts.of(BANK, [table]), BANK, 0).overall.swap_gap.class_mean
    assert gap.value is None
    assert gap.n == 0
    assert "too few" in gap.withheld


def test_no_class_is_flagged_by_chance_among_many_tests() -> None:
    """Control and tested equally often right: at most a few in a hundred audits flag the class."""
    flagged = sum(
        find(Counts.of(BANK, [shard(0, 60, 0.9, 0.7, 0.7, seed)]), BANK, 0).classes[0].verdict == "relies"
        for seed in range(100)
    )
    assert flagged <= 6


def test_figures_on_too_few_pictures_are_withheld_with_the_reason() -> None:
    few = MINIMUM_PICTURES - 1
    (hen,) = find(Counts.of(BANK, [shard(0, few, 0.9, 1.0, 0.0)]), BANK, 0).classes
    for figure in (hen.clean_accuracy, hen.spurious_control_difference, hen.rcs, hen.features[0].sensitivity):
        assert figure.value is None
        assert figure.low is None
        assert figure.n == few
        assert "19 pictures are too few" in (figure.withheld or "")
    assert hen.verdict == "cannot_tell"


def test_a_control_that_covers_the_tested_place_cannot_acquit() -> None:
    table = shard(0, 60, 0.9, 0.7, 0.7)
    at = table.schema.get_field_index("overlap")
    table = table.set_column(at, table.schema.field(at), pa.array(np.full(table.num_rows, 0.8), type=pa.float32()))
    (hen,) = find(Counts.of(BANK, [table]), BANK, 0).classes
    assert hen.verdict == "cannot_tell"
    assert "80.0 %" in hen.reading


def test_sample_mean_and_class_mean_are_told_apart() -> None:
    # 60 hens, all right without noise, and 30 owls, all wrong: 2/3 over pictures, 1/2 over classes
    def predict(batch: np.ndarray) -> np.ndarray:
        return np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (len(batch), 1))

    table = audit_shard(world.samples(60, 30), world.subjects(predict, BANK), world.REQUEST, 10**6, lambda done: None)
    overall = find(Counts.of(BANK, [table]), BANK, 0).overall
    assert overall.clean_accuracy.sample_mean.value == pytest.approx(2 / 3)
    assert overall.clean_accuracy.class_mean.value == pytest.approx(1 / 2)
    assert overall.clean_accuracy.class_mean.classes == 2
    assert overall.clean_accuracy.sample_mean.classes is None


def test_the_worst_pictures_of_a_spurious_feature_are_remembered() -> None:
    tables = [shard(0, 30, 1.0, 1.0, 0.5), shard(30, 30, 1.0, 1.0, 0.5)]
    counts = Counts.of(BANK, tables)
    assert set(counts.worst) == {(0, 1)}  # red is core
    worst = counts.worst[(0, 1)]
    assert len(worst) == WORST
    assert all(w.lost and w.tested < w.control for w in worst)
    assert worst == Counts.of(BANK, [pa.concat_tables(tables)]).worst[(0, 1)]


def test_skipped_samples_are_counted_by_reason() -> None:
    def skipped(reason: str, count: int) -> pa.Table:
        return rows.rows(
            {
                "sample": [f"{reason}/{i}" for i in range(count)],
                "row": list(range(count)),
                "variant": [rows.SKIPPED] * count,
                "reason": [reason] * count,
                "detail": ["because"] * count,
            }
        )

    findings = find(Counts.of(BANK, [skipped("empty", 2), skipped("damaged", 1), skipped("empty", 3)]), BANK, 0)
    assert findings.skipped == {"damaged": 1, "empty": 5}
    assert findings.classes == []
    assert findings.without_pictures == ["hen", "owl"]
    assert findings.overall.clean_accuracy.sample_mean.value is None


def test_memory_does_not_grow_with_the_number_of_pictures() -> None:
    def tables(count: int) -> Iterator[pa.Table]:
        for index in range(count):
            yield shard(200 * index, 200, 0.9, 0.8, 0.5)

    peaks = []
    for count in (2, 20):
        tracemalloc.start()
        Counts.of(BANK, tables(count))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_what_was_not_measured_is_said_to_be_so_and_not_to_be_short_of_pictures() -> None:
    items = world.samples(40, 30, owls_cue=True)
    subjects = world.subjects(world.looking_at(world.GREEN), BANK, dataset=items)

    def found(*measured: str) -> Findings:
        request = world.REQUEST.model_copy(update={"measurements": {name: {} for name in measured}})
        table = audit_shard(items, subjects, request, 10**6, lambda done: None)
        return explained(find(Counts.of(BANK, [table]), BANK, 0), measured)

    neither, swaps = found("class-leaks"), found("cue-swaps")
    hen = neither.classes[0]
    assert hen.reading == "Nothing can be said about hen: region-noise and cue-swaps were not measured."
    assert hen.swap_gap.withheld == "cue-swaps was not measured"
    assert hen.features[0].evidence.reading == "Withheld: region-noise was not measured."
    assert neither.overall.swap_gap.class_mean.withheld == "cue-swaps was not measured"
    assert neither.overall.evidence_balance.sample_mean.withheld == "region-noise was not measured"
    assert neither.overall.clean_accuracy.class_mean.value is not None
    assert swaps.overall.rcs.class_mean.withheld == "region-noise was not measured"
    assert "not measured" not in (swaps.overall.swap_gap.class_mean.withheld or "")
    whole = found("cue-swaps", "region-noise")
    assert "not measured" not in whole.model_dump_json()
