"""GAE against its definition, a sum over all later errors; its two ends; how it scales."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from heedful.numerics.advantages import explained_variance, gae, group_relative, leave_one_out
from heedful.numerics.masks import lengths_to_mask
from tests.tolerances import FP32_SUM, FP64

UNIT = st.sampled_from([0.0, 0.5, 0.9, 0.95, 1.0])


@st.composite
def episodes(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rewards, values, bootstraps (fp64, to compare with slow sums) and lengths."""
    B, T = draw(st.integers(1, 4)), draw(st.integers(1, 8))
    lengths = torch.tensor(draw(st.lists(st.integers(0, T), min_size=B, max_size=B)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    rewards, values = torch.randn(2, B, T, generator=generator, dtype=torch.float64)
    return rewards, values, torch.randn(B, generator=generator, dtype=torch.float64), lengths


def by_definition(
    rewards: list[float], values: list[float], after: float, gamma: float, gae_lambda: float
) -> list[float]:
    """A_t = sum over k of (gamma lambda)^k delta_{t+k}, each delta from the row itself."""
    n = len(rewards)
    following = [*values[1:], after]
    deltas = [rewards[t] + gamma * following[t] - values[t] for t in range(n)]
    return [sum((gamma * gae_lambda) ** (s - t) * deltas[s] for s in range(t, n)) for t in range(n)]


@given(case=episodes(), gamma=UNIT, gae_lambda=UNIT, cut_off=st.booleans())
def test_equals_the_definition(case, gamma: float, gae_lambda: float, cut_off: bool) -> None:
    rewards, values, after, lengths = case
    mask = lengths_to_mask(lengths, rewards.shape[1])
    bootstrap = after if cut_off else None
    advantages, returns = gae(rewards, values, mask, gamma=gamma, gae_lambda=gae_lambda, bootstrap=bootstrap)
    for b, n in enumerate(lengths.tolist()):
        last = after[b].item() if cut_off else 0.0
        row, expected = rewards[b, :n].tolist(), values[b, :n].tolist()
        slow = torch.tensor(by_definition(row, expected, last, gamma, gae_lambda), dtype=torch.float64)
        assert_close(advantages[b, :n], slow, atol=FP64, rtol=FP64)
        assert_close(returns[b, :n], slow + values[b, :n], atol=FP64, rtol=FP64)


@given(case=episodes(), gamma=UNIT)
def test_lambda_0_is_the_td_error_and_lambda_1_the_return_minus_the_value(case, gamma: float) -> None:
    rewards, values, _, lengths = case
    T = rewards.shape[1]
    mask = lengths_to_mask(lengths, T)
    short, _ = gae(rewards, values, mask, gamma=gamma, gae_lambda=0.0)
    _, long = gae(rewards, values, mask, gamma=gamma, gae_lambda=1.0)
    for b, n in enumerate(lengths.tolist()):
        for t in range(n):
            next_value = values[b, t + 1] if t + 1 < n else 0.0
            assert_close(short[b, t], rewards[b, t] + gamma * next_value - values[b, t], atol=FP64, rtol=FP64)
            discounted = sum(gamma ** (s - t) * rewards[b, s] for s in range(t, n))
            assert_close(long[b, t], discounted, atol=FP64, rtol=FP64)


@given(case=episodes(), scale=st.floats(-3, 3))
def test_is_linear_in_rewards_and_values_together(case, scale: float) -> None:
    rewards, values, after, lengths = case
    mask = lengths_to_mask(lengths, rewards.shape[1])
    once, _ = gae(rewards, values, mask, gamma=0.9, gae_lambda=0.95, bootstrap=after)
    found, _ = gae(scale * rewards, scale * values, mask, gamma=0.9, gae_lambda=0.95, bootstrap=scale * after)
    assert_close(found, scale * once, atol=FP64, rtol=FP64)


@st.composite
def grouped(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    B = draw(st.integers(1, 12))
    group = draw(st.lists(st.integers(-2, 3), min_size=B, max_size=B))
    scores = draw(st.lists(st.floats(-100, 100, width=32), min_size=B, max_size=B))
    return torch.tensor(scores), torch.tensor(group)


@given(case=grouped())
def test_leave_one_out_is_its_definition_and_sums_to_0_in_each_group(case) -> None:
    scores, group = case
    found = leave_one_out(scores, group)
    size = scores.abs().max().item() + 1
    for i, g in enumerate(group.tolist()):
        others = [scores[j].item() for j in range(len(scores)) if j != i and group[j] == g]
        expected = scores[i].item() - sum(others) / len(others) if others else 0.0
        assert_close(found[i].item(), expected, atol=FP32_SUM * size, rtol=0.0)
        assert abs(found[group == g].sum().item()) < FP32_SUM * size * len(scores)


@given(case=grouped(), shift=st.floats(-50, 50, width=32))
def test_group_advantages_do_not_see_a_shift(case, shift: float) -> None:
    scores, group = case
    for method in (leave_one_out, lambda s, g: group_relative(s, g, scale=False)):
        assert_close(method(scores + shift, group), method(scores, group), atol=1e-4, rtol=0.0)


@given(case=grouped(), seed=st.integers(0, 2**32))
def test_group_advantages_do_not_see_the_order_of_rows(case, seed: int) -> None:
    scores, group = case
    order = torch.randperm(len(group), generator=torch.Generator().manual_seed(seed))
    for method in (leave_one_out, lambda s, g: group_relative(s, g, scale=True)):
        assert_close(method(scores[order], group[order]), method(scores, group)[order], atol=1e-3, rtol=1e-3)


@given(case=grouped())
def test_group_relative_is_its_definition(case) -> None:
    scores, group = case
    found = group_relative(scores.double(), group, scale=True)
    for g in group.unique().tolist():
        mine = scores.double()[group == g]
        deviation = mine.std(unbiased=True).item() if len(mine) > 1 else 0.0
        assert_close(found[group == g], (mine - mine.mean()) / (deviation + 1e-4), atol=1e-8, rtol=1e-6)


@given(case=episodes())
def test_explained_variance_is_at_most_1(case) -> None:
    returns, values, _, lengths = case
    mask = lengths_to_mask(lengths, returns.shape[1])
    assert explained_variance(values, returns, mask) <= 1
    if mask.sum() > 1:
        assert_close(explained_variance(returns, returns, mask).item(), 1.0, atol=FP64, rtol=0.0)
