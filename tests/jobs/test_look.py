"""The first pass: who is looked at and who is left out, in whose group pictures are, and what is kept of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest
import torch
from torch import Tensor

from jobs.datasets import Sample
from jobs.discovery_request import DiscoveryRequest
from jobs.errors import Cancelled
from jobs.failures import find_failures
from jobs.look import CLASS_NOT_CHOSEN, CLASS_NOT_IN_ENCODER, Inspected, Seen, look
from jobs.phi_sample import PhiSample
from models.backbone import Backbone
from models.errors import FeaturesError
from models.importance import Grouping
from tests.jobs import world

HEN, OWL = 0, 1
OF_LABEL = np.array([HEN, OWL, -1], dtype=np.int32)
"""The third folder is of something that the encoder does not know."""

GREEN = world.COLOURS.index(world.GREEN)


def samples() -> list[Sample]:
    """Four hens, three owls that look like hens, two owls, two of the third folder, and a hen that cannot be read."""
    shown = [*world.samples(4, 0), *world.samples(3, 0), *world.samples(0, 2), *world.samples(2, 0)]
    labels = [0] * 4 + [1] * 5 + [2] * 2
    found = [one._replace(row=row, label=label) for row, (one, label) in enumerate(zip(shown, labels, strict=True))]
    return [*found, Sample(len(found), "hen/broken.png", 0, b"no picture")]


def see(
    grouping: Grouping = "label",
    classes: set[int] | None = None,
    *,
    backbone: Backbone | None = None,
    of: Iterable[Sample] | None = None,
    inspected: Inspected | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Seen:
    shown = samples() if of is None else of
    return look(shown, backbone or world.backbone(), OF_LABEL, grouping, 4, 10**6, inspected, progress, classes)


def members(seen: Seen, index: int) -> list[int]:
    return seen.sample.row[seen.sample.group == index].tolist()


def test_what_is_left_out_is_counted_by_its_own_reason() -> None:
    assert see().skipped == {CLASS_NOT_IN_ENCODER: 2, "not_a_picture": 1}
    for grouping in ("label", "both"):
        chosen = see(grouping, {OWL})
        assert chosen.skipped == {CLASS_NOT_CHOSEN: 5, CLASS_NOT_IN_ENCODER: 2}
        assert (chosen.pictures, chosen.labelled) == (5, {OWL: 5})


def test_each_convention_groups_the_same_pictures_its_own_way() -> None:
    seen = {grouping: see(grouping) for grouping in ("predicted", "label", "both")}
    assert {name: (members(one, HEN), members(one, OWL)) for name, one in seen.items()} == {
        "predicted": ([0, 1, 2, 3, 4, 5, 6], [7, 8]),
        "label": ([0, 1, 2, 3], [4, 5, 6, 7, 8]),
        "both": ([0, 1, 2, 3], [7, 8]),
    }
    assert {(one.pictures, one.right) for one in seen.values()} == {(9, 6)}


@pytest.mark.parametrize("grouping", ["predicted", "label", "both"])
def test_a_class_s_group_does_not_depend_on_which_others_are_looked_at(grouping: Grouping) -> None:
    """Owls taken for hens are in the hens' group by prediction, whether owls are asked for or not."""
    every, alone = see(grouping), see(grouping, {HEN})
    assert members(alone, HEN) == members(every, HEN)
    assert set(alone.sample.group.tolist()) == {HEN}
    own = every.sample.take(every.sample.group == HEN)
    assert np.array_equal(alone.sample.phi, own.phi)
    assert np.array_equal(alone.sample.label, own.label)


@pytest.mark.parametrize("part", ["weight", "bias"])
def test_an_encoder_that_gives_no_numbers_is_refused_with_its_pictures(part: str) -> None:
    """With NaN in the head every picture would be predicted as the class of that row."""
    backbone = world.backbone()
    getattr(backbone, part)[2] = torch.nan
    with pytest.raises(FeaturesError, match="not finite for pictures of rows 0 to 3"):
        see(classes={HEN}, backbone=backbone)


def test_a_look_stops_within_one_batch_even_where_everything_is_left_out() -> None:
    taken: list[int] = []

    def stop(done: int) -> None:
        raise Cancelled("Job x is cancelled.")

    foreign = [one._replace(label=2) for one in world.samples(20, 0)]
    for shown in (foreign, world.samples(20, 0)):
        taken.clear()
        with pytest.raises(Cancelled):
            see(of=world.counted(shown, taken), progress=stop)
        assert len(taken) == 4


def test_progress_counts_samples_left_out_and_ends_with_all() -> None:
    told: list[int] = []
    see(progress=told.append)
    assert told == sorted(told)
    assert told[-1] == len(samples())


def test_what_an_inspected_classifier_relies_on_tells_its_failures() -> None:
    """It takes for hens what shows green: it fails on all hens without, and green below a threshold says so."""
    shown = world.samples(60, 0, cue=lambda i: i % 3 > 0)

    def predict(pictures: Tensor) -> np.ndarray:
        return world.looking_at(world.GREEN)(pictures.float().numpy() / 255).argmax(axis=1).astype(np.int32)

    seen = see(of=shown, inspected=Inspected(world.PREPROCESSING, predict))
    assert (seen.sample.inspected == OWL).tolist() == [i % 3 == 0 for i in range(60)]
    request = DiscoveryRequest(dataset="d", encoder="e", grouping="label", classifier="c")
    ((feature, figures),), note = find_failures(seen.sample, request)
    assert (feature, figures.below, figures.pictures, note) == (GREEN, True, 20, "")
    assert (figures.error_rate, figures.error_coverage, figures.held_out_aler) == (1, 1, 1)
    assert figures.base_error_rate == pytest.approx(1 / 3)
    assert figures.p_value == 1 / 200


def test_a_classifier_that_never_fails_has_no_failure_mode() -> None:
    seen = see(of=world.samples(40, 0), inspected=Inspected(world.PREPROCESSING, lambda p: np.zeros(len(p), np.int32)))
    request = DiscoveryRequest(dataset="d", encoder="e", grouping="label", classifier="c")
    assert find_failures(seen.sample, request) == ([], "No failure mode of the classifier: no picture fails.")


def test_nothing_at_all_is_kept_of_no_pictures() -> None:
    seen = see(of=[])
    assert isinstance(seen.sample, PhiSample)
    assert (len(seen.sample), seen.pictures, seen.sample.phi.shape[1]) == (0, 0, len(world.COLOURS))
