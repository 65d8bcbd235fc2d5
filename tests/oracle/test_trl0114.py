"""TRL 0.11.4, the last with PPO's parts as functions: KL estimates, rewards, advantages, clipped losses, controller."""

from collections.abc import Callable

import torch
from torch.testing import assert_close

from heedful.numerics.advantages import gae
from heedful.numerics.kl import AdaptiveKL, exact_kl, k1, k2
from heedful.numerics.logprobs import chosen_logprobs, entropy
from heedful.numerics.masks import masked_mean, whiten
from heedful.numerics.policy_losses import entropy_bonus, ppo_clip, value_clip
from heedful.numerics.rewards import shape_rewards
from tests.tolerances import ORACLE, ORACLE_GRADIENT


def test_logprobs_entropy_and_kl_estimates(golden: Callable) -> None:
    inputs, expected = golden("trl0114_kl.json")
    logprobs = chosen_logprobs(inputs["logits"], inputs["actions"])
    ref_logprobs = chosen_logprobs(inputs["ref_logits"], inputs["actions"])
    ours = {
        "logprobs": logprobs,
        "ref_logprobs": ref_logprobs,
        "entropy": entropy(inputs["logits"]),
        "kl": k1(logprobs, ref_logprobs),
        "mse": k2(logprobs, ref_logprobs),
        "full": exact_kl(inputs["logits"], inputs["ref_logits"]),
    }
    for name, theirs in expected.items():
        assert_close(ours[name], theirs, atol=ORACLE, rtol=ORACLE, msg=name)


def test_rewards_and_advantages(golden: Callable) -> None:
    inputs, expected = golden("trl0114_update.json")
    settings, mask = inputs["settings"], inputs["mask"]
    kl = k1(inputs["old_logprobs"], inputs["ref_logprobs"])
    rewards = shape_rewards(inputs["scores"], kl, mask, kl_coef=settings["kl_coef"])
    assert_close(rewards[mask], expected["rewards"][mask], atol=ORACLE, rtol=ORACLE)
    advantages, returns = gae(rewards, inputs["values"], mask, gamma=settings["gamma"], gae_lambda=settings["lam"])
    assert_close(returns, expected["returns"], atol=ORACLE, rtol=ORACLE)
    whitened = whiten(advantages, mask, unbiased=True)
    assert_close(whitened[mask], expected["advantages_whitened"][mask], atol=ORACLE, rtol=ORACLE)
    kept = whiten(rewards, mask, unbiased=True, shift_mean=False)
    assert_close(kept[mask], expected["rewards_whitened"][mask], atol=ORACLE, rtol=ORACLE)


def test_clipped_losses_and_their_gradients(golden: Callable) -> None:
    inputs, expected = golden("trl0114_update.json")
    settings, mask, stats = inputs["settings"], inputs["mask"], expected["stats"]
    logprobs, values = inputs["logprobs"].requires_grad_(), inputs["new_values"].requires_grad_()
    old = inputs["old_logprobs"]
    policy = ppo_clip(logprobs, old, expected["advantages_whitened"], mask, clip_range=settings["cliprange"])
    old_values = inputs["values"] * mask
    value = value_clip(values, old_values, expected["returns"], mask, clip_range=settings["cliprange_value"])
    (policy.loss + settings["vf_coef"] * value.loss).backward()
    assert_close(policy.loss.item(), expected["policy_loss"], atol=ORACLE, rtol=ORACLE)
    assert_close(value.loss.item(), stats["loss/value"], atol=ORACLE, rtol=ORACLE)
    assert_close(policy.clip_fraction.item(), stats["policy/clipfrac"], atol=ORACLE, rtol=ORACLE)
    assert_close(value.clip_fraction.item(), stats["val/clipfrac"], atol=ORACLE, rtol=ORACLE)
    assert 0 < stats["policy/clipfrac"] < 1
    assert 0 < stats["val/clipfrac"] < 1
    assert_close(logprobs.grad, expected["logprobs_grad"], atol=ORACLE_GRADIENT, rtol=ORACLE_GRADIENT)
    assert_close(values.grad, expected["new_values_grad"], atol=ORACLE_GRADIENT, rtol=ORACLE_GRADIENT)


def test_metrics(golden: Callable) -> None:
    inputs, expected = golden("trl0114_update.json")
    stats, mask = expected["stats"], inputs["mask"]
    old, new = inputs["old_logprobs"], inputs["logprobs"]
    their_approx_kl = masked_mean(k2(new, old), mask)
    assert_close(their_approx_kl.item(), stats["policy/approxkl"], atol=ORACLE, rtol=ORACLE)
    assert_close(masked_mean(k1(old, new), mask).item(), stats["policy/policykl"], atol=ORACLE, rtol=ORACLE)
    found = entropy_bonus(entropy(inputs["logits"]), mask)
    assert_close(found.item(), stats["policy/entropy"], atol=ORACLE, rtol=ORACLE)


def test_adaptive_controller(golden: Callable) -> None:
    inputs, expected = golden("trl0114_adaptive_kl.json")
    controller, coefs = AdaptiveKL(inputs["kl_coef"], inputs["target"], inputs["horizon"]), []
    for kl, episodes in inputs["measured"].tolist():
        controller = controller.update(kl, int(episodes))
        coefs.append(controller.kl_coef)
    assert_close(torch.tensor(coefs), expected["kl_coef"], atol=ORACLE, rtol=ORACLE)
