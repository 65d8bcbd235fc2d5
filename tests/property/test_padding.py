"""Padding never matters: columns added left or right, holding anything, change no number; permuted rows permute results."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from heedful.numerics.advantages import explained_variance, gae
from heedful.numerics.kl import k3
from heedful.numerics.masks import lengths_to_mask, masked_mean, masked_sum, masked_var, whiten
from heedful.numerics.policy_losses import entropy_bonus, ppo_clip, value_clip
from heedful.numerics.rewards import shape_rewards
from tests.tolerances import FP32, FP32_SUM

SCALARS: dict[str, Callable[..., Tensor]] = {
    "sum": lambda a, b, c, mask: masked_sum(a, mask),
    "mean": lambda a, b, c, mask: masked_mean(a, mask),
    "variance": lambda a, b, c, mask: masked_var(a, mask, unbiased=True),
    "explained variance": lambda a, b, c, mask: explained_variance(a, b, mask),
    "entropy": lambda a, b, c, mask: entropy_bonus(a, mask),
    **{
        f"policy {name}": lambda a, b, c, mask, name=name: getattr(ppo_clip(a, b, c, mask, clip_range=0.2), name)
        for name in ("loss", "clip_fraction", "approx_kl", "ratio_mean", "ratio_deviation")
    },
    **{
        f"value {name}": lambda a, b, c, mask, name=name: getattr(value_clip(a, b, c, mask, clip_range=0.2), name)
        for name in ("loss", "clip_fraction")
    },
}
TABLES: dict[str, Callable[..., Tensor]] = {
    "whiten biased": lambda a, b, c, mask: whiten(a, mask, unbiased=False),
    "whiten Bessel": lambda a, b, c, mask: whiten(a, mask, unbiased=True, shift_mean=False),
    "advantages": lambda a, b, c, mask: gae(a, b, mask, gamma=0.9, gae_lambda=0.8, bootstrap=c[:, 0])[0],
    "returns": lambda a, b, c, mask: gae(a, b, mask, gamma=0.9, gae_lambda=0.8)[1],
    "rewards": lambda a, b, c, mask: shape_rewards(a.new_ones(len(a)), b, mask, kl_coef=0.3),
}
RUBBISH = st.sampled_from([0.0, 1.0, -1e30, math.inf, math.nan])


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[Tensor], Tensor]:
    """Three tables [B, T] and a mask of unequal lengths, at least one decision in all."""
    B, T = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    lengths = torch.tensor(draw(st.lists(st.integers(0, T), min_size=B, max_size=B)))
    lengths[0] = lengths[0].clamp(min=1)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    return [torch.randn(B, T, generator=generator) for _ in range(3)], lengths_to_mask(lengths, T)


def padded(x: Tensor, left: int, right: int, value: float | bool) -> Tensor:
    B = len(x)
    return torch.cat([torch.full((B, left), value), x, torch.full((B, right), value)], 1)


@pytest.mark.parametrize("name", SCALARS)
@given(case=tables(), left=st.integers(0, 3), right=st.integers(0, 3), rubbish=RUBBISH)
def test_scalars_do_not_see_padding(name: str, case, left: int, right: int, rubbish: float) -> None:
    (a, b, c), mask = case
    expected = SCALARS[name](a, b, c, mask)
    wide = [padded(x.masked_fill(~mask, rubbish), left, right, rubbish) for x in (a, b, c)]
    found = SCALARS[name](*wide, padded(mask, left, right, False))
    assert_close(found, expected, atol=FP32, rtol=FP32)


@pytest.mark.parametrize("name", TABLES)
@given(case=tables(), left=st.integers(0, 3), right=st.integers(0, 3), rubbish=RUBBISH)
def test_tables_do_not_see_padding(name: str, case, left: int, right: int, rubbish: float) -> None:
    (a, b, c), mask = case
    first = c[:, :1]  # the bootstrap stays what it was
    expected = TABLES[name](a, b, first, mask)
    wide = [padded(x.masked_fill(~mask, rubbish), left, right, rubbish) for x in (a, b)]
    found = TABLES[name](*wide, first, padded(mask, left, right, False))
    assert_close(found[:, left : left + a.shape[1]], expected, atol=FP32, rtol=FP32)
    assert not found[:, :left].any()
    assert not found[:, left + a.shape[1] :].any()
    assert not found[:, left : left + a.shape[1]][~mask].any()


@pytest.mark.parametrize("name", SCALARS)
@given(case=tables(), seed=st.integers(0, 2**32))
def test_scalars_do_not_see_the_order_of_rows(name: str, case, seed: int) -> None:
    (a, b, c), mask = case
    order = torch.randperm(len(mask), generator=torch.Generator().manual_seed(seed))
    found = SCALARS[name](a[order], b[order], c[order], mask[order])
    assert_close(found, SCALARS[name](a, b, c, mask), atol=FP32_SUM, rtol=FP32_SUM)


@pytest.mark.parametrize("name", TABLES)
@given(case=tables(), seed=st.integers(0, 2**32))
def test_permuted_rows_permute_tables(name: str, case, seed: int) -> None:
    (a, b, c), mask = case
    order = torch.randperm(len(mask), generator=torch.Generator().manual_seed(seed))
    found = TABLES[name](a[order], b[order], c[order], mask[order])
    assert_close(found, TABLES[name](a, b, c, mask)[order], atol=FP32_SUM, rtol=FP32_SUM)


@given(case=tables(), split=st.integers(1, 4))
def test_microbatches_with_a_common_normalizer_add_up(case, split: int) -> None:
    """Loss, metrics and gradients, whatever the lengths: 1 x 8 is 4 x 2."""
    (a, b, c), mask = case
    whole = a.clone().requires_grad_()
    expected = ppo_clip(whole, b, c, mask, clip_range=0.2)
    expected.loss.backward()
    parts = a.clone().requires_grad_()
    found = []
    for rows in torch.arange(len(mask)).split(split):
        found.append(ppo_clip(parts[rows], b[rows], c[rows], mask[rows], clip_range=0.2, normalizer=int(mask.sum())))
        found[-1].loss.backward()
    for name in ("loss", "clip_fraction", "approx_kl", "ratio_mean"):
        total = sum(getattr(part, name) for part in found)
        assert_close(total, getattr(expected, name), atol=FP32_SUM, rtol=FP32_SUM)
    assert_close(parts.grad, whole.grad, atol=FP32, rtol=FP32)


@given(case=tables())
def test_whitened_numbers_have_mean_0_and_variance_1(case) -> None:
    (a, _, _), mask = case
    found = whiten(10 * a + 3, mask, unbiased=False)
    assert abs(found[mask].mean().item()) < FP32_SUM
    if mask.sum() > 1:
        assert_close(found[mask].var(unbiased=False).item(), 1.0, atol=FP32_SUM, rtol=FP32_SUM)


@given(case=tables())
def test_ratio_is_1_where_nothing_changed(case) -> None:
    (a, _, c), mask = case
    found = ppo_clip(a, a, c, mask, clip_range=0.1)
    assert (found.ratio_mean, found.ratio_deviation, found.clip_fraction) == (1.0, 0.0, 0.0)
    assert_close(found.loss, -c[mask].mean(), atol=FP32, rtol=FP32)


@given(case=tables(), row=st.integers(0, 4), position=st.sampled_from(["last", "post_eos"]))
def test_a_score_changes_one_cell_of_its_own_row(case, row: int, position: str) -> None:
    (kl, _, _), mask = case
    row, scores = row % len(mask), torch.zeros(len(mask))
    before = shape_rewards(scores, kl, mask, kl_coef=0.1, position=position)
    scores[row] = 1.0
    changed = (shape_rewards(scores, kl, mask, kl_coef=0.1, position=position) != before).nonzero().tolist()
    n, T = int(mask[row].sum()), mask.shape[1]
    slot = n - 1 if position == "last" else min(n, T - 1)
    assert changed == ([[row, slot]] if n else [])


@given(case=tables())
def test_approx_kl_is_k3_of_old_to_new(case) -> None:
    (new, old, c), mask = case
    found = ppo_clip(new, old, c, mask, clip_range=0.2).approx_kl
    assert_close(found, k3(old, new)[mask].mean(), atol=FP32_SUM, rtol=FP32_SUM)
