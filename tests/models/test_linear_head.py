"""A head on features of a frozen network: the optimum of its loss, for features as they are, in the right place."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from models import architectures
from models.training import linear_head
from models.training.linear_head import fit_head, without_head

DECAY = 1e-2


@pytest.fixture
def features() -> torch.Tensor:
    """Of very different scales, one of which never varies."""
    drawn = torch.randn(90, 6, generator=torch.Generator().manual_seed(0)).abs()
    drawn[:, 3] = 7
    return drawn * torch.tensor([1, 100, 0.01, 1, 1, 1])


@pytest.fixture
def labels(features: torch.Tensor) -> torch.Tensor:
    noise = torch.randn(len(features), generator=torch.Generator().manual_seed(1))
    return torch.bucketize(features[:, 1] / 100 + features[:, 4] + noise / 2, torch.tensor([0.7, 1.5]))


def test_no_step_from_the_head_lowers_its_loss(features: torch.Tensor, labels: torch.Tensor) -> None:
    head = fit_head(features, labels, 3, DECAY)
    std = features.std(dim=0, unbiased=False).clamp(min=1e-6)
    weight, bias = (value.double().requires_grad_() for value in (head.weight * std, head.bias))
    logits = (features.double() / std) @ weight.T + bias
    loss = functional.cross_entropy(logits, labels)
    assert float(loss) == pytest.approx(head.loss, abs=1e-5)
    (loss + DECAY / 2 * weight.square().sum()).backward()
    assert weight.grad is not None
    assert bias.grad is not None
    varying = std > 1e-3
    assert float(weight.grad[:, varying].abs().max()) < 1e-4
    assert float(bias.grad.abs().max()) < 1e-4
    assert head.loss < 0.8 * float(torch.log(torch.tensor(3.0)))


def test_a_feature_that_never_varies_gets_no_weight(features: torch.Tensor, labels: torch.Tensor) -> None:
    head = fit_head(features, labels, 3, DECAY)
    assert head.weight[:, 3].abs().max() == 0
    assert torch.isfinite(head.weight).all()


def test_reading_in_parts_changes_next_to_nothing(
    features: torch.Tensor, labels: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fit_head(features, labels, 3, DECAY)
    assert torch.equal(whole.weight, fit_head(features, labels, 3, DECAY).weight)
    monkeypatch.setattr(linear_head, "CHUNK", 7)
    parts = fit_head(features, labels, 3, DECAY)
    torch.testing.assert_close(parts.weight, whole.weight, rtol=1e-2, atol=1e-3)  # but for rounding


def test_a_fit_that_is_no_longer_wanted_ends(features: torch.Tensor, labels: torch.Tensor) -> None:
    calls = 0

    def still_wanted() -> None:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_head(features, labels, 3, DECAY, still_wanted)


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "mobilenet_v2"])
def test_a_head_takes_the_place_of_the_networks_own(name: str) -> None:
    with torch.device("meta"):
        old, new = architectures.build(name, 7), architectures.build(name, 3)
    width = architectures.head(name, old).in_features
    head = linear_head.Head(torch.ones(3, width), torch.zeros(3), 0.0)
    state = head.on(old.state_dict(), name)
    new.load_state_dict(state, assign=True)
    assert torch.equal(architectures.head(name, new).weight, head.weight)
    left = without_head(old.state_dict(), name)
    assert len(left) == len(old.state_dict()) - 2
    assert set(new.load_state_dict(left, strict=False, assign=True).missing_keys) == set(state) - set(left)
