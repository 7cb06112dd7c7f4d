"""Salient ImageNet's answers are read exactly, counted as published, and refused where the file is not what it says."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from models.agreement import decide
from models.bank import Votes
from models.errors import LabelsError
from models.published import salient_imagenet
from models.published.salient_counts import Counts, count
from models.published.salient_imagenet import Release, read_release
from models.vote_rows import COLUMNS
from tests.models import salient_csv
from tests.models.salient_csv import Row, pair_rows

OWN_COPY = "SALIENT_IMAGENET_CSV"


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return read_release(salient_csv.write(tmp_path_factory.mktemp("csv") / "made-up.csv", salient_csv.rows()))


def check_published(found: Counts) -> None:
    """The table of counts in the literature, and what was computed from the release."""
    assert (found.rows, found.pairs, found.classes) == (25_000, 5_000, 1_000)
    assert (found.features, found.feature_range) == (1_462, (0, 2047))
    assert (found.core, found.spurious) == (4_370, 630)
    assert found.kinds == {"main_object": 4_370, "background": 231, "separate_object": 296, "ambiguous": 103}
    assert found.classes_by_spurious == (643, 205, 83, 32, 22, 15)
    assert found.classes - found.classes_by_spurious[0] == 357
    assert found.classes_with_core == 985
    assert found.answers == {"main_object": 21_532, "separate_object": 1_864, "background": 1_604}
    assert found.workers == 265
    assert found.confidences == (114, 830, 2_547, 10_572, 10_937)
    assert found.mean_confidence == pytest.approx(4.25552, abs=5e-6)
    assert found.spurious_by_rank == (84, 100, 141, 148, 157)
    assert found.pairs_by_main == (285, 170, 175, 173, 492, 3_705)
    assert found.split == 348
    assert (found.features_spurious, found.features_core, found.features_both) == (301, 1_353, 192)
    assert found.spurious_core_elsewhere == 394
    assert found.kappa == pytest.approx(0.5119, abs=5e-5)
    assert found.kappa_binary == pytest.approx(0.6036, abs=5e-5)
    assert found.busiest_share == pytest.approx(0.583, abs=5e-4)
    assert (found.weighted_flips, found.weighted_ties) == (1, 13)


def test_a_file_with_the_published_totals_counts_up_to_them(made_up: Release) -> None:
    assert made_up.warnings == ()
    check_published(count(made_up.pairs))


def test_a_users_own_copy_counts_up_to_the_published_totals() -> None:
    path = os.environ.get(OWN_COPY)
    if not path:
        pytest.skip(f"the release may not be passed on; {OWN_COPY} names no copy of the user's own")
    release = read_release(path)
    check_published(count(release.pairs))


@pytest.mark.parametrize(("threshold", "spurious"), [(3, 630), (4, 455), (5, 285)])
def test_more_agreement_can_be_asked_for(made_up: Release, threshold: int, spurious: int) -> None:
    assert count(made_up.pairs, threshold).spurious == spurious


def test_pairs_come_by_class_and_rank_and_keep_every_answer(made_up: Release) -> None:
    places = [(pair.class_index, pair.rank) for pair in made_up.pairs]
    assert places == [(index, rank) for index in range(1000) for rank in range(1, 6)]
    assert all(sum(pair.votes.model_dump().values()) == 5 for pair in made_up.pairs)
    assert made_up.pairs[0].wordnet_id == "n10000000"


# --- Bad input

Change = Callable[[list[Row]], object]


def changed(row: int, column: str, value: str) -> Change:
    return lambda rows: rows[row].update({column: value})


@pytest.fixture
def small() -> list[Row]:
    """Two classes of two features, five answers each: twenty rows, on lines 2 to 21."""
    return [
        *pair_rows(0, 7, 1, (5, 0, 0)),
        *pair_rows(0, 9, 2, (1, 4, 0)),
        *pair_rows(3, 7, 1, (0, 0, 5)),
        *pair_rows(3, 2047, 2, (2, 2, 1)),
    ]


def test_a_subset_of_classes_is_read_and_said_to_be_short(small: list[Row], tmp_path: Path) -> None:
    release = read_release(salient_csv.write(tmp_path / "a.csv", small))
    assert [decide(pair.votes) for pair in release.pairs] == [
        ("core", "main_object"),
        ("spurious", "separate_object"),
        ("spurious", "background"),
        ("spurious", "ambiguous"),
    ]
    assert "2 classes have fewer than 5 features" in release.warnings[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed(3, "Input.class_index", "1000"), r"line 5, column Input.class_index: '1000' .* 0 to 999"),
        (changed(3, "Input.class_index", "-1"), r"line 5, column Input.class_index"),
        (changed(3, "Input.class_index", "0.0"), r"line 5, column Input.class_index: '0.0' is not a whole number"),
        (changed(3, "Input.class_index", "٣"), r"line 5, column Input.class_index"),
        (changed(4, "Input.feature_index", "2048"), r"line 6, column Input.feature_index: '2048' .* 0 to 2047"),
        (changed(4, "Input.feature_index", ""), r"line 6, column Input.feature_index"),
        (changed(0, "Input.feature_rank", "6"), r"line 2, column Input.feature_rank: '6' .* 1 to 5"),
        (changed(1, "Input.feature_rank", "2"), r"line 3, column Input.feature_rank: .* has 2, on line 2 1"),
        (changed(0, "Answer.main", "foreground"), r"line 2, column Answer.main: 'foreground' is not one of"),
        (changed(0, "WorkerId", ""), r"line 2, column WorkerId"),
        (changed(1, "WorkerId", "0"), r"line 3, column WorkerId: 0 answers twice on class 0, feature 7"),
        (changed(2, "Input.wordnet_id", "n99"), r"line 4, column Input.wordnet_id: .* has n99, on line 2 n10000000"),
        (lambda rows: rows.append(dict(rows[0])), r"line 22, column WorkerId: 0 answers twice"),
        (lambda rows: rows.pop(12), r"class 3, feature 7 \(line 12\) has 4 answers, not 5"),
        (lambda rows: rows.append(rows[0] | {"WorkerId": "77"}), r"feature 7 \(line 2\) has 6 answers, not 5"),
        (
            lambda rows: rows.extend(pair_rows(0, 11, 2, (5, 0, 0))),
            r"line 22, column Input.feature_rank: class 0 has two features of rank 2",
        ),
        (
            lambda rows: rows.extend(pair_rows(0, 11, 3, (5, 0, 0), wordnet_id="n5")),
            r"line 22, column Input.wordnet_id: class 0 is n5, elsewhere class 0 is n10000000",
        ),
        (
            lambda rows: rows.extend(pair_rows(5, 11, 3, (5, 0, 0), wordnet_id="n10000003")),
            r"line 22, column Input.wordnet_id: class 5 .* n10000003 is class 3",
        ),
        (lambda rows: rows.clear(), "holds no answers"),
    ],
)
def test_what_does_not_fit_is_refused_with_line_and_column(
    small: list[Row], tmp_path: Path, change: Change, message: str
) -> None:
    change(small)
    with pytest.raises(LabelsError, match=message) as raised:
        read_release(salient_csv.write(tmp_path / "a.csv", small))
    assert raised.value.field == "file"


def test_lines_are_counted_through_line_breaks_in_reasons(small: list[Row], tmp_path: Path) -> None:
    small[0]["Answer.reasons"] = "one,\ntwo\n\nthree"
    small[1]["Answer.main"] = "?"
    with pytest.raises(LabelsError, match=r"line 6, column Answer\.main"):
        read_release(salient_csv.write(tmp_path / "a.csv", small))


@pytest.mark.parametrize("column", COLUMNS)
def test_every_column_is_needed(small: list[Row], tmp_path: Path, column: str) -> None:
    others = [name for name in COLUMNS if name != column]
    with pytest.raises(LabelsError, match=f"has no column '{column}'") as raised:
        read_release(salient_csv.write(tmp_path / "a.csv", small, others))
    assert raised.value.remedy


def test_indices_are_held_against_the_network(small: list[Row], tmp_path: Path) -> None:
    path = salient_csv.write(tmp_path / "a.csv", small)
    with pytest.raises(LabelsError, match="'2047' is not a whole number from 0 to 511"):
        read_release(path, classes=1000, channels=512)
    with pytest.raises(LabelsError, match="'3' is not a whole number from 0 to 1"):
        read_release(path, classes=2, channels=2048)


def test_a_bad_confidence_is_listed_and_decides_nothing(small: list[Row], tmp_path: Path) -> None:
    small[0]["Answer.confidence"], small[1]["Answer.confidence"] = "", "very"
    release = read_release(salient_csv.write(tmp_path / "a.csv", small))
    assert [warning.partition(":")[0] for warning in release.warnings[:2]] == [
        "line 2, column Answer.confidence",
        "line 3, column Answer.confidence",
    ]
    assert release.pairs[0].votes == Votes(main_object=5)
    assert sum(count(release.pairs).confidences) == 18


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no column"),
        (b"\xff\xfe\x00nonsense", "not a CSV file in UTF-8"),
        (",".join(COLUMNS).encode() + b"\n1,n1,0", "line 2 has 3 values"),
        (",".join(COLUMNS).encode() + b'\n1,n1,0,0,1,background,4.0,"cut off in mid-', "not a CSV file"),
        (",".join((*COLUMNS, "WorkerId")).encode() + b"\n", "has the column 'WorkerId' twice"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(LabelsError, match=message):
        read_release(path)
    with pytest.raises(LabelsError, match="cannot be read"):
        read_release(tmp_path / "none.csv")


def test_a_file_far_larger_than_the_release_is_refused_unread(
    small: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(salient_imagenet, "MAX_BYTES", 100)
    with pytest.raises(LabelsError, match="more than 100"):
        read_release(salient_csv.write(tmp_path / "a.csv", small))
