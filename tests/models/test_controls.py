"""Area-matched controls: the same mask elsewhere."""

import torch

from models.controls import control_offsets, roll, shared_fraction


def blob(side: int, top: int, left: int, size: int) -> torch.Tensor:
    mask = torch.zeros(side, side)
    mask[top : top + size, left : left + size] = torch.linspace(0.2, 1, size)[:, None]
    return mask


def test_a_control_has_the_same_values_elsewhere() -> None:
    masks = torch.rand(5, 96, 96).pow(4)
    controls = roll(masks, control_offsets(masks, masks))
    assert torch.equal(controls.flatten(1).sort().values, masks.flatten(1).sort().values)


def test_rolling_is_circular_and_by_rows_then_columns() -> None:
    masks = torch.rand(3, 20, 24)
    offsets = torch.tensor([[0, 0], [3, 0], [19, 5]])
    expected = torch.stack([m.roll((int(dy), int(dx)), (0, 1)) for m, (dy, dx) in zip(masks, offsets, strict=True)])
    assert torch.equal(roll(masks, offsets), expected)


def test_the_control_of_a_small_mask_leaves_the_tested_and_core_regions() -> None:
    tested = torch.stack([blob(96, 6, 6, 24), blob(96, 60, 30, 24)])
    core = torch.stack([blob(96, 42, 42, 36), blob(96, 0, 0, 42)])
    controls = roll(tested, control_offsets(tested, torch.maximum(tested, core)))
    assert torch.equal(shared_fraction(tested, controls), torch.zeros(2))
    assert float((controls * core).sum()) == 0


def test_the_offset_is_the_best_of_all_that_are_searched() -> None:
    torch.manual_seed(0)
    tested, avoid = torch.rand(32, 32).pow(3), torch.rand(32, 32).pow(3)
    chosen = roll(tested[None], control_offsets(tested[None], avoid[None]))[0]
    overlaps = [
        float((tested.roll((dy, dx), (0, 1)) * avoid).sum()) for dy in range(0, 32, 2) for dx in range(0, 32, 2)
    ]
    # searched on cells of 2 x 2 pixels: good to the detail lost there
    assert float((chosen * avoid).sum()) <= min(overlaps) * 1.02


def test_a_mask_that_covers_everything_shares_all_of_itself() -> None:
    """Its control is the same mask: no difference could show, and the shared fraction says so."""
    masks = torch.ones(1, 32, 32)
    controls = roll(masks, control_offsets(masks, masks))
    assert float(shared_fraction(masks, controls)[0]) == 1


def test_one_picture_gets_the_same_control_alone_and_in_a_batch() -> None:
    masks, avoid = torch.rand(7, 48, 48).pow(3), torch.rand(7, 48, 48).pow(3)
    together = control_offsets(masks, avoid)
    alone = torch.cat([control_offsets(masks[i : i + 1], avoid[i : i + 1]) for i in range(7)])
    assert torch.equal(together, alone)


def test_a_silent_mask_has_a_silent_control() -> None:
    masks = torch.zeros(1, 16, 16)
    assert torch.equal(control_offsets(masks, masks), torch.zeros(1, 2, dtype=torch.int64))
    assert float(shared_fraction(masks, masks)[0]) == 1
