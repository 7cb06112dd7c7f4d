"""Labels are told from those of another checkpoint by the head's weights, and are not judged where they are too few."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from models.bank import WEIGHTS, Bank
from models.bank_folders import find_banks
from models.errors import BankError
from models.label_fit import LabelFit, label_fit, require_fit

Pairs = list[tuple[int, int]]


def simulated(classes: int, channels: int, seed: int, spread: float = 1.0) -> tuple[NDArray[np.float64], Pairs]:
    """A head, and the five channels of largest IV of each class.

    Mean activations are log-normal, partly the channel's own and partly the class's, and independent of the weights:
    harder than a trained network, whose channels are active where their weights are large.
    """
    generator = np.random.default_rng(seed)
    weight = generator.normal(size=(classes, channels))
    own = generator.normal(size=(1, channels)) + generator.normal(size=(classes, channels))
    importance = weight * np.exp(spread * own / np.sqrt(2))
    best = np.argsort(-importance, axis=1)[:, :5]
    return weight, [(c, int(j)) for c in range(classes) for j in best[c]]


def judged(weight: NDArray[np.float64], pairs: Pairs, seed: int) -> tuple[str, str, str, str]:
    """Verdicts on the right head, shuffled columns, shuffled rows, and the head of another network."""
    generator = np.random.default_rng(seed + 1000)
    heads = (
        weight,
        weight[:, generator.permutation(weight.shape[1])],
        weight[generator.permutation(weight.shape[0])],
        generator.normal(size=weight.shape),
    )
    right, columns, rows, foreign = (label_fit(head, pairs).verdict for head in heads)
    return right, columns, rows, foreign


def test_at_the_size_of_imagenet_the_right_head_is_told_from_all_others() -> None:
    weight, pairs = simulated(1000, 2048, seed=0)
    assert judged(weight, pairs, seed=0) == ("fits", "foreign", "foreign", "foreign")
    fit = label_fit(weight, pairs)
    assert fit.position > 0.9
    assert fit.columns.std == pytest.approx(1 / np.sqrt(12 * 5000), rel=0.5)
    assert fit.doubtful == ()


def test_ten_classes_of_64_channels_are_enough() -> None:
    """In 20 of 20 draws, and no other head passes in any: at most 14 % of such labels are refused (95 %)."""
    for seed in range(20):
        weight, pairs = simulated(10, 64, seed)
        assert judged(weight, pairs, seed) == ("fits", "foreign", "foreign", "foreign"), seed


def test_a_handful_of_labels_is_not_judged() -> None:
    weight, pairs = simulated(10, 64, seed=0)
    fit = label_fit(weight, pairs[:5])
    assert fit.verdict == "undecided"
    with pytest.raises(BankError, match="too few labels to tell") as raised:
        require_fit(fit)
    assert raised.value.remedy


def test_chance_is_what_labels_at_random_give() -> None:
    weight, _ = simulated(10, 64, seed=0)
    fits = []
    for seed in range(100):
        channels = np.random.default_rng(seed).integers(0, 64, size=50)
        fits.append(label_fit(weight, [(c, int(j)) for c, j in zip(np.repeat(range(10), 5), channels, strict=True)]))
    scores = np.array([(fit.position - fit.columns.mean) / fit.columns.std for fit in fits])
    assert scores.mean() == pytest.approx(0, abs=0.25)
    assert scores.std() == pytest.approx(1, abs=0.25)
    assert {fit.verdict for fit in fits} == {"foreign"}


def test_channels_that_are_strong_for_every_class_do_not_pass_for_labels() -> None:
    weight, _ = simulated(10, 64, seed=0)
    weight[:, :5] += 10
    everywhere = [(c, j) for c in range(10) for j in range(5)]
    fit = label_fit(weight, everywhere)
    assert fit.position > 0.9
    assert fit.verdict == "foreign"


def test_single_classes_that_do_not_fit_are_named() -> None:
    weight, pairs = simulated(100, 512, seed=0)
    weight[[3, 70]] *= -1
    fit = label_fit(weight, pairs)
    assert fit.verdict == "fits"
    assert fit.doubtful == (3, 70)


def test_a_refusal_states_what_was_measured() -> None:
    weight, pairs = simulated(50, 128, seed=0)
    with pytest.raises(BankError, match=r"another checkpoint: mean position 0\.\d+ of 250 labelled weights") as raised:
        require_fit(label_fit(weight[:, ::-1].copy(), pairs))
    assert raised.value.field == "encoder"
    require_fit(label_fit(weight, pairs))


@pytest.mark.parametrize("name", ["planted", "cifar10"])
def test_the_shipped_banks_fit_their_own_heads_only(name: str) -> None:
    path = find_banks()[name]
    weight = load_file(path / WEIGHTS)["fc.weight"].astype(np.float64)
    pairs = [(feature.class_index, feature.feature_index) for feature in Bank.load(path).manifest.features]
    assert judged(weight, pairs, seed=0) == ("fits", "foreign", "foreign", "foreign")


def test_the_same_seed_gives_the_same_figures() -> None:
    weight, pairs = simulated(10, 64, seed=0)
    first: LabelFit = label_fit(weight, pairs, seed=3)
    assert label_fit(weight, pairs, seed=3) == first


def test_bad_heads_and_labels_outside_are_refused() -> None:
    weight, pairs = simulated(10, 64, seed=0)
    for outside in ((10, 0), (0, 64), (-1, 0)):
        with pytest.raises(BankError, match="outside the head of 10 classes x 64 channels"):
            label_fit(weight, [*pairs, outside])
    weight[2, 3] = np.nan
    with pytest.raises(BankError, match="not finite"):
        label_fit(weight, pairs)
