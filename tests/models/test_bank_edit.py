"""Banks made of banks: decided anew, renamed, merged, compared, without any new vote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from safetensors.numpy import load_file, save_file

from models.agreement import Place
from models.bank import WEIGHTS, Bank, Exemplar, Feature, Manifest, Statistics
from models.bank_card import Provenance, with_provenance
from models.bank_diff import diff
from models.bank_edit import Edited, Kept, merge, rename, rethreshold, to_label
from models.bank_votes import VOTES, BankVotes, KeptAnswer, kappas, pseudonym, read_votes
from models.bank_writing import assemble_bank
from models.errors import BankError
from tests.models.conftest import CLASSES, labelled, manifest

Make = Callable[..., Kept]
Given = dict[str, Place]
"""Kind by annotator."""


def answered(class_index: int, feature_index: int, given: Given, rank: int = 1, **changes: object) -> Feature:
    """A row as three of five votes decide it, with the answers counted."""
    counts = {"main_object": 0, "background": 0, "separate_object": 0}
    for kind in given.values():
        counts[kind] += 1
    spurious = counts["background"] + counts["separate_object"] >= 3
    row = labelled(class_index, feature_index, rank, core=not spurious)
    return Feature.model_validate(row.model_dump() | {"votes": counts} | changes)


def votes_of(rows: dict[tuple[int, int], Given]) -> BankVotes:
    return BankVotes(
        answers=tuple(
            KeptAnswer(class_index=c, feature_index=j, annotator=who, kind=kind, confidence=3, reason="r", seconds=1.0)
            for (c, j), given in rows.items()
            for who, kind in given.items()
        )
    )


@pytest.fixture
def make(weights: Path, tmp_path: Path) -> Make:
    """Writes a bank of these answers and opens it."""

    def made(
        rows: dict[tuple[int, int], Given],
        *,
        known: bool = True,
        card: Provenance | None = None,
        features: tuple[Feature, ...] | None = None,
        files: dict[str, bytes | Path] | None = None,
        **changes: object,
    ) -> Kept:
        votes = votes_of(rows) if known else None
        features = features or tuple(
            answered(c, j, given, rank) for rank, ((c, j), given) in enumerate(rows.items(), start=1)
        )
        stated = manifest(
            features=features, card=with_provenance({}, card or Provenance(threshold=3, of=5, draft="d1")), **changes
        )
        contents: dict[str, bytes | Path] = {WEIGHTS: weights, **(files or {})}
        if votes:
            contents[VOTES] = votes.as_bytes()
        folder = tmp_path / f"bank-{len(list(tmp_path.iterdir()))}"
        bank = assemble_bank(folder, stated, contents)
        return Kept(bank, read_votes(bank))

    return made


def by_five(background: int, separate: int = 0, first: int = 0) -> Given:
    kinds: list[Place] = []
    for kind, times in (("background", background), ("separate_object", separate), ("main_object", 5)):
        kinds += [kind] * times  # type: ignore[list-item]
    kinds = kinds[:5]
    return {f"annotator-{first + number}": kind for number, kind in enumerate(kinds)}


def rows_of(edited: Edited | Kept) -> dict[tuple[int, int], Feature]:
    stated: Manifest = edited.manifest if isinstance(edited, Edited) else edited.bank.manifest
    return {(row.class_index, row.feature_index): row for row in stated.features}


# --- Thresholds


@pytest.mark.parametrize("known", [True, False])
def test_another_threshold_decides_the_same_answers_anew(make: Make, known: bool) -> None:
    kept = make({(0, 1): by_five(3), (0, 2): by_five(2, 2), (1, 3): by_five(5)}, known=known)
    assert [row.label for row in kept.bank.manifest.features] == ["spurious"] * 3
    strict = rethreshold(kept, 4)
    assert [(row.label, row.kind) for row in strict.manifest.features] == [
        ("core", "main_object"),
        ("spurious", "ambiguous"),
        ("spurious", "background"),
    ]
    assert [row.votes for row in strict.manifest.features] == [row.votes for row in kept.bank.manifest.features]
    assert strict.votes == kept.votes
    assert (strict.provenance.threshold, strict.provenance.edit) == (4, "rethreshold")
    assert strict.provenance.sources == (kept.bank.digest,)
    assert strict.provenance.draft == "d1", "what else the card knows stays"


def test_rows_without_answers_keep_their_label(make: Make) -> None:
    exact = labelled(2, 5, 1, core=False).model_copy(update={"votes": answered(2, 5, {}).votes})
    kept = make({}, known=False, features=(exact, answered(0, 1, by_five(3))))
    assert [row.label for row in rethreshold(kept, 5).manifest.features] == ["spurious", "core"]


@pytest.mark.parametrize(("threshold", "of"), [(0, None), (6, None), (4, 3), (3, 9), (-1, 5)])
def test_a_threshold_that_nothing_can_reach_is_refused(make: Make, threshold: int, of: int | None) -> None:
    with pytest.raises(BankError, match="at most 5") as error:
        rethreshold(make({(0, 1): by_five(3)}), threshold, of)
    assert error.value.field == "threshold"


# --- Names


def test_a_renamed_bank_differs_in_its_name_alone(make: Make) -> None:
    kept = make({(0, 1): by_five(3)})
    renamed = rename(kept, "wings")
    assert renamed.manifest == kept.bank.manifest.model_copy(update={"name": "wings"})
    assert rename(kept, "wings", "Wings").manifest.title == "Wings"
    assert renamed.votes == kept.votes
    assert set(renamed.files) == {WEIGHTS}


# --- Merging


def test_rows_of_both_banks_are_joined_and_classes_of_both_ranked_anew(make: Make) -> None:
    first = make({(0, 1): by_five(3), (1, 3): by_five(0)})
    second = make({(0, 2): by_five(0), (2, 4): by_five(5)}, title="other")
    merged = merge(first, second, "both")
    assert set(rows_of(merged)) == {(0, 1), (1, 3), (0, 2), (2, 4)}
    assert sorted(row.rank for row in merged.manifest.features if row.class_index == 0) == [1, 2]
    assert rows_of(merged)[1, 3] == rows_of(first)[1, 3], "its class is in one of them only"
    assert merged.votes is not None
    assert len(merged.votes.answers) == 20
    assert merged.manifest.title == "A random network + other"
    assert merged.provenance.sources == (first.bank.digest, second.bank.digest)
    assert merged.provenance.threshold == 3


def test_answers_of_other_annotators_on_a_row_are_added(make: Make) -> None:
    first, second = make({(0, 1): by_five(2)}), make({(0, 1): by_five(5, first=5)})
    assert rows_of(first)[0, 1].label == "core"
    merged = merge(first, second, "both")
    assert merged.manifest.labeller == "; ".join(2 * [first.bank.manifest.labeller]), "others, who are called alike"
    row = rows_of(merged)[0, 1]
    assert (row.votes.main_object, row.votes.background) == (3, 7)
    assert (row.label, row.kind) == ("spurious", "background")
    kept = rows_of(merge(first, second, "both", threshold=8))[0, 1]
    assert kept.label == "core"


def test_the_same_answer_in_both_counts_once(make: Make) -> None:
    first = make({(0, 1): by_five(3)})
    merged = merge(first, first, "both")
    assert merged.votes == first.votes
    assert rows_of(merged) == rows_of(first)


def test_an_annotator_who_says_two_things_is_refused(make: Make) -> None:
    first, second = make({(0, 1): by_five(3)}), make({(0, 1): by_five(2)})
    with pytest.raises(BankError, match=r"'ant', feature 1: annotator-2 says background .* main_object"):
        merge(first, second, "both")


def test_without_answers_rows_must_agree(make: Make) -> None:
    first, second = make({(0, 1): by_five(3)}, known=False), make({(0, 1): by_five(2)})
    assert set(rows_of(merge(first, make({(0, 1): by_five(3), (1, 1): by_five(0)}), "both"))) == {(0, 1), (1, 1)}
    with pytest.raises(BankError, match="disagree"):
        merge(first, second, "both")


def test_banks_of_different_thresholds_need_one_named(make: Make) -> None:
    first = make({(0, 1): by_five(2)})
    second = make({(0, 1): by_five(2, first=5)}, card=Provenance(threshold=2))
    with pytest.raises(BankError, match="decided by 3 votes") as error:
        merge(first, second, "both")
    assert error.value.field == "threshold"
    assert rows_of(merge(first, second, "both", threshold=4))[0, 1].label == "spurious"


@pytest.mark.parametrize("what", ["weights", "classes", "grouping"])
def test_banks_of_other_networks_are_not_merged(make: Make, weights: Path, tmp_path: Path, what: str) -> None:
    first = make({(0, 1): by_five(3)})
    if what == "weights":
        tensors = load_file(weights)
        tensors["fc.bias"] = tensors["fc.bias"] + np.float32(1)
        save_file(tensors, tmp_path / "foreign.safetensors")
        second = make({(1, 1): by_five(3)}, files={WEIGHTS: tmp_path / "foreign.safetensors"})
    elif what == "classes":
        second = make({(1, 1): by_five(3)}, classes=tuple(reversed(CLASSES)))
    else:
        second = make({(1, 1): by_five(3)}, grouping="label")
    with pytest.raises(BankError, match=f"their {what}"):
        merge(first, second, "both")


def test_a_merged_row_is_valid_where_both_hold_it_valid(make: Make) -> None:
    def with_range(images: int, valid_from: float, valid_to: float) -> Kept:
        found = Statistics(images=images, mean=0.1, std=0.1, valid_from=valid_from, valid_to=valid_to)
        return make({(0, 1): by_five(3)}, features=(answered(0, 1, by_five(3), statistics=found.model_dump()),))

    row = rows_of(merge(with_range(10, 0.5, 3.0), with_range(20, 0.2, 2.0), "both"))[0, 1]
    assert row.statistics == Statistics(images=20, mean=0.1, std=0.1, valid_from=0.5, valid_to=2.0)
    with pytest.raises(BankError, match="do not meet"):
        merge(with_range(10, 2.0, 3.0), with_range(20, 0.2, 1.0), "both")


def test_pictures_of_the_same_name_do_not_hide_each_other(make: Make) -> None:
    def shown(class_index: int, content: bytes) -> Kept:
        exemplar = Exemplar(class_index=class_index, feature_index=1, sample="s", activation=1.0, picture="e/1.jpg")
        return make({(class_index, 1): by_five(3)}, exemplars=(exemplar,), files={"e/1.jpg": content})

    merged = merge(shown(0, b"ant"), shown(1, b"bee"), "both")
    contents = [merged.files[str(exemplar.picture)].read_bytes() for exemplar in merged.manifest.exemplars]
    assert contents == [b"ant", b"bee"]


# --- Comparing, drafting again, answers


def test_a_diff_names_what_came_went_and_changed(make: Make) -> None:
    first = make({(0, 1): by_five(3), (0, 2): by_five(0), (1, 3): by_five(5)})
    moved = Statistics(images=10, mean=0.2, std=0.1, valid_from=0.7, valid_to=2.0)
    second = make(
        {},
        known=False,
        title="second",
        features=(
            answered(0, 1, by_five(2), 1),
            answered(0, 2, by_five(0), 2, statistics=moved.model_dump()),
            answered(2, 9, by_five(4)),
        ),
    )
    found = diff(first.bank, second.bank)
    assert (found.before, found.after, found.same_network) == (first.bank.digest, second.bank.digest, True)
    assert found.counts == {"added": 1, "removed": 1, "label": 1, "kind": 1, "votes": 1, "validity": 1}
    assert {(row.class_name, row.feature_index): row.what for row in found.rows} == {
        ("ant", 1): "changed",
        ("ant", 2): "changed",
        ("bee", 3): "removed",
        ("cat", 9): "added",
    }
    label = next(change for change in found.rows[0].changes if change.aspect == "label")
    assert (label.before, label.after) == ("spurious", "core")
    assert [change.aspect for change in found.fields] == ["title"]
    same = diff(first.bank, first.bank)
    assert (same.rows, same.same, same.counts) == ([], 3, {})


def test_features_of_another_network_are_not_compared(make: Make) -> None:
    found = diff(make({(0, 1): by_five(3)}).bank, make({(0, 1): by_five(0)}, classes=tuple(reversed(CLASSES))).bank)
    assert not found.same_network
    assert found.rows == []


def test_a_bank_says_what_to_label_again_and_of_which_draft(make: Make) -> None:
    found = to_label(make({(1, 3): by_five(0), (0, 2): by_five(3)}))
    assert found.draft == "d1"
    assert found.rows == ((0, 2), (1, 3))
    assert found.votes is not None


def test_a_built_in_bank_names_no_draft(bank: Bank) -> None:
    found = to_label(Kept(bank, read_votes(bank)))
    assert (found.draft, found.votes) == (None, None)
    assert len(found.rows) == len(bank.manifest.features)


@pytest.mark.parametrize(
    "changes",
    [
        {"annotator": "ada@example.org"},
        {"annotator": ""},
        {"annotator": "<script>"},
        {"kind": "ambiguous"},
        {"confidence": 6},
        {"confidence": 0},
        {"seconds": -1},
        {"seconds": float("inf")},
        {"reason": "x" * 5000},
        {"class_index": -1},
        {"token": "cci_secret"},
    ],
)
def test_an_answer_that_cannot_be_kept_is_refused(changes: dict[str, object]) -> None:
    fields = {"class_index": 0, "feature_index": 1, "annotator": "annotator-1", "kind": "background"}
    KeptAnswer.model_validate(fields)
    with pytest.raises(ValidationError):
        KeptAnswer.model_validate(fields | changes)


def test_an_annotator_answers_a_row_once() -> None:
    answer = votes_of({(0, 1): {"annotator-1": "background"}}).answers[0]
    with pytest.raises(ValidationError, match="twice"):
        BankVotes(answers=(answer, answer.model_copy(update={"kind": "main_object"})))


def test_a_pseudonym_is_the_same_for_the_same_person_and_is_not_their_name() -> None:
    assert pseudonym("Ada") == pseudonym(" ada ") != pseudonym("Bob")
    assert "ada" not in pseudonym("Ada")
    KeptAnswer(class_index=0, feature_index=1, annotator=pseudonym("ada@example.org"), kind="background")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (votes_of({(0, 1): by_five(2)}).as_bytes(), "does not belong"),
        (votes_of({(0, 9): by_five(3)}).as_bytes(), "does not belong"),
        (b"{", "cannot be read"),
        (b'{"schema_version": 2, "answers": []}', "cannot be read"),
    ],
)
def test_answers_that_are_not_the_banks_are_refused(make: Make, content: bytes, reason: str) -> None:
    with pytest.raises(BankError, match=reason):
        make({(0, 1): by_five(3)}, known=False, files={VOTES: content})


def test_agreement_is_undefined_where_nobody_could_differ() -> None:
    rows = [answered(0, 1, {"annotator-1": "background"}).votes]
    assert kappas(rows) == kappas([]) == (None, None)
