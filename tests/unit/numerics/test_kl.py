import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from heedful.errors import ConfigError
from heedful.numerics.kl import AdaptiveKL, FixedKL, exact_kl, head_comparison, k1, k2, k3
from tests.tolerances import FP32, FP32_SUM

LOGPROBS = torch.tensor([[math.log(0.5), math.log(0.2)]])
REFERENCE = torch.tensor([[math.log(0.25), math.log(0.4)]])


def test_estimates_by_hand() -> None:
    """Ratios policy / reference of 2 and 1/2."""
    two = math.log(2)
    assert_close(k1(LOGPROBS, REFERENCE), torch.tensor([[two, -two]]), atol=FP32, rtol=FP32)
    assert_close(k2(LOGPROBS, REFERENCE), torch.tensor([[two**2 / 2, two**2 / 2]]), atol=FP32, rtol=FP32)
    expected = torch.tensor([[0.5 - 1 + two, 2 - 1 - two]])
    assert_close(k3(LOGPROBS, REFERENCE), expected, atol=FP32, rtol=FP32)


def test_equal_policies_have_no_kl() -> None:
    for estimate in (k1, k2, k3):
        assert torch.equal(estimate(LOGPROBS, LOGPROBS), torch.zeros(1, 2))


def test_k3_keeps_small_differences() -> None:
    """d^2 / 2 for d = 1e-4, where exp(d) - 1 - d in fp32 would be noise."""
    found = k3(torch.tensor([0.0]), torch.tensor([1e-4]))
    assert_close(found, torch.tensor([5.0e-9]), atol=0.0, rtol=1e-2)


def test_exact_by_hand() -> None:
    """(1/2, 1/2) against (1/4, 3/4): 1/2 ln 2 + 1/2 ln 2/3 = 1/2 ln 4/3."""
    policy, reference = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, math.log(3)]])
    assert_close(exact_kl(policy, reference), torch.tensor([0.5 * math.log(4 / 3)]), atol=FP32, rtol=FP32)
    # The other way round it is 1/4 ln 1/2 + 3/4 ln 3/2.
    other = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    assert_close(exact_kl(reference, policy), torch.tensor([other]), atol=FP32, rtol=FP32)


def test_exact_with_forbidden_actions() -> None:
    both = torch.tensor([[0.0, 0.0, -math.inf]])
    half = torch.tensor([[0.0, math.log(3), -math.inf]])
    assert_close(exact_kl(both, half), torch.tensor([0.5 * math.log(4 / 3)]), atol=FP32, rtol=FP32)
    only_first = torch.tensor([[0.0, -math.inf, -math.inf]])
    assert_close(exact_kl(only_first, both), torch.tensor([math.log(2)]), atol=FP32, rtol=FP32)
    assert exact_kl(both, only_first).item() == math.inf


def test_exact_where_a_probability_is_too_small_for_fp32() -> None:
    tiny, both = torch.tensor([[0.0, 0.0, -200.0]]), torch.tensor([[0.0, math.log(3), -math.inf]])
    assert_close(exact_kl(tiny, both), torch.tensor([0.5 * math.log(4 / 3)]), atol=FP32, rtol=FP32)


def test_exact_sums_over_the_last_dimension() -> None:
    policy, reference = torch.randn(2, 2, 3, 5, generator=torch.Generator().manual_seed(2))
    found = exact_kl(policy, reference)
    assert_close(found, exact_kl(policy.reshape(6, 5), reference.reshape(6, 5)).reshape(2, 3), atol=0.0, rtol=0.0)


def test_exact_has_gradients() -> None:
    """At equality KL is at its minimum; away from it the gradient is pi_v (log pi_v / ref_v - KL)."""
    policy = torch.tensor([[0.0, 0.0]], requires_grad=True)
    exact_kl(policy, torch.tensor([[0.0, math.log(3)]])).sum().backward()
    kl = 0.5 * math.log(4 / 3)
    expected = torch.tensor([[0.5 * (math.log(2) - kl), 0.5 * (math.log(2 / 3) - kl)]])
    assert_close(policy.grad, expected, atol=FP32, rtol=FP32)


@pytest.mark.parametrize("chunk", [None, 1, 3, 20])
def test_a_comparison_from_heads_is_by_definition_and_without_gradients(chunk: int | None) -> None:
    generator = torch.Generator().manual_seed(4)
    hidden, ref_hidden = torch.randn(8, 4, generator=generator), torch.randn(8, 5, generator=generator)
    torch.manual_seed(0)
    head, ref_head = nn.Linear(4, 9), nn.Linear(5, 9)
    actions = torch.tensor([0, 8, 3, 3, 1, 7, 2, 5])
    found = head_comparison(hidden, head, ref_hidden, ref_head, actions, temperature=0.5, chunk=chunk)
    pi, ref = (head(hidden) * 2).softmax(-1), (ref_head(ref_hidden) * 2).softmax(-1)
    expected = (pi * (pi / ref).log()).sum(-1).detach()
    assert_close(found.exact_kl, expected, atol=FP32_SUM, rtol=FP32_SUM)
    assert_close(found.entropy, -(pi * pi.log()).sum(-1), atol=FP32_SUM, rtol=FP32_SUM)
    for logprobs, chances in ((found.logprobs, pi), (found.ref_logprobs, ref)):
        assert_close(logprobs, chances[range(8), actions].log(), atol=FP32_SUM, rtol=FP32_SUM)
        assert not logprobs.requires_grad
    assert not found.exact_kl.requires_grad


def test_a_comparison_with_forbidden_actions() -> None:
    """Policy 1/2, 1/2, never, against 1/4, 3/4, never and against 1, never, never: there KL is infinite. By hand."""
    policy = torch.tensor([[0.0, 0.0, -math.inf]]).expand(2, -1)
    reference = torch.tensor([[0.0, math.log(3), -math.inf], [0.0, -math.inf, -math.inf]])
    found = head_comparison(policy, lambda h: h, reference, lambda h: h, torch.tensor([0, 1]))
    assert_close(found.exact_kl, torch.tensor([0.5 * math.log(4 / 3), math.inf]), atol=FP32, rtol=FP32)
    assert_close(found.entropy, torch.full((2,), math.log(2)), atol=FP32, rtol=FP32)
    assert_close(found.ref_logprobs, torch.tensor([math.log(0.25), -math.inf]), atol=FP32, rtol=FP32)
    assert policy[0].tolist() == [0.0, 0.0, -math.inf]  # nothing was done to what was given


def test_adaptive_check_value() -> None:
    """Error 12 / 6 - 1 clipped to 0.2: 0.2 * (1 + 0.2 * 256 / 10000)."""
    found = AdaptiveKL(0.2, 6.0, 10_000).update(12.0, 256)
    assert found.kl_coef == pytest.approx(0.201024, abs=FP32)
    assert (found.target, found.horizon) == (6.0, 10_000)


@pytest.mark.parametrize(
    ("kl", "error"),
    [(6.0, 0.0), (6.6, 0.1), (5.4, -0.1), (7.2, 0.2), (60.0, 0.2), (4.8, -0.2), (0.0, -0.2), (-3, -0.2)],
)
def test_adaptive_saturates(kl: float, error: float) -> None:
    found = AdaptiveKL(0.5, 6.0, 1000.0).update(kl, 100)
    assert found.kl_coef == pytest.approx(0.5 * (1 + error * 0.1), abs=FP32)


@pytest.mark.parametrize(("kl", "factor"), [(60.0, 1.2), (0.0, 0.8)])
def test_adaptive_with_a_rollout_as_long_as_its_horizon(kl: float, factor: float) -> None:
    """The whole of the largest error: 20 % at once."""
    assert AdaptiveKL(0.5, 6.0, 64.0).update(kl, 64).kl_coef == pytest.approx(0.5 * factor, abs=FP32)


@pytest.mark.parametrize(("horizon", "episodes"), [(64.0, 512), (64.0, 65), (64.9, 65)])
def test_adaptive_never_rewards_kl(horizon: float, episodes: int) -> None:
    """0.2 * (1 - 0.2 * 512 / 64) would be -0.12; a rollout above the horizon is refused whatever was measured."""
    for kl in (0.1, 6.0, 60.0):
        with pytest.raises(
            ConfigError, match=f"a rollout of {episodes} episodes is longer than the KL controller's"
        ) as caught:
            AdaptiveKL(0.2, 6.0, horizon).update(kl, episodes)
        assert "\n" not in str(caught.value)


def test_controllers_do_not_change_in_place() -> None:
    adaptive, fixed = AdaptiveKL(0.2, 6.0, 100.0), FixedKL(0.05)
    adaptive.update(60.0, 50)
    assert adaptive.kl_coef == 0.2
    assert fixed.update(60.0, 50) == fixed
