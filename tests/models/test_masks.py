"""Neural activation maps and their unions."""

from __future__ import annotations

import torch

from models.masks import Selection, nams, union
from tests.models.conftest import labelled


def test_a_nam_peaks_at_one_where_its_map_peaks() -> None:
    maps = torch.rand(2, 3, 5, 4)
    result = nams(maps)
    assert torch.equal(result.flatten(2).argmax(2), maps.flatten(2).argmax(2))
    assert torch.allclose(result.amax((2, 3)), torch.ones(2, 3))


def test_a_silent_feature_gives_zeros_not_nan() -> None:
    maps = torch.rand(1, 2, 5, 5)
    maps[0, 1] = 0
    assert torch.equal(nams(maps)[0, 1], torch.zeros(5, 5))
    assert torch.isfinite(nams(maps)).all()


def test_union_is_the_pixelwise_maximum_of_members_alone() -> None:
    masks = torch.rand(2, 3, 6, 6)
    members = torch.tensor([[True, False, True], [False, False, False]])
    result = union(masks, members)
    assert torch.equal(result[0], torch.maximum(masks[0, 0], masks[0, 2]))
    assert torch.equal(result[1], torch.zeros(6, 6))


def test_selection_pads_and_gathers_by_picture() -> None:
    rows = [[labelled(0, 4, 1, True, 0.5), labelled(0, 2, 2, False, 0.1)], [labelled(1, 3, 1, False, 0.9)], []]
    selection = Selection.of(rows)
    values = torch.arange(15.0).view(3, 5)
    assert selection.gather(values)[0].tolist() == [4.0, 2.0]
    assert selection.gather(values)[1, 0] == 8.0
    assert selection.core.tolist() == [[True, False], [False, False], [False, False]]
    assert selection.spurious.tolist() == [[False, True], [True, False], [False, False]]


def test_validity_is_judged_by_the_classes_own_bound() -> None:
    selection = Selection.of(
        [[labelled(0, 0, 1, True, 0.5)], [labelled(1, 0, 1, True, 0.1), labelled(1, 1, 2, True, 9)]]
    )
    assert selection.valid(torch.full((2, 2), 0.3)).tolist() == [[False, False], [True, False]]


def test_no_features_at_all_gives_an_empty_mask() -> None:
    selection = Selection.of([[]])
    maps = torch.rand(1, 4, 3, 3)
    assert torch.equal(union(nams(selection.gather(maps)), selection.core), torch.zeros(1, 3, 3))
