import math

import pytest
import torch
from torch.testing import assert_close

from heedful.numerics.advantages import explained_variance, gae, group_relative, leave_one_out
from heedful.numerics.masks import lengths_to_mask
from tests.tolerances import FP32

REWARDS = torch.tensor([[1.0, 2.0, 3.0], [4.0, 9.0, 9.0]])
VALUES = torch.tensor([[0.5, 1.0, 2.0], [1.0, 9.0, 9.0]])
MASK = lengths_to_mask(torch.tensor([3, 1]), 3)


def test_gae_by_hand() -> None:
    """gamma 1/2, lambda 1/2. Row 0: deltas 1 + 0.5 - 0.5 = 1, 2 + 1 - 1 = 2, 3 - 2 = 1; A = 1.5625, 2.25, 1."""
    advantages, returns = gae(REWARDS, VALUES, MASK, gamma=0.5, gae_lambda=0.5)
    assert_close(advantages, torch.tensor([[1.5625, 2.25, 1.0], [3.0, 0.0, 0.0]]), atol=0.0, rtol=0.0)
    assert_close(returns, torch.tensor([[2.0625, 3.25, 3.0], [4.0, 0.0, 0.0]]), atol=0.0, rtol=0.0)


def test_gae_with_bootstrap_by_hand() -> None:
    """A value of 4 after the last decision adds gamma * 4 = 2 there: A_2 = 3, A_1 = 2 + 0.75, A_0 = 1 + 0.6875."""
    bootstrap = torch.tensor([4.0, 0.0])
    advantages, returns = gae(REWARDS, VALUES, MASK, gamma=0.5, gae_lambda=0.5, bootstrap=bootstrap)
    assert_close(advantages, torch.tensor([[1.6875, 2.75, 3.0], [3.0, 0.0, 0.0]]), atol=0.0, rtol=0.0)
    assert_close(returns[0], torch.tensor([2.1875, 3.75, 5.0]), atol=0.0, rtol=0.0)


def test_bootstrap_of_a_short_row_stands_after_its_last_real_decision() -> None:
    advantages, _ = gae(REWARDS, VALUES, MASK, gamma=0.5, gae_lambda=0.5, bootstrap=torch.tensor([0.0, 8.0]))
    assert_close(advantages[1], torch.tensor([4.0 + 4.0 - 1.0, 0.0, 0.0]), atol=0.0, rtol=0.0)


def test_gae_is_fp32_without_gradients() -> None:
    values = VALUES.bfloat16().requires_grad_()
    rewards = REWARDS.clone().requires_grad_()
    found = gae(rewards, values, MASK, gamma=1.0, gae_lambda=0.95, bootstrap=values[:, 0])
    assert all(x.dtype == torch.float32 and not x.requires_grad for x in found)


def test_padding_may_hold_anything() -> None:
    rewards, values = REWARDS.masked_fill(~MASK, math.nan), VALUES.masked_fill(~MASK, math.inf)
    for found, expected in zip(
        gae(rewards, values, MASK, gamma=0.5, gae_lambda=0.5),
        gae(REWARDS, VALUES, MASK, gamma=0.5, gae_lambda=0.5),
        strict=True,
    ):
        assert torch.equal(found, expected)


def test_leave_one_out_by_hand() -> None:
    """Groups {1, 2, 6} and {5}, rows mixed: 1 - 4, 2 - 3.5, 6 - 1.5; one alone gets 0."""
    scores, group = torch.tensor([1.0, 5.0, 2.0, 6.0]), torch.tensor([7, -3, 7, 7])
    assert_close(leave_one_out(scores, group), torch.tensor([-3.0, 0.0, -1.5, 4.5]), atol=FP32, rtol=FP32)


def test_group_relative_by_hand() -> None:
    """Group {1, 3}: mean 2, sd sqrt(2); group {4, 4}: no spread; one alone."""
    scores, group = torch.tensor([1.0, 4.0, 3.0, 4.0, 9.0]), torch.tensor([0, 1, 0, 1, 2])
    assert_close(
        group_relative(scores, group, scale=False), torch.tensor([-1.0, 0.0, 1.0, 0.0, 0.0]), atol=FP32, rtol=FP32
    )
    unit = 1 / (math.sqrt(2) + 1e-4)
    expected = torch.tensor([-unit, 0.0, unit, 0.0, 0.0])
    assert_close(group_relative(scores, group, scale=True), expected, atol=FP32, rtol=FP32)


def test_bessel_in_a_group_of_three() -> None:
    """{0, 3, 6}: squares sum to 18, over n - 1 = 2 is 9: sd 3."""
    found = group_relative(torch.tensor([0.0, 3.0, 6.0]), torch.tensor([1, 1, 1]), scale=True)
    assert_close(found, torch.tensor([-3 / 3.0001, 0.0, 3 / 3.0001]), atol=FP32, rtol=FP32)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 2.0, 6.0], 1.0),  # perfect
        ([3.0, 3.0, 3.0], 0.0),  # the mean: error 14/3, variance 14/3
        ([2.0, 3.0, 7.0], 1 - 1 / (14 / 3)),  # one too high everywhere: error 1
        ([7.0, 6.0, 2.0], 1 - (36 + 16 + 16) / 14),
    ],
)
def test_explained_variance_by_hand(values: list[float], expected: float) -> None:
    returns = torch.tensor([[1.0, 2.0, 6.0, 90.0]])
    mask = lengths_to_mask(torch.tensor([3]), 4)
    found = explained_variance(torch.tensor([[*values, -5.0]]), returns, mask)
    assert_close(found, torch.tensor(expected), atol=FP32, rtol=FP32)


def test_explained_variance_of_constant_returns_is_zero() -> None:
    mask = torch.ones(1, 3, dtype=torch.bool)
    assert explained_variance(torch.randn(1, 3), torch.full((1, 3), 2.0), mask).item() == 0.0
