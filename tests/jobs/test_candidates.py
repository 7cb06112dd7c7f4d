"""Candidates of one class: which components, whose failures, and what is said where there are fewer."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load, save_file

from jobs.candidates import Found, find_candidates
from jobs.class_statistics import ClassStatistics
from jobs.discovery_request import DiscoveryRequest
from jobs.look import Seen
from jobs.phi_sample import PhiSample
from jobs.selection import ChosenClass, select
from models import architectures
from models.backbone import Backbone
from models.components import ClassComponents
from tests.models.conftest import ARGUMENTS, CLASSES, PREPROCESSING

CAT, CHANNELS = 2, 24
FAILS_BELOW, THRESHOLD = 11, 0.3


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    torch.manual_seed(0)
    weights = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_file(architectures.build("small_resnet", len(CLASSES), ARGUMENTS).state_dict(), weights)
    return Backbone.load(
        weights,
        architecture="small_resnet",
        arguments=ARGUMENTS,
        num_classes=len(CLASSES),
        preprocessing=PREPROCESSING,
        runtime="torch",
    )


def sample(pictures: int = 60, fails_on: int = FAILS_BELOW) -> PhiSample:
    """Of cats alone; an inspected classifier takes them for dogs where one feature is weak."""
    phi = np.random.default_rng(0).random((pictures, CHANNELS)).astype(np.float32)
    cats = np.full(pictures, CAT, np.int32)
    inspected = np.where(phi[:, fails_on] < THRESHOLD, CAT + 1, CAT).astype(np.int32)
    return PhiSample(np.arange(pictures) * 3, cats, cats, inspected, phi)


def chosen(of: PhiSample, backbone: Backbone, channels: int) -> ChosenClass:
    seen = Seen(of, len(of), 0, Counter({CAT: len(of)}), Counter())
    return select(ClassStatistics.of(seen, 3, {}), backbone.weight.numpy(), [CAT], channels).classes[0]


def find(
    backbone: Backbone, of: PhiSample, first: ChosenClass | None = None, **changes: object
) -> tuple[list[Found], bytes | None, str]:
    request = DiscoveryRequest.model_validate(
        {"dataset": "d", "encoder": "e", "grouping": "label", "channels": 0, "prototype_steps": 2, "exemplars": 3}
        | changes
    )
    picked = first or chosen(of, backbone, request.channels)
    return find_candidates(picked, of, backbone, backbone.activations, request)


def test_the_components_of_the_likeliest_prototypes_among_the_first_are_candidates(backbone: Backbone) -> None:
    of = sample()
    every = {one.component: one for one in find(backbone, of, components=6, component_candidates=6)[0]}
    assert set(every) == set(range(6))
    surest = sorted(every, key=lambda place: -every[place].prototype.probability)  # type: ignore[union-attr]
    assert surest != sorted(surest), "the order by eigenvalue would not tell"
    best, stored, note = find(backbone, of, components=2, component_candidates=6)
    assert [one.component for one in best] == surest[:2]
    assert note == ""
    among_three = [place for place in surest if place is not None and place < 3]
    assert [one.component for one in find(backbone, of, components=2, component_candidates=3)[0]] == among_three[:2]
    own = ClassComponents.of_features(torch.from_numpy(of.phi), backbone.weight[CAT], float(backbone.bias[CAT]))
    assert stored is not None
    torch.testing.assert_close(load(stored)["directions"], own.as_components(surest[:2]).directions)
    alphas = own.alphas(torch.from_numpy(of.phi)).numpy()
    for number, one in enumerate(best):
        assert one.feature_index == CHANNELS + 2 * CAT + number
        strongest = np.argsort(-alphas[:, one.component], kind="stable")[:3]
        assert [row for row, _ in one.strongest] == of.row[strongest].tolist()


def test_a_climb_reads_alpha_for_a_component_and_phi_for_a_channel(backbone: Backbone) -> None:
    pictures = torch.rand(2, 3, PREPROCESSING.size, PREPROCESSING.size)
    phi = backbone.activations(pictures)
    channel, component = find(backbone, sample(), channels=1, components=1, component_candidates=2)[0]
    torch.testing.assert_close(channel.activation(backbone.activations)(pictures), phi[:, channel.feature_index])
    expected = phi @ component.direction - component.offset
    torch.testing.assert_close(component.activation(backbone.activations)(pictures), expected)


def test_a_feature_that_tells_failures_joins_the_candidates(backbone: Backbone) -> None:
    of = sample()
    (alone,), _, note = find(backbone, of, classifier="c")
    assert (alone.feature_index, alone.sources, note) == (FAILS_BELOW, ("failure",), "")
    assert alone.failure is not None
    assert (alone.failure.below, alone.failure.error_rate) == (True, 1)
    activation = of.phi[:, FAILS_BELOW].astype(np.float64)
    assert alone.importance == pytest.approx(activation.mean() * float(backbone.weight[CAT, FAILS_BELOW]), rel=1e-5)
    best = np.argsort(-activation, kind="stable")[:3]
    assert [row for row, _ in alone.strongest] == of.row[best].tolist()
    torch.testing.assert_close(alone.direction.nonzero(), torch.tensor([[FAILS_BELOW]]))


def test_a_candidate_that_tells_failures_is_marked_and_not_shown_twice(backbone: Backbone) -> None:
    (plain,), _, _ = find(backbone, sample(), channels=1)
    assert plain.feature_index != FAILS_BELOW
    of = sample(fails_on=plain.feature_index)
    (marked,), _, _ = find(backbone, of, channels=1, classifier="c")
    assert (marked.feature_index, marked.sources) == (plain.feature_index, ("importance", "failure"))
    assert marked.failure is not None
    assert (marked.importance, marked.strongest) == (plain.importance, plain.strongest)


def test_what_is_left_out_of_a_request_is_as_published() -> None:
    """Five channels and exemplars and attacks of 100 steps (Salient ImageNet); 128 components, 200 steps (Neuhaus)."""
    request = DiscoveryRequest(dataset="d", encoder="e")
    assert (request.grouping, request.channels, request.exemplars, request.attack_steps) == ("predicted", 5, 5, 100)
    assert (request.component_candidates, request.prototype_steps, request.failure_depth) == (128, 200, 1)


def test_pictures_that_are_all_alike_have_no_component(backbone: Backbone) -> None:
    of = sample(4)
    alike = replace(of, phi=np.repeat(of.phi[:1], 4, axis=0))
    found, stored, note = find(backbone, alike, components=2, channels=1)
    assert [one.sources for one in found] == [("importance",)]
    assert found[0].statistics.std == 0
    assert "4 pictures span only 0 components" in note
    assert stored is not None


def test_a_class_whose_features_never_fire_has_no_candidate(backbone: Backbone) -> None:
    of = sample(30)
    silent = replace(of, phi=np.zeros_like(of.phi))
    found, _, note = find(backbone, silent, channels=5, components=2, classifier="c")
    assert found == []
    assert "Only 0 channels" in note
    assert "span only 0 components" in note
    assert "no feature tells failures from successes" in note


def test_fewer_than_asked_for_are_explained(backbone: Backbone) -> None:
    of = sample()
    nobody = of.take(of.row < 0)
    assert find(backbone, nobody)[2] == "No picture is in the group of this class (grouping: label)."
    group = chosen(of, backbone, 3)
    assert "None of the 60 pictures in its group was drawn" in find(backbone, nobody, group, channels=3)[2]
    assert "at least two pictures" in find(backbone, of.take(of.row == 0), components=1)[2]
    assert "every picture fails" in find(backbone, replace(of, inspected=of.label + 1), classifier="c")[2]
