import pytest
import torch
from torch.testing import assert_close

from heedful.numerics.masks import lengths_to_mask
from heedful.numerics.rewards import missing_eos, shape_rewards
from tests.tolerances import FP32

KL = torch.tensor([[1.0, -2.0, 4.0, 9.0], [3.0, 5.0, 7.0, 2.0], [1.0, 1.0, 1.0, 1.0]])
MASK = lengths_to_mask(torch.tensor([2, 4, 0]), 4)
SCORES = torch.tensor([10.0, -20.0, 30.0])


def test_score_on_the_last_real_decision() -> None:
    found = shape_rewards(SCORES, KL, MASK, kl_coef=0.1)
    expected = [[-0.1, 0.2 + 10, 0.0, 0.0], [-0.3, -0.5, -0.7, -0.2 - 20], [0.0, 0.0, 0.0, 0.0]]
    assert_close(found, torch.tensor(expected), atol=FP32, rtol=FP32)


def test_score_in_the_slot_after_where_there_is_room() -> None:
    found = shape_rewards(SCORES, KL, MASK, kl_coef=0.1, position="post_eos")
    expected = [[-0.1, 0.2, 10.0, 0.0], [-0.3, -0.5, -0.7, -0.2 - 20], [0.0, 0.0, 0.0, 0.0]]
    assert_close(found, torch.tensor(expected), atol=FP32, rtol=FP32)


def test_left_padding_puts_the_score_in_the_last_column() -> None:
    found = shape_rewards(SCORES[:1], KL[:1], MASK[:1].flip(1), kl_coef=0.0)
    assert_close(found, torch.tensor([[0.0, 0.0, 0.0, 10.0]]), atol=0.0, rtol=0.0)


def test_no_gradient_flows() -> None:
    scores, kl = SCORES.clone().requires_grad_(), KL.clone().requires_grad_()
    assert not shape_rewards(scores, kl, MASK, kl_coef=0.1).requires_grad


def test_nan_at_padding_stays_there() -> None:
    kl = KL.masked_fill(~MASK, torch.nan)
    assert torch.equal(shape_rewards(SCORES, kl, MASK, kl_coef=0.1), shape_rewards(SCORES, KL, MASK, kl_coef=0.1))


@pytest.mark.parametrize(("mode", "punished"), [("subtract", -21.5), ("replace", 1.5)])
def test_missing_eos(mode: str, punished: float) -> None:
    found = missing_eos(SCORES, torch.tensor([True, False, True]), mode=mode, value=1.5)
    assert_close(found, torch.tensor([10.0, punished, 30.0]), atol=0.0, rtol=0.0)


def test_missing_eos_subtracts_by_default() -> None:
    assert missing_eos(torch.tensor([1.0]), torch.tensor([False]), value=3.0).item() == -2.0
