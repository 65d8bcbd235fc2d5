import math

import pytest
import torch
from torch.testing import assert_close

from heedful.numerics.masks import (
    lengths_to_mask,
    masked_mean,
    masked_sum,
    masked_var,
    one_longer,
    whiten,
)
from tests.tolerances import FP32

X = torch.tensor([[1.0, 2.0, 90.0], [6.0, math.nan, math.inf]])
MASK = torch.tensor([[True, True, False], [True, False, False]])  # real: 1, 2, 6


def test_sum_and_mean_by_hand() -> None:
    assert masked_sum(X, MASK) == 9.0
    assert masked_mean(X, MASK) == 3.0
    assert_close(masked_sum(X, MASK, 1), torch.tensor([3.0, 6.0]))
    assert_close(masked_mean(X, MASK, 1), torch.tensor([1.5, 6.0]))
    assert_close(masked_sum(X, MASK, 0), torch.tensor([7.0, 2.0, 0.0]))
    assert_close(masked_mean(X, MASK, 0), torch.tensor([3.5, 2.0, 0.0]))


def test_nothing_real_gives_zero() -> None:
    nothing = torch.zeros_like(MASK)
    assert masked_sum(X, nothing) == 0
    assert masked_mean(X, nothing) == 0
    assert masked_var(X, nothing, unbiased=True) == 0
    assert torch.equal(whiten(X, nothing, unbiased=True), torch.zeros(2, 3))


def test_variance_by_hand() -> None:
    """Deviations -2, -1, 3: squares sum to 14."""
    assert_close(masked_var(X, MASK, unbiased=False), torch.tensor(14 / 3))
    assert_close(masked_var(X, MASK, unbiased=True), torch.tensor(7.0))


def test_variance_of_one_number_is_zero() -> None:
    one = torch.tensor([[True, False, False], [False, False, False]])
    assert masked_var(X, one, unbiased=True) == 0
    assert masked_var(X, one, unbiased=False) == 0
    assert torch.equal(whiten(X, one, unbiased=True), torch.zeros(2, 3))


@pytest.mark.parametrize(("unbiased", "variance"), [(True, 7.0), (False, 14 / 3)])
@pytest.mark.parametrize(("shift_mean", "mean"), [(True, 0.0), (False, 3.0)])
def test_whiten_by_hand(unbiased: bool, variance: float, shift_mean: bool, mean: float) -> None:
    found = whiten(X, MASK, unbiased=unbiased, shift_mean=shift_mean)
    deviation = math.sqrt(variance)
    expected = [[mean - 2 / deviation, mean - 1 / deviation, 0.0], [mean + 3 / deviation, 0.0, 0.0]]
    assert_close(found, torch.tensor(expected), atol=FP32, rtol=FP32)


def test_whitening_a_constant_gives_zero_not_infinity() -> None:
    constant = torch.full((2, 3), 5.0)
    assert torch.equal(whiten(constant, MASK, unbiased=True), torch.zeros(2, 3))


def test_whitening_small_numbers_meets_the_floor() -> None:
    """Deviations of 1e-4: variance 2e-8 unbiased, so 1e-4 / sqrt(3e-8) with the floor of 1e-8."""
    x, mask = torch.tensor([[-1e-4, 1e-4]]), torch.ones(1, 2, dtype=torch.bool)
    expected = 1e-4 / math.sqrt(3e-8)
    assert_close(whiten(x, mask, unbiased=True), torch.tensor([[-expected, expected]]), atol=FP32, rtol=FP32)


def test_bf16_is_summed_in_fp32() -> None:
    """256 + 1 is 256 in bf16."""
    x = torch.tensor([256.0, 1.0, 1.0], dtype=torch.bfloat16)
    assert masked_sum(x, torch.ones(3, dtype=torch.bool)) == 258.0


def test_padding_gets_no_gradient_even_from_nan() -> None:
    x = X.clone().requires_grad_()
    masked_mean(x, MASK).backward()
    third = 1 / 3
    assert_close(x.grad, torch.tensor([[third, third, 0.0], [third, 0.0, 0.0]]))


def test_lengths_to_mask() -> None:
    found = lengths_to_mask(torch.tensor([0, 2, 3]), 3)
    assert found.tolist() == [[False, False, False], [True, True, False], [True, True, True]]


def test_one_longer_where_there_is_room() -> None:
    mask = lengths_to_mask(torch.tensor([1, 3, 2]), 3)
    before = mask.clone()
    assert torch.equal(one_longer(mask), lengths_to_mask(torch.tensor([2, 3, 3]), 3))
    assert torch.equal(mask, before)
