"""The losses of rankings, against enumeration of all orders, softmax by hand, and sums of pairs."""

import math
from itertools import pairwise, permutations, product

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from heedful.errors import DataError, ShapeError
from heedful.numerics.preference_losses import MOST_TIED, all_pairs, bradley_terry, pick_best, plackett_luce
from tests.tolerances import FP32, FP64

SCORES = torch.tensor([0.7, -1.3, 2.1, 0.2, -0.4], dtype=torch.float64)
LEVELS = [levels for levels in product(range(3), repeat=5) if sorted(set(levels)) == list(range(len(set(levels))))]
LOSSES = {"plackett_luce": plackett_luce, "all_pairs": all_pairs, "pick_best": pick_best}


def enumerated(scores: list[float], levels: tuple[int, ...]) -> float:
    """The mean cost of the orders that agree with the levels, of all K! orders."""
    orders = [
        order for order in permutations(range(len(levels))) if all(levels[a] <= levels[b] for a, b in pairwise(order))
    ]
    cost = 0.0
    for order in orders:
        left = [math.exp(scores[i]) for i in order]
        cost -= sum(scores[i] - math.log(sum(left[k:])) for k, i in enumerate(order))
    return cost / len(orders)


@pytest.mark.parametrize("levels", LEVELS[:: len(LEVELS) // 24], ids=str)
def test_plackett_luce_is_the_mean_over_all_orders_that_the_ties_leave_open(levels: tuple[int, ...]) -> None:
    found = plackett_luce(SCORES, levels)
    assert_close(found.item(), enumerated(SCORES.tolist(), levels), atol=FP64, rtol=FP64)


def test_two_completions_are_a_pair() -> None:
    one, two = SCORES[:1], SCORES[1:2]
    for levels, p in (((0, 1), 1.0), ((1, 0), 0.0), ((3, 3), 0.5)):
        pair = bradley_terry(one, two, p=torch.tensor([p], dtype=torch.float64))
        assert_close(plackett_luce(SCORES[:2], levels), pair, atol=FP64, rtol=FP64)
        assert_close(all_pairs(SCORES[:2], levels), pair, atol=FP64, rtol=FP64)
        assert_close(pick_best(SCORES[:2], levels), pair, atol=FP64, rtol=FP64)


def test_pick_best_by_hand() -> None:
    """Scores ln 1, ln 2, ln 5: their softmax is 1/8, 2/8, 5/8."""
    scores = torch.tensor([1.0, 2.0, 5.0]).log()
    assert_close(pick_best(scores, [1, 1, 0]).item(), -math.log(5 / 8), atol=FP32, rtol=FP32)
    assert_close(pick_best(scores, [0, 0, 1]).item(), -(math.log(1 / 8) + math.log(2 / 8)) / 2, atol=FP32, rtol=FP32)


def test_all_pairs_is_the_mean_of_every_pair() -> None:
    """Four completions, the last two tied: five pairs with an order and one with p = 1/2."""
    scores = SCORES[:4].tolist()
    cost = lambda i, j: math.log1p(math.exp(scores[j] - scores[i]))  # noqa: E731
    ordered = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3)]
    expected = (sum(cost(i, j) for i, j in ordered) + (cost(2, 3) + cost(3, 2)) / 2) / 6
    assert_close(all_pairs(SCORES[:4], [0, 1, 2, 2]).item(), expected, atol=FP64, rtol=FP64)
    assert all_pairs(SCORES[:1], [0]).item() == 0


def test_gradients_are_those_of_a_softmax() -> None:
    """d loss / d s is what the model expects minus what the ranking says: at equal scores, with levels 0 < 1 < 2,
    1/3 - 1, 1/3 + 1/2 - 1 and 1/3 + 1/2 + 1 - 1."""
    scores = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    plackett_luce(scores, [0, 1, 2]).backward()
    expected = torch.tensor([1 / 3 - 1, 1 / 3 + 1 / 2 - 1, 1 / 3 + 1 / 2], dtype=torch.float64)
    assert_close(scores.grad, expected, atol=FP64, rtol=FP64)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("levels", [(0, 1, 2, 3, 4), (0, 0, 1, 2, 2), (1, 1, 0, 1, 1), (0, 0, 0, 0, 0)], ids=str)
def test_gradients_agree_with_differences_and_sum_to_0(name: str, levels: tuple[int, ...]) -> None:
    scores = SCORES.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: LOSSES[name](s, levels), (scores,))
    LOSSES[name](scores, levels).backward()
    assert scores.grad is not None
    assert abs(scores.grad.sum().item()) < FP64, "a shift of all scores changes nothing"


@pytest.mark.parametrize("name", LOSSES)
def test_reversing_scores_and_shuffling_rows(name: str) -> None:
    loss, levels = LOSSES[name], torch.tensor([0, 2, 1, 1, 3])
    shuffled = torch.tensor([3, 0, 4, 2, 1])
    expected = loss(SCORES, levels.tolist())
    assert_close(loss(SCORES[shuffled], levels[shuffled].tolist()), expected, atol=FP64, rtol=FP64)
    if name == "all_pairs":  # antisymmetric: what is best for one order is worst for its reverse
        assert_close(loss(-SCORES, (3 - levels).tolist()), expected, atol=FP64, rtol=FP64)


@pytest.mark.parametrize("name", LOSSES)
def test_scores_far_apart_stay_finite_and_bf16_is_lifted(name: str) -> None:
    far = torch.tensor([-500.0, 500.0, 0.0], requires_grad=True)
    found = LOSSES[name](far, [0, 1, 1])
    found.backward()
    assert found.isfinite()
    assert far.grad is not None and far.grad.isfinite().all()
    lifted: Tensor = LOSSES[name](torch.zeros(3, dtype=torch.bfloat16), [0, 1, 2])
    assert lifted.dtype == torch.float32


@pytest.mark.parametrize("name", LOSSES)
def test_one_level_per_score(name: str) -> None:
    with pytest.raises(ShapeError):
        LOSSES[name](SCORES, [0, 1])


def test_a_tie_too_large_to_enumerate_is_refused() -> None:
    with pytest.raises(DataError, match="a tie of 13 completions; Plackett-Luce takes 12 at most"):
        plackett_luce(torch.zeros(MOST_TIED + 1), [0] * (MOST_TIED + 1))
