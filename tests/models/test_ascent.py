"""Feature attacks and prototypes: climbs that end higher than they began, each on its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from models.ascent import Activation, of_channels, of_directions
from models.backbone import Backbone
from models.bank import Bank
from models.components import ClassComponents
from models.errors import FeaturesError
from models.feature_attack import feature_attack
from models.prototype import GREY, prototypes

PIXELS = 96


@pytest.fixture(scope="module")
def backbone(bank: Bank) -> Backbone:
    return bank.backbone(runtime="torch", precision="fp32")


@pytest.fixture(scope="module")
def shown() -> Tensor:
    return torch.rand(3, 3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(3))


def pattern(seed: int, side: int = 16) -> Tensor:
    return torch.randn(3, side, side, generator=torch.Generator().manual_seed(seed))


def likeness(*patterns: Tensor) -> Activation:
    """Each picture's inner product with a pattern of its own: the best picture is known."""
    return lambda pictures: (pictures * torch.stack(patterns)).flatten(1).sum(dim=1)


def distance(start: Tensor, end: Tensor) -> Tensor:
    return (end - start).flatten(1).norm(dim=1)


def test_an_attack_raises_what_the_network_reads(backbone: Backbone, shown: Tensor) -> None:
    channels = torch.tensor([2, 5, 7])
    attacked = feature_attack(of_channels(backbone.activations, channels), shown, steps=15)
    read = backbone.activations(shown).gather(1, channels[:, None])[:, 0]
    assert (attacked.activations > 2 * read).all()
    torch.testing.assert_close(attacked.trajectory[:, 0], read)
    torch.testing.assert_close(
        attacked.activations, backbone.activations(attacked.pictures).gather(1, channels[:, None])[:, 0]
    )
    assert attacked.trajectory.shape == (3, 16)
    assert (attacked.trajectory.diff(dim=1) >= 0).all()
    assert attacked.pictures.min() >= 0
    assert attacked.pictures.max() <= 1


def test_pairs_attacked_together_are_as_if_attacked_alone(backbone: Backbone, shown: Tensor) -> None:
    channels = torch.tensor([2, 5, 7])
    together = feature_attack(of_channels(backbone.activations, channels), shown, steps=3)
    for row in range(3):
        alone = feature_attack(
            of_channels(backbone.activations, channels[row : row + 1]), shown[row : row + 1], steps=3
        )
        torch.testing.assert_close(alone.trajectory[0], together.trajectory[row], rtol=1e-3, atol=1e-5)


def test_every_step_has_the_published_length_for_its_size_and_ends_at_the_best_picture() -> None:
    wanted = likeness(pattern(0).sign())
    grey = torch.full((1, 3, 16, 16), 0.5)
    one = feature_attack(wanted, grey, steps=1)
    assert float(distance(grey, one.pictures)) == pytest.approx(10 * 16 / 224, rel=1e-4)
    assert float(distance(grey, feature_attack(wanted, grey, steps=1, step=0.25).pictures)) == pytest.approx(0.25)
    many = feature_attack(wanted, grey, steps=400)
    torch.testing.assert_close(many.pictures[0], (pattern(0) > 0).float(), atol=1e-4, rtol=0)


def test_the_best_picture_is_kept_where_a_step_goes_too_far() -> None:
    target = torch.full((2, 3, 8, 8), 0.4)
    attacked = feature_attack(
        lambda x: -distance(target, x), target + torch.tensor([0.0, 0.1]).view(2, 1, 1, 1), step=3
    )
    assert attacked.activations[0] == 0
    assert (attacked.trajectory.diff(dim=1) >= 0).all()
    assert attacked.activations[1] >= attacked.trajectory[1, 0]


def test_a_feature_that_never_fires_leaves_the_picture_as_it_is(shown: Tensor) -> None:
    attacked = feature_attack(lambda x: x.flatten(1).sum(dim=1) * 0, shown, steps=4)
    assert torch.equal(attacked.pictures, shown)
    assert not attacked.trajectory.any()
    assert prototypes(lambda x: x.flatten(1).sum(dim=1) * 0, [(0, 0)], 16, steps=4).pictures.isfinite().all()


@torch.inference_mode()
def test_climbs_work_where_gradients_are_turned_off(backbone: Backbone) -> None:
    pictures = torch.rand(1, 3, PIXELS, PIXELS)
    with torch.inference_mode(False):
        activation = of_channels(backbone.activations, torch.tensor([2]))
    attacked = feature_attack(activation, pictures, steps=2)
    assert attacked.activations[0] > attacked.trajectory[0, 0]
    made = prototypes(activation, [(0, 0)], PIXELS, steps=2)
    assert made.activations[0] > made.trajectory[0, 0]


def test_an_activation_that_is_no_number_is_refused(shown: Tensor) -> None:
    def nothing(pictures: Tensor) -> Tensor:
        return pictures.flatten(1).sum(dim=1) * float("nan")

    with pytest.raises(FeaturesError, match="not a finite number"):
        feature_attack(nothing, shown)
    with pytest.raises(FeaturesError, match="not a finite number"):
        prototypes(nothing, [(0, 0)], 16)


def test_a_prototype_raises_its_component_from_grey(backbone: Backbone, shown: Tensor) -> None:
    found = ClassComponents.of_features(
        backbone.activations(torch.rand(12, 3, PIXELS, PIXELS)), backbone.weight[1], float(backbone.bias[1])
    )
    rows = found.as_components([0, 3])
    made = prototypes(of_directions(backbone.activations, rows.directions), [(1, 0), (1, 3)], PIXELS, steps=12)
    grey = torch.full((1, 3, PIXELS, PIXELS), GREY)
    assert (made.activations > (backbone.activations(grey) @ rows.directions.T)[0]).all()
    assert (made.trajectory.diff(dim=1) >= 0).all()
    assert (made.trajectory[:, -1] > made.trajectory[:, 0]).all()
    torch.testing.assert_close(made.activations - rows.offsets, rows.alphas(backbone.activations(made.pictures)).diag())


@pytest.mark.parametrize("steps", [1, 2, 7, 200])
def test_prototypes_stay_in_the_ball_around_grey(steps: int) -> None:
    made = prototypes(likeness(pattern(0), pattern(1)), [(0, 0), (0, 1)], 16, steps=steps)
    assert made.trajectory.shape == (2, steps + 1)
    far = distance(torch.full((2, 3, 16, 16), GREY), made.pictures).max()
    assert float(far) == pytest.approx(30 * 16 / 224, rel=1e-4)
    assert made.pictures.min() >= 0
    assert made.pictures.max() <= 1


def test_prototypes_reach_the_best_picture_of_the_ball() -> None:
    """The optimum of a linear activation is known, and one that bends needs the shorter steps."""
    radius = 2.0
    wanted = [pattern(0), pattern(1)]
    best = torch.stack([GREY + radius * one / one.norm() for one in wanted])
    made = prototypes(likeness(*wanted), [(0, 0), (0, 1)], 16, radius=radius)
    torch.testing.assert_close(made.pictures, best, atol=1e-3, rtol=0)
    inside = torch.stack([GREY + 0.3 * radius * one / one.norm() for one in wanted])
    bent = prototypes(lambda x: -(x - inside).flatten(1).square().sum(dim=1), [(0, 0), (0, 1)], 16, radius=radius)
    assert (bent.activations > -1e-3).all()
    assert (bent.trajectory[:, 0] < -1).all()


def apgd(activation: Activation, start: Tensor, radius: float, steps: int) -> tuple[list[float], int]:
    """Best values and number of halvings of one climb in the L2 ball around grey, written down again from Croce & Hein
    (ICML 2020), Algorithm 1, with the checkpoints of their code."""

    def project(x: Tensor) -> Tensor:
        away = x - GREY
        return (GREY + away * min(1.0, radius / float(away.norm()))).clamp(0, 1)

    def rising(x: Tensor) -> tuple[float, Tensor]:
        x = x.clone().requires_grad_()
        value = activation(x).sum()
        (gradient,) = torch.autograd.grad(value, x)
        return value.item(), gradient / gradient.norm()

    marks, apart = [0, int(0.22 * steps)], int(0.22 * steps)
    while marks[-1] < steps:
        apart = max(apart - int(0.03 * steps), int(0.06 * steps))
        marks.append(marks[-1] + apart)
    before = here = top = project(GREY + radius * start / start.norm())
    value, direction = rising(here)
    top_direction, values, best, best_then = direction, [value], [value], value
    eta, halvings, halved = 2 * radius, 0, True
    for k in range(1, steps + 1):
        alpha = 0.75 if k > 1 else 1.0
        z = project(here + eta * direction)
        before, here = here, project(here + alpha * (z - here) + (1 - alpha) * (here - before))
        value, direction = rising(here)
        if value > best[-1]:
            top, top_direction = here, direction
        values.append(value)
        best.append(max(best[-1], value))
        if k in marks:
            since = marks[marks.index(k) - 1]
            few = sum(values[i + 1] > values[i] for i in range(since, k)) <= 0.75 * (k - since)
            halved = few or (not halved and best[-1] <= best_then)
            best_then = best[-1]
            if halved:
                eta, halvings, here, direction = eta / 2, halvings + 1, top, top_direction
    return best, halvings


def test_a_prototype_climbs_as_the_published_algorithm_does() -> None:
    """On a bent ridge that is far narrower than a first step, so that steps are halved again and again."""
    target = GREY + 0.2 * torch.nn.functional.normalize(pattern(0).flatten(), dim=0).view(3, 16, 16)
    steepness = 1 + 30 * pattern(1).abs()

    def ridge(pictures: Tensor) -> Tensor:
        return -(steepness * (pictures - target).square()).flatten(1).sum(dim=1)

    start = torch.from_numpy(np.random.default_rng((0, 5, 2)).standard_normal((3, 16, 16), dtype=np.float32))
    expected, halvings = apgd(ridge, start[None], 2.0, 100)
    made = prototypes(ridge, [(5, 2)], 16, steps=100, radius=2.0)
    assert halvings >= 4
    torch.testing.assert_close(made.trajectory[0], torch.tensor(expected), rtol=1e-3, atol=1e-4)


def test_a_prototype_depends_on_its_key_and_seed_and_not_on_its_neighbours() -> None:
    def bumpy(pictures: Tensor) -> Tensor:
        return torch.sin(9 * pictures * pattern(4)).flatten(1).sum(dim=1)

    together = prototypes(bumpy, [(3, 1), (7, 0), (3, 2)], 16, steps=20)
    alone = prototypes(bumpy, [(3, 2)], 16, steps=20)
    torch.testing.assert_close(alone.pictures[0], together.pictures[2], atol=1e-4, rtol=0)
    assert torch.equal(prototypes(bumpy, [(3, 2)], 16, steps=20).pictures, alone.pictures)
    assert not torch.allclose(together.pictures[0], together.pictures[2], atol=1e-2)
    assert not torch.allclose(prototypes(bumpy, [(3, 2)], 16, steps=20, seed=1).pictures, alone.pictures, atol=1e-2)
