"""Log-probs, entropy and KL as distributions have them; the sampled estimates find the exact KL."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from heedful.errors import ConfigError
from heedful.numerics.kl import AdaptiveKL, exact_kl, k1, k2, k3
from heedful.numerics.logprobs import chosen_logprobs, entropy, logprobs_and_entropy
from tests.tolerances import FP32, FP32_SUM, FP64, STANDARD_ERRORS

SAMPLES = 100_000
LOGIT = st.floats(-60, 60, width=32)
LOGPROB = st.floats(-40, 0, width=32)


@st.composite
def logits(draw: st.DrawFn, rows: int = 1) -> Tensor:
    V = draw(st.integers(2, 9))
    return torch.tensor([draw(st.lists(LOGIT, min_size=V, max_size=V)) for _ in range(rows)])


@given(z=logits())
def test_entropy_lies_between_0_and_ln_v(z: Tensor) -> None:
    found = entropy(z).item()
    assert -FP32 <= found <= math.log(z.shape[1]) + FP32


@given(z=logits())
def test_probabilities_sum_to_1(z: Tensor) -> None:
    V = z.shape[1]
    found = chosen_logprobs(z.expand(V, V), torch.arange(V))
    assert (found <= 0).all()
    assert_close(found.exp().sum().item(), 1.0, atol=FP32_SUM, rtol=0.0)


@given(z=logits())
def test_entropy_is_minus_the_mean_logprob(z: Tensor) -> None:
    V = z.shape[1]
    logprobs, entropies = logprobs_and_entropy(z.double().expand(V, V), torch.arange(V))
    assert_close(entropies[0], -(logprobs.exp() * logprobs).sum(), atol=FP64, rtol=FP64)


@given(z=logits(rows=2))
def test_exact_kl_is_its_definition_and_not_negative(z: Tensor) -> None:
    policy, reference = z.double().clamp(-20, 20)[:1], z.double().clamp(-20, 20)[1:]
    found = exact_kl(policy, reference)
    pi, ref = policy.exp() / policy.exp().sum(), reference.exp() / reference.exp().sum()
    assert_close(found, (pi * (pi / ref).log()).sum(1), atol=FP64, rtol=FP64)
    assert found.item() >= -FP64
    assert exact_kl(policy, policy).item() == 0.0


@given(a=LOGPROB, b=LOGPROB)
def test_estimates_have_their_signs(a: float, b: float) -> None:
    new, ref = torch.tensor([a]), torch.tensor([b])
    assert torch.equal(k1(new, ref), -k1(ref, new))
    assert torch.equal(k2(new, ref), k2(ref, new))
    assert k2(new, ref).item() >= 0
    assert k3(new, ref).item() >= 0


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("estimate", [k1, k3])
def test_sample_means_find_the_exact_kl(estimate, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    policy, reference = torch.randn(2, 1, 12, generator=generator, dtype=torch.float64)
    actions = torch.multinomial(policy.softmax(1), SAMPLES, replacement=True, generator=generator)[0]
    logprobs = chosen_logprobs(policy.expand(SAMPLES, 12), actions)
    found = estimate(logprobs, chosen_logprobs(reference.expand(SAMPLES, 12), actions))
    error = found.std() / math.sqrt(SAMPLES)
    assert (found.mean() - exact_kl(policy, reference)[0]).abs() < STANDARD_ERRORS * error


def test_gradients_of_entropy_and_logprob_are_those_of_finite_differences() -> None:
    z = torch.randn(3, 5, generator=torch.Generator().manual_seed(8), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: logprobs_and_entropy(x, torch.tensor([0, 4, 2])), (z,))
    other = torch.randn(3, 5, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: exact_kl(x, other), (z,))


HORIZON = 1000
MEASURED = st.floats(-100, 1000)


@given(kl=MEASURED, num_episodes=st.integers(1, 10 * HORIZON))
def test_controller_moves_towards_its_target_by_at_most_a_fifth(kl: float, num_episodes: int) -> None:
    """By at most 20 % times the share of the horizon; more episodes than the horizon are refused, not rewarded."""
    controller = AdaptiveKL(0.2, 6.0, HORIZON)
    if num_episodes > HORIZON:
        with pytest.raises(ConfigError):
            controller.update(kl, num_episodes)
        return
    coef = controller.update(kl, num_episodes).kl_coef
    assert 0.2 * (1 - 0.2 * num_episodes / HORIZON) - FP64 <= coef <= 0.2 * (1 + 0.2 * num_episodes / HORIZON) + FP64
    assert (coef >= 0.2) if kl >= 6 else (coef <= 0.2)


@given(measured=st.lists(MEASURED, max_size=50), num_episodes=st.integers(1, HORIZON))
def test_whatever_is_measured_the_coefficient_stays_above_0(measured: list[float], num_episodes: int) -> None:
    controller = AdaptiveKL(0.2, 6.0, HORIZON)
    for kl in measured:
        before, controller = controller.kl_coef, controller.update(kl, num_episodes)
        assert controller.kl_coef > 0
        assert 0.8 * before - FP64 <= controller.kl_coef <= 1.2 * before + FP64
