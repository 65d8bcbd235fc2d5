"""TRL 1.16.0: PPO-clip with an entropy bonus, log-probs and entropy, and the reward model's loss."""

from collections.abc import Callable

import pytest
from torch.testing import assert_close

from heedful.numerics.logprobs import logprobs_and_entropy
from heedful.numerics.policy_losses import entropy_bonus, ppo_clip
from heedful.numerics.preference_losses import bradley_terry, preference_accuracy
from tests.tolerances import ORACLE, ORACLE_GRADIENT


def test_clip_and_entropy_bonus(golden: Callable) -> None:
    inputs, expected = golden("trl116_ppo_clip.json")
    mask = inputs["mask"]
    logprobs, entropy = inputs["logprobs"].requires_grad_(), inputs["entropy"].requires_grad_()
    loss = ppo_clip(logprobs, inputs["old_logprobs"], inputs["advantages"], mask, clip_range=inputs["clip_range"]).loss
    assert_close(loss.item(), expected["loss"], atol=ORACLE, rtol=ORACLE)
    loss = loss - inputs["entropy_coef"] * entropy_bonus(entropy, mask)
    assert_close(loss.item(), expected["loss_with_entropy"], atol=ORACLE, rtol=ORACLE)
    loss.backward()
    assert_close(logprobs.grad, expected["logprobs_grad"], atol=ORACLE_GRADIENT, rtol=ORACLE_GRADIENT)
    assert_close(entropy.grad, expected["entropy_grad"], atol=ORACLE_GRADIENT, rtol=ORACLE_GRADIENT)


def test_logprobs_and_entropy(golden: Callable) -> None:
    inputs, expected = golden("trl116_logprobs.json")
    logprobs, entropy = logprobs_and_entropy(inputs["logits"], inputs["actions"])
    assert_close(logprobs, expected["logprobs"], atol=ORACLE, rtol=ORACLE)
    assert_close(entropy, expected["entropy"], atol=ORACLE, rtol=ORACLE)


@pytest.mark.parametrize("case", ["plain", "centering", "margin", "both"])
def test_reward_model_loss(golden: Callable, case: str) -> None:
    inputs, expected = golden("trl116_reward_loss.json")
    chosen, rejected = inputs["chosen"].requires_grad_(), inputs["rejected"]
    margin = inputs["margin"] if case in ("margin", "both") else None
    centering = inputs["centering"] if case in ("centering", "both") else 0.0
    loss = bradley_terry(chosen, rejected, margin=margin, centering=centering)
    loss.backward()
    assert_close(loss.item(), expected[case]["loss"], atol=ORACLE, rtol=ORACLE)
    assert_close(chosen.grad, expected[case]["chosen_grad"], atol=ORACLE_GRADIENT, rtol=ORACLE_GRADIENT)
    accuracy = preference_accuracy(chosen.detach(), rejected)
    assert_close(accuracy.item(), expected[case]["accuracy"], atol=ORACLE, rtol=ORACLE)
