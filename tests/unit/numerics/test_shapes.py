"""Shapes that disagree are refused in one line, also where jaxtyping does not run."""

import pytest
import torch

from heedful.errors import ShapeError
from heedful.numerics import advantages, kl, logprobs, masks, policy_losses, preference_losses, rewards
from heedful.numerics.shapes import at_least_fp32, require_rows, require_same_shape

X, MASK = torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool)
SHORT = torch.ones(2, 2, dtype=torch.bool)
ONE, TWO = torch.zeros(1), torch.zeros(2)


def test_names_the_one_that_disagrees() -> None:
    with pytest.raises(ShapeError, match=r"^b has shape \[3\] but a has \[2\]; they must be the same$"):
        require_same_shape(a=TWO, b=torch.zeros(3))
    with pytest.raises(ShapeError, match=r"^c has shape \[2, 2\]; expected one number per row: \[2\]$"):
        require_rows(2, b=TWO, c=SHORT)
    require_same_shape(a=X, b=MASK, c=X)
    require_rows(2, a=TWO)


@pytest.mark.parametrize(
    ("given", "expected"),
    [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64)],
)
def test_at_least_fp32(given: torch.dtype, expected: torch.dtype) -> None:
    assert at_least_fp32(torch.zeros(1, dtype=given)).dtype == expected


@pytest.mark.usefixtures("without_shape_hook")
@pytest.mark.parametrize(
    "call",
    [
        lambda: masks.masked_sum(X, SHORT),
        lambda: masks.masked_mean(X, SHORT),
        lambda: masks.masked_var(X, SHORT, unbiased=True),
        lambda: masks.whiten(X, SHORT, unbiased=True),
        lambda: logprobs.chosen_logprobs(X, torch.zeros(3, dtype=torch.long)),
        lambda: logprobs.logprobs_and_entropy(X, torch.zeros(2, 1, dtype=torch.long)),
        lambda: logprobs.head_logprobs(X, lambda h: h, torch.zeros(3, dtype=torch.long)),
        lambda: kl.k1(X, TWO),
        lambda: kl.k2(X, TWO),
        lambda: kl.k3(X, TWO),
        lambda: kl.exact_kl(X, torch.zeros(2, 4)),
        lambda: kl.head_comparison(X, lambda h: h, torch.zeros(3, 3), lambda h: h, torch.zeros(2, dtype=torch.long)),
        lambda: rewards.shape_rewards(ONE, X, MASK, kl_coef=0.1),
        lambda: rewards.shape_rewards(TWO, X, SHORT, kl_coef=0.1),
        lambda: rewards.missing_eos(TWO, torch.ones(1, dtype=torch.bool), value=1.0),
        lambda: advantages.gae(X, X[:, :2], MASK, gamma=1.0, gae_lambda=1.0),
        lambda: advantages.gae(X, X, SHORT, gamma=1.0, gae_lambda=1.0),
        lambda: advantages.gae(X, X, MASK, gamma=1.0, gae_lambda=1.0, bootstrap=ONE),
        lambda: advantages.leave_one_out(TWO, torch.zeros(1, dtype=torch.long)),
        lambda: advantages.group_relative(TWO, torch.zeros(1, dtype=torch.long), scale=True),
        lambda: advantages.explained_variance(X, X, SHORT),
        lambda: policy_losses.ppo_clip(X, X[:1], X, MASK, clip_range=0.2),
        lambda: policy_losses.ppo_clip(X, X, X[:1], MASK, clip_range=0.2),
        lambda: policy_losses.value_clip(X, X[:1], X, MASK, clip_range=0.2),
        lambda: policy_losses.entropy_bonus(X, SHORT),
        lambda: preference_losses.bradley_terry(TWO, ONE),
        lambda: preference_losses.bradley_terry(TWO, TWO, p=ONE),
        lambda: preference_losses.bradley_terry(TWO, TWO, margin=ONE),
        lambda: preference_losses.bradley_terry(TWO, TWO, weight=ONE),
        lambda: preference_losses.preference_accuracy(TWO, ONE),
        lambda: preference_losses.preference_accuracy(TWO, TWO, p=ONE),
    ],
)
def test_every_function_refuses_shapes_that_disagree(call) -> None:
    with pytest.raises(ShapeError):
        call()
