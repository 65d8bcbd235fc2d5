import math

import pytest
import torch
from torch.testing import assert_close

from heedful.numerics.preference_losses import bradley_terry, preference_accuracy
from tests.tolerances import FP32

# chosen - rejected: ln 3 and -ln 3, so sigmoid 3/4 and 1/4.
CHOSEN = torch.tensor([math.log(3.0) + 1.0, 1.0])
REJECTED = torch.tensor([1.0, math.log(3.0) + 1.0])
WIN, LOSS = -math.log(0.75), -math.log(0.25)


def test_hard_labels_by_hand() -> None:
    assert_close(bradley_terry(CHOSEN, REJECTED).item(), (WIN + LOSS) / 2, atol=FP32, rtol=FP32)


def test_soft_labels_by_hand() -> None:
    found = bradley_terry(CHOSEN, REJECTED, p=torch.tensor([0.9, 0.6]))
    first, second = 0.9 * WIN + 0.1 * LOSS, 0.6 * LOSS + 0.4 * WIN
    assert_close(found.item(), (first + second) / 2, atol=FP32, rtol=FP32)


def test_margin_by_hand() -> None:
    """A margin of ln 3 leaves a lead of 0 in the first pair, -2 ln 3 in the second: sigmoid 1/2 and 1/10."""
    found = bradley_terry(CHOSEN, REJECTED, margin=torch.full((2,), math.log(3.0)))
    assert_close(found.item(), (math.log(2) + math.log(10)) / 2, atol=FP32, rtol=FP32)


def test_margin_with_a_soft_label_by_hand() -> None:
    """The margin shifts the odds: with a lead of ln 3 and a margin of ln 3 both outcomes cost ln 2."""
    found = bradley_terry(CHOSEN[:1], REJECTED[:1], p=torch.tensor([0.8]), margin=torch.tensor([2 * math.log(3.0)]))
    assert_close(found.item(), 0.8 * LOSS + 0.2 * WIN, atol=FP32, rtol=FP32)


def test_centering_by_hand() -> None:
    """Both sums are ln 3 + 2."""
    found = bradley_terry(CHOSEN, REJECTED, centering=0.01)
    assert_close(found.item(), (WIN + LOSS) / 2 + 0.01 * (math.log(3) + 2) ** 2, atol=FP32, rtol=FP32)


def test_weights_by_hand() -> None:
    weight = torch.tensor([3.0, 1.0])
    found = bradley_terry(CHOSEN, REJECTED, weight=weight, centering=0.01)
    centre = 0.01 * (math.log(3) + 2) ** 2
    assert_close(found.item(), (3 * WIN + LOSS) / 4 + centre, atol=FP32, rtol=FP32)
    total = bradley_terry(CHOSEN, REJECTED, weight=weight, normalizer=8.0)
    assert_close(total.item(), (3 * WIN + LOSS) / 8, atol=FP32, rtol=FP32)


def test_normalizer_without_weights() -> None:
    assert_close(bradley_terry(CHOSEN, REJECTED, normalizer=10).item(), (WIN + LOSS) / 10, atol=FP32, rtol=FP32)


def test_gradient_by_hand() -> None:
    """d loss / d chosen = -(p - sigmoid(d)) per pair, over two pairs."""
    chosen, rejected = CHOSEN.clone().requires_grad_(), REJECTED.clone().requires_grad_()
    bradley_terry(chosen, rejected, p=torch.tensor([0.9, 0.6])).backward()
    expected = torch.tensor([-(0.9 - 0.75) / 2, -(0.6 - 0.25) / 2])
    assert_close(chosen.grad, expected, atol=FP32, rtol=FP32)
    assert_close(rejected.grad, -expected, atol=FP32, rtol=FP32)


def test_scores_far_apart_stay_finite() -> None:
    found = bradley_terry(torch.tensor([-500.0]), torch.tensor([500.0]))
    assert found.item() == 1000.0


def test_bf16_scores_are_lifted() -> None:
    assert bradley_terry(CHOSEN.bfloat16(), REJECTED.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize(
    ("chosen", "p", "expected"),
    [
        ([1.0, 1.0, -1.0, 0.0], None, 2.5 / 4),  # two right, one wrong, one level
        ([1.0, 1.0, -1.0, 0.0], [1.0, 0.5, 0.6, 0.7], 1.5 / 3),  # the second is labelled a tie
    ],
)
def test_accuracy_by_hand(chosen: list[float], p: list[float] | None, expected: float) -> None:
    label = None if p is None else torch.tensor(p)
    found = preference_accuracy(torch.tensor(chosen) + 5, torch.full((4,), 5.0), p=label)
    assert_close(found.item(), expected, atol=FP32, rtol=FP32)


def test_accuracy_of_nothing_is_nan() -> None:
    assert preference_accuracy(torch.ones(1), torch.zeros(1), p=torch.tensor([0.5])).isnan()
