"""Labels and agreement: hand-computed cases, and a second implementation written the long way."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from models.agreement import (
    PLACES,
    Consensus,
    Place,
    consensus,
    core_or_not,
    decide,
    fleiss_kappa,
    is_split,
    needed,
    tally,
    vote_table,
)
from models.bank import Votes

SHORT = {"m": "main_object", "b": "background", "s": "separate_object"}


def votes(answers: str) -> Votes:
    """`mmbbs`: two for the main object, two for the background, one for a separate object."""
    return tally(SHORT[letter] for letter in answers)  # type: ignore[misc]


# --- The label


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ("mmmmm", ("core", "main_object")),
        ("mmmbs", ("core", "main_object")),
        ("mmbbb", ("spurious", "background")),
        ("mmsss", ("spurious", "separate_object")),
        ("mmbbs", ("spurious", "ambiguous")),
        ("mbbss", ("spurious", "ambiguous")),
        ("bbbss", ("spurious", "background")),
        ("s", ("spurious", "separate_object")),
        ("mmbb", ("core", "main_object")),
        ("", ("core", "main_object")),
    ],
)
def test_the_label_rule(answers: str, expected: tuple[str, str]) -> None:
    assert decide(votes(answers)) == expected
    if len(answers) == 5:
        assert decide(votes(answers), 3) == decide(votes(answers), 3, 5) == expected


def _all_of(total: int) -> list[Votes]:
    return [
        Votes(main_object=main, background=background, separate_object=total - main - background)
        for main in range(total + 1)
        for background in range(total + 1 - main)
    ]


def test_the_published_rule_is_the_majority_rule_of_five() -> None:
    for found in _all_of(5):
        assert decide(found) == decide(found, 3) == decide(found, 3, 5)


@pytest.mark.parametrize("of", range(1, 10))
def test_a_threshold_means_itself_where_there_are_as_many_answers_as_it_was_chosen_for(of: int) -> None:
    for threshold in range(1, of + 1):
        assert needed(of, threshold, of) == threshold


@pytest.mark.parametrize("of", [3, 5, 7, 9])
def test_more_than_half_stays_more_than_half_however_many_answer(of: int) -> None:
    for total in range(1, 40):
        assert needed(total, of // 2 + 1, of) == needed(total) == total // 2 + 1


def test_all_stays_all_for_a_few_more() -> None:
    assert [needed(total, 5, 5) for total in range(1, 10)] == list(range(1, 10))
    assert [needed(total, 4, 5) for total in (4, 5, 6, 7)] == [3, 4, 5, 5]


@pytest.mark.parametrize(
    ("answers", "split"),
    [
        ("mmmbs", True),
        ("mmbbb", True),
        ("mbbbb", False),
        ("mmmmb", False),
        ("bbbbb", False),
        ("b", False),
        ("mb", True),
    ],
)
def test_split_is_what_one_vote_decides(answers: str, split: bool) -> None:
    assert is_split(votes(answers), 3, 5) is split


@pytest.mark.parametrize("threshold", [1, 2, 3, 4, 5])
def test_split_by_trying_it(threshold: int) -> None:
    for found in _all_of(5):
        label = decide(found, threshold, 5)[0]
        moved = []
        for one, other in itertools.permutations(("main_object", "background"), 2):
            counts = found.model_dump()
            source = "separate_object" if one == "background" and not counts[one] else one
            if counts[source]:
                counts[source] -= 1
                counts[other] += 1
                moved.append(decide(Votes(**counts), threshold, 5)[0])
        differ = 0 < found.main_object < 5
        assert is_split(found, threshold, 5) is (differ and any(new != label for new in moved))


# --- Kappa


def by_pairs(subjects: list[str]) -> float:
    """Kappa from the definition, answer by answer, in fractions: agreeing pairs against chance."""
    several = [answers for answers in subjects if len(answers) >= 2]
    agreeing = [
        Fraction(sum(a == b for a, b in itertools.permutations(answers, 2)), len(answers) * (len(answers) - 1))
        for answers in several
    ]
    observed = sum(agreeing, Fraction()) / len(several)
    there = [answers for answers in subjects if answers]
    by_chance = Fraction()
    for letter in {letter for answers in there for letter in answers}:
        share = sum((Fraction(Counter(answers)[letter], len(answers)) for answers in there), Fraction()) / len(there)
        by_chance += share * share
    return float((observed - by_chance) / (1 - by_chance))


def test_kappa_of_a_hand_computed_case() -> None:
    # Pairs that agree: 1, 1/3, 1/3 -> 5/9. Shares: 5/9, 3/9, 1/9 -> by chance 35/81. (5/9 - 35/81) / (46/81) = 10/46.
    assert fleiss_kappa(vote_table(map(votes, ("mmm", "mmb", "bbs")))) == pytest.approx(10 / 46)


def test_kappa_is_one_for_full_agreement_and_nothing_for_answers_at_random() -> None:
    assert fleiss_kappa(np.array([[5, 0], [0, 5], [5, 0]])) == pytest.approx(1)
    table = np.random.default_rng(0).multinomial(5, [0.5, 0.3, 0.2], size=20_000)
    assert fleiss_kappa(table) == pytest.approx(0, abs=0.02)


def test_kappa_of_the_common_worked_example() -> None:
    # 10 subjects, 14 raters, 5 categories.
    textbook = [
        [0, 0, 0, 0, 14],
        [0, 2, 6, 4, 2],
        [0, 0, 3, 5, 6],
        [0, 3, 9, 2, 0],
        [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0],
        [3, 2, 6, 3, 0],
        [2, 5, 3, 2, 2],
        [6, 5, 2, 1, 0],
        [0, 2, 2, 3, 7],
    ]
    assert fleiss_kappa(np.array(textbook)) == pytest.approx(0.210, abs=5e-4)


@pytest.mark.parametrize("seed", range(20))
def test_kappa_equals_a_second_implementation_also_where_people_skip(seed: int) -> None:
    draw = np.random.default_rng(seed)
    lengths = [5] * 12 if seed % 2 else draw.integers(0, 7, 12).tolist()
    subjects = ["".join(draw.choice(list("mbs"), size=length, p=[0.6, 0.3, 0.1])) for length in lengths]
    table = vote_table(map(votes, subjects))
    assert fleiss_kappa(table) == pytest.approx(by_pairs(subjects))
    two = ["".join("m" if letter == "m" else "o" for letter in answers) for answers in subjects]
    assert fleiss_kappa(core_or_not(table)) == pytest.approx(by_pairs(two))


@pytest.mark.parametrize("subjects", [[], [""], ["m", "b"], ["mmm", "mm"]])
def test_kappa_is_undefined_without_anything_to_compare(subjects: list[str]) -> None:
    assert math.isnan(fleiss_kappa(vote_table(map(votes, subjects))))


# --- Annotators


def test_agreement_with_the_majority_of_the_others() -> None:
    def panel(answers: str) -> dict[str, Place]:
        return {name: SHORT[letter] for name, letter in zip("ABCDE", answers, strict=False)}  # type: ignore[misc]

    found = consensus([panel("mmb"), panel("mbb"), panel("m"), panel("bbbbm")])
    # Of A's: others m b: no majority; others b b: not A's; nobody else; others b b b m: agreed.
    assert found["A"] == Consensus(agreed=1, compared=2)
    assert found["C"] == Consensus(agreed=1, compared=2)
    assert found["E"] == Consensus(agreed=0, compared=1)
    assert found["A"].share == 0.5
    assert consensus([panel("m")])["A"].share is None


def test_the_table_is_in_the_order_of_the_places() -> None:
    table = vote_table([votes("mmbss"), votes("s")])
    assert [dict(zip(PLACES, row, strict=True)) for row in table.tolist()] == [
        {"main_object": 2, "separate_object": 2, "background": 1},
        {"main_object": 0, "separate_object": 1, "background": 0},
    ]
    assert core_or_not(table).tolist() == [[2, 3], [0, 1]]
