import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from heedful.numerics.masks import lengths_to_mask
from heedful.numerics.policy_losses import entropy_bonus, ppo_clip, value_clip
from tests.tolerances import FP32

RATIOS = [1.5, 0.5, 1.1, 1.5, 0.5]
GAINS = [2.0, 2.0, -1.0, -1.0, -1.0]
# Clip 0.2. -A r against -A clip(r): -3 | -2.4, -1 | -1.6, 1.1 | 1.1, 1.5 | 1.2, 0.5 | 0.8; the larger of each:
WORSE = [-2.4, -1.0, 1.1, 1.5, 0.8]
# The gradient of -A r in log r is -A r where that side is used, else 0.
GRADIENT = [0.0, -1.0, 1.1, 1.5, 0.0]


def case(ratios: list[float] = RATIOS) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One padded column with numbers that would overflow."""
    old = torch.full((1, 6), -1.0)
    new = torch.tensor([[*(-1.0 + math.log(r) for r in ratios), 500.0]]).requires_grad_()
    return new, old, torch.tensor([[*GAINS, math.nan]]), lengths_to_mask(torch.tensor([5]), 6)


def test_loss_and_gradient_by_hand() -> None:
    new, old, advantages, mask = case()
    found = ppo_clip(new, old, advantages, mask, clip_range=0.2)
    found.loss.backward()
    assert_close(found.loss.item(), sum(WORSE) / 5, atol=FP32, rtol=FP32)
    assert_close(new.grad, torch.tensor([[*(g / 5 for g in GRADIENT), 0.0]]), atol=FP32, rtol=FP32)


def test_metrics_by_hand() -> None:
    found = ppo_clip(*case(), clip_range=0.2)
    assert_close(found.clip_fraction.item(), 2 / 5, atol=FP32, rtol=FP32)
    assert_close(found.ratio_mean.item(), sum(RATIOS) / 5, atol=FP32, rtol=FP32)
    assert_close(found.ratio_deviation.item(), 0.5, atol=FP32, rtol=FP32)
    expected = sum(r - 1 - math.log(r) for r in RATIOS) / 5
    assert_close(found.approx_kl.item(), expected, atol=FP32, rtol=FP32)
    assert not any(x.requires_grad for x in found[1:])


def test_ratio_of_one_before_the_first_step() -> None:
    found = ppo_clip(*case([1.0] * 5), clip_range=0.2)
    assert (found.ratio_mean, found.ratio_deviation, found.clip_fraction, found.approx_kl) == (1.0, 0.0, 0.0, 0.0)
    assert_close(found.loss.item(), -sum(GAINS) / 5, atol=FP32, rtol=FP32)


def test_normalizer_divides_every_mean_but_not_the_largest() -> None:
    found = ppo_clip(*case(), clip_range=0.2, normalizer=50)
    alone = ppo_clip(*case(), clip_range=0.2)
    for name in ("loss", "clip_fraction", "approx_kl", "ratio_mean"):
        assert_close(getattr(found, name), getattr(alone, name) / 10, atol=FP32, rtol=FP32)
    assert found.ratio_deviation == alone.ratio_deviation


def test_advantages_and_old_logprobs_get_no_gradient() -> None:
    new, old, advantages, mask = case()
    old.requires_grad_()
    advantages.requires_grad_()
    ppo_clip(new, old, advantages, mask, clip_range=0.2).loss.backward()
    assert old.grad is None
    assert advantages.grad is None


# Target 1, clip 0.2, old value 2. New 2.5: 1.5^2 = 2.25 against 1.2^2 = 1.44. New 1.5: 0.25 against 0.8^2 = 0.64 (the
# clipped one is worse). New 2.1: both 1.21. Old value 0, new 0.5: 0.25 against 0.8^2 = 0.64.
NEW, OLD = [2.5, 1.5, 2.1, 0.5], [2.0, 2.0, 2.0, 0.0]


def values(normalizer: float | None = None) -> tuple[Tensor, Tensor, Tensor]:
    new = torch.tensor([[*NEW, math.inf]]).requires_grad_()
    mask = lengths_to_mask(torch.tensor([4]), 5)
    returns = torch.tensor([[1.0, 1.0, 1.0, 1.0, math.nan]])
    found = value_clip(new, torch.tensor([[*OLD, 3.0]]), returns, mask, clip_range=0.2, normalizer=normalizer)
    found.loss.backward()
    return found.loss.detach(), found.clip_fraction, new.grad


def test_value_loss_by_hand() -> None:
    loss, clip_fraction, gradient = values()
    assert_close(loss.item(), 0.5 * (2.25 + 0.64 + 1.21 + 0.64) / 4, atol=FP32, rtol=FP32)
    assert clip_fraction.item() == 0.5
    assert_close(gradient, torch.tensor([[1.5 / 4, 0.0, 1.1 / 4, 0.0, 0.0]]), atol=FP32, rtol=FP32)


def test_value_loss_with_normalizer() -> None:
    loss, clip_fraction, gradient = values(normalizer=8)
    assert_close(loss.item(), 0.5 * (2.25 + 0.64 + 1.21 + 0.64) / 8, atol=FP32, rtol=FP32)
    assert clip_fraction.item() == 0.25
    assert_close(gradient[0, 0].item(), 1.5 / 8, atol=FP32, rtol=FP32)


def test_value_loss_without_clipping() -> None:
    new, old, mask = torch.tensor([[3.0]]), torch.tensor([[1.0]]), torch.tensor([[True]])
    found = value_clip(new, old, torch.tensor([[0.0]]), mask, clip_range=math.inf)
    assert found.loss.item() == 4.5
    assert found.clip_fraction.item() == 0.0


def test_value_targets_get_no_gradient() -> None:
    new, old, target = (torch.tensor([[x]], requires_grad=True) for x in (1.5, 1.0, 0.0))
    value_clip(new, old, target, torch.tensor([[True]]), clip_range=0.2).loss.backward()
    assert old.grad is None
    assert target.grad is None


@pytest.mark.parametrize(("normalizer", "expected"), [(None, 1.5), (4, 0.75), (torch.tensor(4.0), 0.75)])
def test_entropy_bonus_by_hand(normalizer: float | Tensor | None, expected: float) -> None:
    entropy = torch.tensor([[1.0, 2.0, math.nan]])
    assert entropy_bonus(entropy, lengths_to_mask(torch.tensor([2]), 3), normalizer).item() == expected
