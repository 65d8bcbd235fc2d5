"""Bradley-Terry's symmetries."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from heedful.numerics.preference_losses import bradley_terry, preference_accuracy
from tests.tolerances import FP32_SUM, FP64

SCORE = st.floats(-20, 20, width=32)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Chosen, rejected, p, margin and weight, all fp64."""
    P = draw(st.integers(1, 6))
    column = lambda numbers: torch.tensor(draw(st.lists(numbers, min_size=P, max_size=P)), dtype=torch.float64)  # noqa: E731
    return column(SCORE), column(SCORE), column(st.floats(0, 1)), column(SCORE), column(st.floats(0.125, 4))


@given(case=pairs())
def test_is_its_definition(case) -> None:
    chosen, rejected, p, margin, weight = case
    found = bradley_terry(chosen, rejected, p=p, margin=margin, centering=0.3, weight=weight)
    total = 0.0
    for c, r, q, m, w in zip(*(x.tolist() for x in case), strict=True):
        lead = c - r - m
        win, loss = math.log1p(math.exp(-lead)), math.log1p(math.exp(lead))
        total += w * (q * win + (1 - q) * loss + 0.3 * (c + r) ** 2)
    assert_close(found.item(), total / weight.sum().item(), atol=FP64, rtol=FP64)


@given(case=pairs())
def test_swapping_the_pair_and_the_label_changes_nothing(case) -> None:
    chosen, rejected, p, margin, weight = case
    found = bradley_terry(rejected, chosen, p=1 - p, margin=-margin, centering=0.1, weight=weight)
    expected = bradley_terry(chosen, rejected, p=p, margin=margin, centering=0.1, weight=weight)
    assert_close(found, expected, atol=FP64, rtol=FP64)


@given(case=pairs())
def test_certainty_is_the_hard_label(case) -> None:
    chosen, rejected, p, _, _ = case
    hard = bradley_terry(chosen, rejected)
    assert_close(bradley_terry(chosen, rejected, p=torch.ones_like(p)), hard, atol=FP64, rtol=FP64)
    # Certainty of the opposite is the pair turned round.
    turned = bradley_terry(rejected, chosen)
    assert_close(bradley_terry(chosen, rejected, p=torch.zeros_like(p)), turned, atol=FP64, rtol=FP64)


@given(case=pairs(), shift=st.floats(-100, 100))
def test_a_shift_of_all_scores_changes_no_loss_and_no_accuracy(case, shift: float) -> None:
    chosen, rejected, p, margin, weight = case
    expected = bradley_terry(chosen, rejected, p=p, margin=margin, weight=weight)
    found = bradley_terry(chosen + shift, rejected + shift, p=p, margin=margin, weight=weight)
    assert_close(found, expected, atol=FP32_SUM, rtol=FP32_SUM)


@given(case=pairs(), scale=st.floats(0.1, 10))
def test_only_the_proportions_of_weights_matter(case, scale: float) -> None:
    chosen, rejected, p, _, weight = case
    expected = bradley_terry(chosen, rejected, p=p, weight=weight)
    assert_close(bradley_terry(chosen, rejected, p=p, weight=scale * weight), expected, atol=FP64, rtol=FP64)
    ones = bradley_terry(chosen, rejected, p=p, weight=torch.ones_like(p))
    assert_close(ones, bradley_terry(chosen, rejected, p=p), atol=FP64, rtol=FP64)


@given(case=pairs(), split=st.integers(1, 3))
def test_microbatches_with_a_common_normalizer_add_up(case, split: int) -> None:
    chosen, rejected, p, margin, weight = case
    settings = {"centering": 0.1, "normalizer": weight.sum().item()}
    parts = zip(*(x.split(split) for x in case), strict=True)
    found = sum(bradley_terry(c, r, p=q, margin=m, weight=w, **settings) for c, r, q, m, w in parts)
    expected = bradley_terry(chosen, rejected, p=p, margin=margin, weight=weight, centering=0.1)
    assert_close(found, expected, atol=FP64, rtol=FP64)


@given(case=pairs())
def test_accuracies_of_a_pair_and_its_reverse_sum_to_1(case) -> None:
    chosen, rejected, *_ = case
    total = preference_accuracy(chosen, rejected) + preference_accuracy(rejected, chosen)
    assert_close(total.item(), 1.0, atol=FP64, rtol=0.0)
