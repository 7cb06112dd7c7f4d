"""Core only, spurious only, both, neither."""

import torch

from models.partition import COVERED_FROM, PARTS, partition, without_core


def test_the_four_parts_of_a_picture_that_is_counted_by_hand() -> None:
    core, spurious = torch.zeros(1, 10, 10), torch.zeros(1, 10, 10)
    core[0, :, :4] = 1.0
    spurious[0, :, 3:9] = COVERED_FROM  # from the threshold on a pixel counts
    spurious[0, :, 9] = COVERED_FROM - 0.01
    shares = dict(zip(PARTS, partition(core, spurious)[0].tolist(), strict=True))
    expected = {"core_only": 0.3, "spurious_only": 0.5, "both": 0.1, "neither": 0.1}
    assert {part: round(share, 6) for part, share in shares.items()} == expected


def test_the_spurious_mask_without_the_core_covers_exactly_the_spurious_only_part() -> None:
    generator = torch.Generator().manual_seed(0)
    core, spurious = torch.rand(5, 20, 20, generator=generator), torch.rand(5, 20, 20, generator=generator)
    alone = without_core(spurious, core)
    assert torch.equal(alone > COVERED_FROM, (spurious > COVERED_FROM) & (core < COVERED_FROM))
    assert bool((alone <= spurious).all())
    assert torch.equal(without_core(spurious, torch.zeros_like(core)), spurious)
    assert not without_core(spurious, torch.ones_like(core)).any()
    torch.testing.assert_close(partition(core, spurious).sum(dim=1), torch.ones(5))
