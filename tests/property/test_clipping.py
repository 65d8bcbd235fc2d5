"""Clipping takes away the gradient where a step would go too far, and only there."""

import math

import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.testing import assert_close

from heedful.numerics.policy_losses import ppo_clip, value_clip
from tests.tolerances import FP32_SUM

CLIP = 0.2
ONE = torch.ones(1, 1, dtype=torch.bool)
GAIN = st.floats(0.1, 5)
OFTENER, SELDOMER = st.floats(1.21, 4), st.floats(0.1, 0.79)


def gradient(ratio: float, advantage: float) -> float:
    logprobs = torch.tensor([[math.log(ratio)]], requires_grad=True)
    ppo_clip(logprobs, torch.zeros(1, 1), torch.tensor([[advantage]]), ONE, clip_range=CLIP).loss.backward()
    return logprobs.grad.item()


@given(ratio=OFTENER, gain=GAIN)
def test_good_and_already_oftener_gets_none(ratio: float, gain: float) -> None:
    assert gradient(ratio, gain) == 0.0


@given(ratio=SELDOMER, gain=GAIN)
def test_bad_and_already_seldomer_gets_none(ratio: float, gain: float) -> None:
    assert gradient(ratio, -gain) == 0.0


@given(ratio=SELDOMER, gain=GAIN)
def test_good_but_seldomer_gets_all(ratio: float, gain: float) -> None:
    assert_close(gradient(ratio, gain), -gain * ratio, atol=FP32_SUM, rtol=FP32_SUM)


@given(ratio=OFTENER, gain=GAIN)
def test_bad_but_oftener_gets_all(ratio: float, gain: float) -> None:
    assert_close(gradient(ratio, -gain), gain * ratio, atol=FP32_SUM, rtol=FP32_SUM)


@given(ratio=st.floats(0.81, 1.19), gain=GAIN, sign=st.sampled_from([-1.0, 1.0]))
def test_near_the_old_policy_gets_all(ratio: float, gain: float, sign: float) -> None:
    assert_close(gradient(ratio, sign * gain), -sign * gain * ratio, atol=FP32_SUM, rtol=FP32_SUM)


@given(old=st.floats(-3, 3, width=32), step=st.floats(-3, 3, width=32), target=st.floats(-3, 3, width=32))
def test_value_gradient_is_0_exactly_where_the_clipped_error_is_worse(old: float, step: float, target: float) -> None:
    assume(abs(abs(step) - CLIP) > 1e-3)
    new = torch.tensor([[old + step]], requires_grad=True)
    goal = torch.tensor([[target]])
    value_clip(new, torch.tensor([[old]]), goal, ONE, clip_range=CLIP).loss.backward()
    near = old + math.copysign(min(abs(step), CLIP), step)
    error, clipped = abs(new.item() - target), abs(near - target)
    assume(abs(step) < CLIP or abs(error - clipped) > 1e-3)
    clipped_is_worse = abs(step) > CLIP and clipped > error
    expected = 0.0 if clipped_is_worse else new.item() - target
    assert_close(new.grad.item(), expected, atol=FP32_SUM, rtol=FP32_SUM)
