"""One PPO update of a one-layer GPT-2: our numerics against what TRL 1.12.0 computed, recorded in tests/golden."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.testing import assert_close
from transformers import GPT2Config, GPT2ForSequenceClassification, GPT2LMHeadModel

from heedful.numerics.advantages import gae
from heedful.numerics.kl import k1
from heedful.numerics.logprobs import head_logprobs
from heedful.numerics.masks import masked_mean, one_longer, whiten
from heedful.numerics.policy_losses import PolicyLoss, ValueLoss, ppo_clip, value_clip
from heedful.numerics.rewards import missing_eos, shape_rewards
from tests.tolerances import ORACLE, ORACLE_GRADIENT

GOLDEN = Path(__file__).parent.parent / "golden"
CHUNK = 7  # decisions at a time in the output layer: several chunks, the last one short


@dataclass
class Update:
    """TRL's models and rollout, with log-probs, values and rewards computed by our functions."""

    inputs: dict[str, Any]
    expected: dict[str, Any]
    recorded: dict[str, Tensor]
    models: dict[str, Any]

    @property
    def tokens(self) -> Tensor:
        return self.inputs["tokens"]

    @property
    def mask(self) -> Tensor:
        return self.tokens != self.inputs["pad"]

    def hidden(self, role: str, rows: Tensor) -> Tensor:
        """Hidden states before each completion token, positions counted from the first real token."""
        both = torch.cat([self.inputs["prompts"], self.tokens], 1)[rows]
        real = both != self.inputs["pad"]
        feed = {"input_ids": both.masked_fill(~real, 0), "position_ids": real.cumsum(1) - real.long()}
        return self.models[role].transformer(attention_mask=real, **feed).last_hidden_state

    def logprobs(self, role: str, rows: Tensor) -> Tensor:
        mask, start = self.mask[rows], self.inputs["prompts"].shape[1]
        cells = self.hidden(role, rows)[:, start - 1 : -1][mask]
        temperature = self.inputs["settings"]["temperature"] + 1e-7  # as TRL divides
        head = self.models[role].lm_head
        found, _ = head_logprobs(cells, head, self.tokens[rows][mask], temperature=temperature, chunk=CHUNK)
        return torch.zeros(mask.shape).masked_scatter(mask, found)

    def values(self, rows: Tensor) -> Tensor:
        start = self.inputs["prompts"].shape[1]
        scalars = self.models["value"].score(self.hidden("value", rows)).squeeze(-1)[:, start - 1 : -1]
        return scalars * one_longer(self.mask[rows])

    def scores(self) -> Tensor:
        """The reward model at each row's last real token."""
        rows = torch.arange(len(self.tokens))
        last = self.inputs["prompts"].shape[1] + self.mask.sum(1) - 1
        return self.models["reward"].score(self.hidden("reward", rows)).squeeze(-1)[rows, last]

    def punished(self, scores: Tensor) -> Tensor:
        finished = (self.tokens == self.inputs["eos"]).any(1)
        return missing_eos(scores, finished, mode="subtract", value=self.inputs["settings"]["missing_eos_penalty"])


@pytest.fixture
def update(golden: Callable) -> Update:
    inputs, expected = golden("trl112_update.json")
    recorded = load_file(GOLDEN / "trl112_update.safetensors")
    size = {"vocab_size": 24, "n_positions": 64, "n_embd": 16, "n_layer": 1, "n_head": 2}
    special = {"bos_token_id": 0, "eos_token_id": inputs["eos"], "pad_token_id": inputs["pad"]}
    config = GPT2Config(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, num_labels=1, **size, **special)
    kinds = dict.fromkeys(("policy", "reference"), GPT2LMHeadModel)
    kinds |= dict.fromkeys(("reward", "value"), GPT2ForSequenceClassification)
    models = {role: kind(config) for role, kind in kinds.items()}
    for role, model in models.items():
        for name, parameter in model.named_parameters():
            parameter.data.copy_(recorded[f"{role}.{name}"])
    return Update(inputs, expected, recorded, models)


@dataclass
class Rollout:
    logprobs: Tensor
    kl: Tensor
    values: Tensor
    scores: Tensor
    advantages: Tensor
    returns: Tensor


@torch.no_grad()
def rollout(update: Update) -> Rollout:
    rows, settings = torch.arange(len(update.tokens)), update.inputs["settings"]
    logprobs, values, scores = update.logprobs("policy", rows), update.values(rows), update.scores()
    kl = k1(logprobs, update.logprobs("reference", rows))
    paid = update.punished(scores)
    rewards = shape_rewards(paid, kl, update.mask, kl_coef=settings["kl_coef"], position="post_eos")
    advantages, returns = gae(
        rewards, values, one_longer(update.mask), gamma=settings["gamma"], gae_lambda=settings["lam"]
    )
    return Rollout(logprobs, kl, values, scores, advantages, returns)


def losses(update: Update, done: Rollout, rows: Tensor) -> tuple[PolicyLoss, ValueLoss]:
    mask, settings = update.mask, update.inputs["settings"]
    advantages = whiten(done.advantages, mask, unbiased=True)
    policy = ppo_clip(
        update.logprobs("policy", rows),
        done.logprobs[rows],
        advantages[rows],
        mask[rows],
        clip_range=settings["cliprange"],
    )
    value = value_clip(
        update.values(rows),
        done.values[rows],
        done.returns[rows],
        one_longer(mask)[rows],
        clip_range=settings["cliprange_value"],
    )
    return policy, value


def test_rollout_quantities_are_trls(update: Update) -> None:
    done, expected, mask = rollout(update), update.expected, update.mask
    assert torch.equal(mask, expected["mask"])
    assert_close(done.logprobs[mask], expected["old_logprobs"][mask], atol=ORACLE, rtol=ORACLE)
    reference = done.logprobs - done.kl
    assert_close(reference[mask], expected["ref_logprobs"][mask], atol=ORACLE, rtol=ORACLE)
    wide = one_longer(mask)
    assert_close(done.values[wide], expected["values"][wide], atol=ORACLE, rtol=ORACLE)
    assert_close(done.scores, expected["scores"], atol=ORACLE, rtol=ORACLE)
    paid = update.punished(done.scores).mean().item()
    assert_close(paid, expected["metrics"]["objective/scores"], atol=ORACLE, rtol=ORACLE)
    assert_close(done.kl.sum(1).mean().item(), expected["metrics"]["objective/kl"], atol=ORACLE, rtol=ORACLE)


def test_advantages_are_trls(update: Update) -> None:
    done, expected, mask = rollout(update), update.expected, update.mask
    assert_close(done.advantages, expected["advantages"], atol=ORACLE, rtol=ORACLE)
    whitened = whiten(done.advantages, mask, unbiased=True)
    assert_close(whitened[mask], expected["advantages_whitened"][mask], atol=ORACLE, rtol=ORACLE)
    assert abs(masked_mean(whitened, mask).item()) < ORACLE


def test_losses_and_gradients_are_trls(update: Update) -> None:
    done, metrics = rollout(update), update.expected["metrics"]
    microbatches = update.inputs["order"].split(update.inputs["microbatch_rows"])
    policy_losses, value_losses = [], []
    for rows in microbatches:
        policy, value = losses(update, done, rows)
        loss = policy.loss + update.inputs["settings"]["vf_coef"] * value.loss
        (loss / len(microbatches)).backward()
        policy_losses.append(policy.loss.item())
        value_losses.append(value.loss.item())
        assert policy.clip_fraction == metrics["policy/clipfrac_avg"]
        assert_close(policy.ratio_mean.item(), metrics["val/ratio"], atol=ORACLE, rtol=ORACLE)
    assert_close(sum(policy_losses) / 2, metrics["loss/policy_avg"], atol=ORACLE, rtol=ORACLE)
    assert_close(sum(value_losses) / 2, metrics["loss/value_avg"], atol=ORACLE, rtol=ORACLE)
    for role in ("policy", "value"):
        compare_gradients(update, role)


def compare_gradients(update: Update, role: str) -> None:
    theirs = {name: x for name, x in update.recorded.items() if name.startswith(f"{role}_grad.")}
    ours = {f"{role}_grad.{n}": p.grad for n, p in update.models[role].named_parameters() if p.grad is not None}
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        assert_close(ours[name], gradient, atol=ORACLE_GRADIENT, rtol=ORACLE_GRADIENT, msg=name)


def test_score_on_the_last_token_gives_other_advantages(update: Update) -> None:
    """The parity switch is a switch: by default the last real token sees the score at once (row 0 has its EOS)."""
    rows, settings = torch.arange(len(update.tokens)), update.inputs["settings"]
    with torch.no_grad():
        logprobs, values, scores = update.logprobs("policy", rows), update.values(rows), update.scores()
        kl = k1(logprobs, update.logprobs("reference", rows))
    rewards = shape_rewards(scores, kl, update.mask, kl_coef=settings["kl_coef"])
    found, _ = gae(rewards, values, update.mask, gamma=settings["gamma"], gae_lambda=settings["lam"])
    # By hand from TRL's own numbers: score - value - KL penalty.
    e = update.expected
    by_hand = e["scores"][0] - e["values"][0, 1]
    by_hand = by_hand - settings["kl_coef"] * (e["old_logprobs"][0, 1] - e["ref_logprobs"][0, 1])
    assert_close(found[0, 1], by_hand, atol=ORACLE, rtol=ORACLE)
    assert (found[0, 1] - e["advantages"][0, 1]).abs() > 0.1
