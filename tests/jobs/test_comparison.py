"""Two audits of the same pictures: pairs, their differences and intervals, and what may not be compared."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from jobs import rows
from jobs.audit_pairs import AuditPairs
from jobs.comparability import check_comparable, read_report
from jobs.comparison import Comparison, Difference, compare
from jobs.comparison_files import side_by_side
from jobs.comparison_page import comparison_html, comparison_markdown
from jobs.counts import Counts
from jobs.errors import Cancelled, Invalid
from jobs.estimators import AccuracyDifference, CoreSensitivity, Evidence
from jobs.figures import Figure, change
from jobs.pairing import Pairing
from jobs.report import Report
from jobs.robustness import robustness_of
from jobs.rows import to_parquet
from jobs.sections import Entry, Metric, Section
from jobs.shards import ShardPlan
from jobs.store import Store
from models.statistics import paired_difference, paired_rcs
from tests.jobs import world
from tests.jobs.audited import audited

BANK = world.bank_of_two_cues()


def hens(right: np.ndarray, first: int = 0, log_odds: np.ndarray | None = None) -> pa.Table:
    """Rows of hens with a spurious set: bool [N, 3], right on the clean, the control and the tested picture."""
    variants = (rows.CLEAN, rows.SPURIOUS_CONTROL, rows.SPURIOUS)
    n = len(right)
    return rows.rows(
        {
            "sample": [f"hen/{i}.png" for i in range(first, first + n) for _ in variants],
            "row": np.repeat(np.arange(first, first + n), 3),
            "class": np.zeros(3 * n, dtype=np.int32),
            "variant": np.array(variants * n, dtype=object),
            "correct": right.ravel(),
            "probability": np.full(3 * n, 0.5),
            "log_odds": np.where(right, 2.0, -2.0).ravel() if log_odds is None else log_odds.ravel(),
            "energy": np.zeros(3 * n),
            "overlap": np.zeros(3 * n),
        }
    )


def pairing(*tables: tuple[pa.Table, pa.Table]) -> Pairing:
    found = Pairing(BANK, (world.REQUEST, world.REQUEST), None)
    found.take_in(lambda columns: [(first.select(columns), second.select(columns)) for first, second in tables])
    return found


def paired(first: pa.Table, second: pa.Table) -> AuditPairs:
    return pairing((first, second)).pairs


def outcomes(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((n, 3)) < (0.9, 0.8, 0.5)


def test_pairs_count_what_both_audits_made_of_a_picture() -> None:
    one, other = outcomes(50, 1), outcomes(40, 2)
    pairs = paired(hens(one), hens(other, first=10))  # 40 pictures are in both
    key = [pairs.spurious(0)]
    assert pairs.pictures(key) == 40
    expected = np.zeros((2, 2), dtype=int)
    for a, b in zip(one[10:, 2], other[:, 2], strict=True):
        expected[int(a), int(b)] += 1
    assert (pairs.outcomes(key, "tested") == expected).all()
    joint = pairs.outcomes(key, "control", "tested")
    assert joint.shape == (2, 2, 2, 2)
    assert (joint.sum(axis=(2, 3)) == Counts.of(BANK, [hens(one[10:])]).outcomes(key, "control", "tested")).all()


def test_evidence_is_compared_picture_by_picture() -> None:
    generator = np.random.default_rng(4)
    one, other = generator.normal(size=(2, 60, 3))
    right = np.ones((60, 3), dtype=bool)
    pairs = paired(hens(right, log_odds=one), hens(right, log_odds=other))
    differences = (one[:, 1] - one[:, 2]) - (other[:, 1] - other[:, 2])
    found = Evidence().change(pairs, [pairs.spurious(0)], generator)
    assert (found.value, found.n) == (pytest.approx(differences.mean(), abs=1e-6), 60)


def test_a_paired_difference_is_surer_than_two_independent_ones() -> None:
    """A is right where B is and on 10 pictures more: nobody would guess that from 30 and 20 of 40."""
    b = np.zeros((40, 3), dtype=bool)
    b[:20] = True
    a = b.copy()
    a[20:30] = True
    table = paired(hens(a), hens(b)).outcomes([0], "clean")
    assert table.tolist() == [[10, 0], [10, 20]]
    together, apart = compared(a, b)
    assert together.paired
    assert together.figure.value == apart.figure.value == pytest.approx(0.25)
    assert together.figure.n == 40
    assert together.figure.low is not None
    assert together.figure.low > 0.1
    assert not apart.paired
    assert "not paired" in apart.figure.reading
    # Newcombe's tenth method from Wilson's .598 to .858 and .352 to .648
    assert (apart.figure.low, apart.figure.high) == (pytest.approx(0.0382, abs=1e-3), pytest.approx(0.4326, abs=1e-3))


def compared(a: np.ndarray, b: np.ndarray) -> tuple[Difference, Difference]:
    """The change of accuracy with noise on the spurious features, paired and not."""
    first, second = (audited([hens(own)], BANK, name) for own, name in ((a, "a"), (b, "b")))
    together = compare(first, second, pairing((hens(a), hens(b))), "1")
    apart = compare(first, second, None, "1")
    return found(together, "core_accuracy", of="hen"), found(apart, "core_accuracy", of="hen")


def found(comparison: Comparison, metric: str, **place: object) -> Difference:
    (only,) = [
        d
        for d in comparison.differences
        if d.metric == metric and all(getattr(d, name) == value for name, value in place.items())
    ]
    return only


@pytest.mark.parametrize("statistic", [AccuracyDifference("control", "tested"), CoreSensitivity()])
def test_the_change_is_the_difference_of_the_two_figures(statistic: AccuracyDifference | CoreSensitivity) -> None:
    one, other = outcomes(300, 5), outcomes(300, 6)
    pairs = paired(hens(one), hens(other))
    key, generator = [pairs.spurious(0)], np.random.default_rng(0)
    values = [statistic.estimate(Counts.of(BANK, [hens(own)]), key, generator).value for own in (one, other)]
    assert statistic.change(pairs, key, generator).value == pytest.approx(values[0] - values[1])


def test_intervals_of_changes_cover_the_truth() -> None:
    """Two classifiers that agree on most pictures; the gap of one is truly 20 points larger."""
    shares = np.zeros((2, 2, 2, 2))
    shares[1, 1, 1, 1], shares[1, 0, 1, 1], shares[1, 0, 1, 0], shares[0, 0, 0, 0], shares[1, 1, 1, 0] = (
        0.45,
        0.25,
        0.15,
        0.10,
        0.05,
    )
    generator, truth, hits = np.random.default_rng(8), 0.25 - 0.05, 0
    for sample in generator.multinomial(40, shares.ravel(), size=150):
        interval = change(sample.reshape(2, 2, 2, 2), paired_difference, generator).interval
        hits += interval.low <= truth <= interval.high
    assert 0.9 <= hits / 150 <= 0.995


def test_audits_that_were_cut_differently_are_joined(tmp_path_factory: pytest.TempPathFactory) -> None:
    store = Store(f"file://{tmp_path_factory.mktemp('store')}")
    one, other = outcomes(60, 11), outcomes(60, 12)
    plans = [ShardPlan(job=job, rows=60, pictures=60, shards=n, seed=0) for job, n in (("a" * 32, 3), ("b" * 32, 4))]
    for plan, right in zip(plans, (one, other), strict=True):
        for shard in range(plan.shards):
            of = plan.rows_of(shard)
            store.write_bytes(plan.file("audits", shard), to_parquet(hens(right[of], first=of[0])))
    done: list[int] = []
    found = Pairing(BANK, (world.REQUEST, world.REQUEST), None)
    found.take_in(lambda columns: side_by_side(store, (plans[0], plans[1]), columns, done.append))
    assert done == [0, 15, 20, 30, 40, 45]
    joined, whole = found.pairs, paired(hens(one), hens(other))
    key = [whole.spurious(0)]
    for conditions in (("clean",), ("control", "tested")):
        assert (joined.outcomes(key, *conditions) == whole.outcomes(key, *conditions)).all()
    one_change, other_change = (Evidence().change(pairs, key, np.random.default_rng(0)) for pairs in (joined, whole))
    assert one_change.value == pytest.approx(other_change.value)


@pytest.mark.parametrize(("shards", "others"), [(3, 4), (7, 5), (1, 6), (4, 4)])
def test_every_picture_is_in_one_pair_of_tables(store: Store, shards: int, others: int) -> None:
    """Also those of a second data set, of which every shard has an even part, however few the pictures of the first."""
    plans = [
        ShardPlan(job=job * 32, rows=20, pictures=20, shards=n, seed=0) for job, n in (("a", shards), ("b", others))
    ]
    for plan in plans:
        for shard in range(plan.shards):
            rows_of = [*plan.positions(shard), *(1000 + row for row in plan.stretch(shard, 903))]
            store.write_bytes(plan.file("audits", shard), to_parquet(pa.table({"row": rows_of})))
    met: list[int] = []
    for first, second in side_by_side(store, (plans[0], plans[1]), ["row"], lambda done: None):
        met += set(first["row"].to_pylist()) & set(second["row"].to_pylist())
    assert sorted(met) == [*range(20), *range(1000, 1903)]


@pytest.fixture(scope="module")
def report() -> Report:
    return audited([hens(outcomes(50, 1))], BANK, "first")


def with_parameters(report: Report, **changes: object) -> Report:
    return report.model_copy(update={"parameters": report.parameters.model_copy(update=changes)})


CHANGES: dict[str, Callable[[Report], Report]] = {
    "the bank": lambda own: own.model_copy(update={"bank": own.bank.model_copy(update={"digest": "sha256:other"})}),
    "the data set": lambda own: own.model_copy(update={"dataset": own.dataset.model_copy(update={"id": "e" * 64})}),
    "sigma": lambda own: with_parameters(own, sigma=0.5),
    "seed": lambda own: with_parameters(own, seed=9),
    "classes": lambda own: own.model_copy(
        update={"parameters": own.parameters.model_copy(update={"classes": ["hen"]})}
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_differs_is_refused_and_named(report: Report, what: str) -> None:
    other = CHANGES[what](report)
    with pytest.raises(Invalid, match=f"differ in {what}") as refused:
        check_comparable(report, other, "baseline")
    assert refused.value.field == "baseline"


def test_only_the_classifier_its_class_names_and_the_batch_may_differ(report: Report) -> None:
    other = with_parameters(report, classifier="x", batch_size=1, class_map={"a": "hen"})
    check_comparable(report, other, "baseline")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"{", "not the report"),
        (b"[" * 100_000, "not the report"),
        (b"[]", "not the report"),
        (b'{"schema_version": 1}', "schema '1'"),
        (b'{"schema_version": 2}', "not a whole report"),
    ],
)
def test_a_baseline_that_is_no_report_of_this_schema(data: bytes, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        read_report(data, "the baseline", "baseline")


def test_a_report_is_read_as_it_was_written(report: Report) -> None:
    assert read_report(report.to_json(), "the baseline", "baseline") == report


def test_the_same_audits_give_the_same_bytes_and_no_change(report: Report) -> None:
    table = hens(outcomes(50, 1))
    one = compare(report, report, pairing((table, table)), "1")
    assert one.to_json() == compare(report, report, pairing((table, table)), "1").to_json()
    assert all(d.figure.value in (None, 0) for d in one.differences)
    assert one.pictures == 50


def test_it_is_asked_before_each_figure_whether_the_comparison_is_still_wanted(report: Report) -> None:
    """With thousands of classes the figures take longer than the rows."""
    asked = []

    def stop() -> None:
        asked.append(1)
        if len(asked) == 10:
            raise Cancelled("It is not wanted any more.")

    table = hens(outcomes(50, 1))
    with pytest.raises(Cancelled):
        compare(report, report, pairing((table, table)), "1", stop)


def test_names_from_users_are_escaped(report: Report) -> None:
    script = "<script>alert(1)</script> | [x](javascript:y) {0}"
    named = report.model_copy(update={"classifier": report.classifier.model_copy(update={"name": script})})
    found = compare(named, report, None, "1")
    assert "<script" not in comparison_html(found)
    text = comparison_markdown(found)
    assert "<script" not in text
    assert "[x](" not in text
    assert json.loads(found.to_json())["classifier"]["name"] == script


def natural(report: Report, highest: float, lowest: float) -> Report:
    def figure(value: float) -> Figure:
        return Figure(value=value, low=value - 0.02, high=value + 0.02, n=500, reading="")

    def metric(name: str) -> Metric:
        return Metric(name=name, title=name, unit="share", worse="lower", about="")

    values = {"accuracy_highest": highest, "accuracy_lowest": lowest}
    section = Section(
        name="natural-pictures",
        title="",
        answer="",
        method=(),
        metrics=tuple(map(metric, values)),
        entries=tuple(Entry(metric=name, figure=figure(value)) for name, value in values.items()),
    )
    return report.model_copy(update={"sections": (section,)})


def test_effective_robustness_of_three_classifiers(report: Report) -> None:
    reports = [natural(report, *pair) for pair in ((0.6, 0.4), (0.8, 0.56), (1.0, 0.6))]
    found = robustness_of(reports)
    figures = [own.effective_robustness for own in found.classifiers]
    assert [figure.value for figure in figures] == pytest.approx([-0.02, 0.04, -0.02])
    assert all(figure.known is not None and figure.known[1] < figure.known[0] < figure.known[2] for figure in figures)
    assert found.slope == pytest.approx(0.5)


def test_effective_robustness_says_what_it_lacks(report: Report) -> None:
    reports = [natural(report, 0.6, 0.4), natural(report, 0.7, 0.4)]
    assert "at least 3" in (robustness_of(reports).withheld or "")
    assert "--measure natural-pictures" in (robustness_of([*reports, report]).withheld or "")
    assert "equally accurate" in (robustness_of([reports[0]] * 3).withheld or "")


def test_rcs_changes_with_the_accuracies_it_is_made_of() -> None:
    """First classifier: 80 % outside the core and 40 % on it (.5); second: 30 % and 50 % (-.25), from the notes."""
    table = np.zeros((2, 2, 2, 2), dtype=np.int64)
    first, second = ([0.2, 0.8], [0.6, 0.4]), ([0.7, 0.3], [0.5, 0.5])
    for i, j, k, m in np.ndindex(2, 2, 2, 2):
        table[i, j, k, m] = round(10_000 * first[0][i] * first[1][j] * second[0][k] * second[1][m])
    estimate = change(table, paired_rcs, np.random.default_rng(0))
    assert estimate.value == pytest.approx(0.75, abs=0.001)
    assert estimate.interval.low < 0.75 < estimate.interval.high
