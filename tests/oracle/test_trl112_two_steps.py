"""`engines.ppo.update` itself does what TRL 1.12.0 did: two steps on one recorded rollout of a one-layer GPT-2, with clipping.

The completions fill the whole length: only then has TRL as many values as decisions, the score on the last token, and a mean per
microbatch that is the mean. What it does where completions end early is compared piece by piece in `test_trl112_update`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import Parameter
from torch.testing import assert_close
from transformers import GPT2Config, GPT2ForSequenceClassification, GPT2LMHeadModel

from heedful.engines.ppo import PPOSettings, update
from heedful.models.table import Evaluation, Table, scatter
from heedful.numerics.advantages import gae
from heedful.numerics.kl import k1
from heedful.numerics.logprobs import head_logprobs
from heedful.numerics.rewards import missing_eos, shape_rewards
from tests.tolerances import ORACLE, ORACLE_GRADIENT

RECORDED = Path(__file__).parent.parent / "golden" / "trl112_two_steps.safetensors"
CELLS = {"whole": 1_000, "two rows at a time": 16, "row by row": 1}


@dataclass(frozen=True)
class Prompts:
    """What the policy reads before a completion: tokens, padded on the left."""

    tokens: Tensor

    def __getitem__(self, rows: Tensor) -> Self:
        return type(self)(self.tokens[rows])

    def __len__(self) -> int:
        return len(self.tokens)


class TwoModels:
    """TRL's policy and value model, which share nothing."""

    def __init__(self, inputs: dict[str, Any], recorded: dict[str, Tensor]) -> None:
        size = {"vocab_size": 24, "n_positions": 64, "n_embd": 16, "n_layer": 1, "n_head": 2}
        special = {"bos_token_id": 0, "eos_token_id": inputs["eos"], "pad_token_id": inputs["pad"]}
        config = GPT2Config(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, num_labels=1, **size, **special)
        self.models: dict[str, Any] = {
            "policy": GPT2LMHeadModel(config),
            "value": GPT2ForSequenceClassification(config),
        }
        for name, parameter in self.trainable():
            parameter.data.copy_(recorded[name])
        self.pad: int = inputs["pad"]
        self.temperature: float = inputs["settings"]["temperature"] + 1e-7  # as TRL divides

    def trainable(self) -> Iterator[tuple[str, Parameter]]:
        for role, model in self.models.items():
            yield from ((f"{role}.{name}", p) for name, p in model.named_parameters())

    def evaluate(self, table: Table) -> Evaluation:
        policy, value, mask = self.models["policy"], self.models["value"], table.mask
        cells = self._before_each_token(policy, table)[mask]
        logprobs, entropy = head_logprobs(cells, policy.lm_head, table.actions[mask], temperature=self.temperature)
        values = value.score(self._before_each_token(value, table)[mask]).squeeze(-1)
        return Evaluation(scatter(logprobs, mask), scatter(values, mask), scatter(entropy, mask))

    def _before_each_token(self, model: Any, table: Table) -> Tensor:
        both = torch.cat([table.context.tokens, table.actions], 1)
        real = both != self.pad
        feed = {"input_ids": both.masked_fill(~real, 0), "position_ids": real.cumsum(1) - real.long()}
        hidden: Tensor = model.transformer(attention_mask=real, **feed).last_hidden_state
        return hidden[:, -table.actions.shape[1] - 1 : -1]


def recorded_table(inputs: dict[str, Any], expected: dict[str, Any]) -> Table:
    """TRL's rollout: its tokens, log-probs, values and scores; the rewards are made of them."""
    tokens, settings = inputs["tokens"], inputs["settings"]
    mask, ended = torch.ones(tokens.shape, dtype=torch.bool), (tokens == inputs["eos"]).any(1)
    paid = missing_eos(expected["scores"], ended, mode="subtract", value=settings["missing_eos_penalty"])
    kl = k1(expected["old_logprobs"], expected["ref_logprobs"])
    return Table(
        actions=tokens,
        mask=mask,
        logprobs=expected["old_logprobs"],
        values=expected["values"],
        rewards=shape_rewards(paid, kl, mask, kl_coef=settings["kl_coef"]),
        context=Prompts(inputs["prompts"]),
        group=torch.arange(len(tokens)),
        truncated=~ended,
    )


def their_settings(given: dict[str, Any], rows: int, cells: int) -> PPOSettings:
    return PPOSettings(
        num_epochs=2,
        minibatch_rows=rows,
        microbatch_cells=cells,
        gamma=given["gamma"],
        gae_lambda=given["lam"],
        clip_range=given["cliprange"],
        value_clip_range=given["cliprange_value"],
        vf_coef=given["vf_coef"],
        whitening="bessel",
        max_grad_norm=None,
    )


@dataclass
class Done:
    """Our update: its metrics, the gradients before each step, the weights after."""

    metrics: dict[str, float]
    gradients: list[dict[str, Tensor]]
    weights: dict[str, Tensor]


def updated(inputs: dict[str, Any], expected: dict[str, Any], cells: int) -> Done:
    policy, gradients = TwoModels(inputs, load_file(RECORDED)), []
    optimizer = torch.optim.SGD([p for _, p in policy.trainable()], lr=inputs["settings"]["learning_rate"])

    def keep(*_: object) -> None:
        gradients.append({name: p.grad.clone() for name, p in policy.trainable() if p.grad is not None})

    optimizer.register_step_pre_hook(keep)
    table = recorded_table(inputs, expected)
    metrics = update(policy, optimizer, table, their_settings(inputs["settings"], len(table), cells), seed=0)
    return Done(metrics, gradients, {name: p.detach() for name, p in policy.trainable()})


def test_advantages_are_trls(golden: Callable) -> None:
    inputs, expected = golden("trl112_two_steps.json")
    table, given = recorded_table(inputs, expected), inputs["settings"]
    found, _ = gae(table.rewards, table.values, table.mask, gamma=given["gamma"], gae_lambda=given["lam"])
    assert_close(found, expected["advantages"], atol=ORACLE, rtol=ORACLE)


@pytest.mark.parametrize("cells", CELLS.values(), ids=CELLS)
def test_both_steps_have_trls_gradients_and_weights(golden: Callable, cells: int) -> None:
    recorded, done = load_file(RECORDED), updated(*golden("trl112_two_steps.json"), cells)
    close = {"atol": ORACLE_GRADIENT, "rtol": ORACLE_GRADIENT}
    for step, gradients in enumerate(done.gradients, start=1):
        theirs = {key: x for key, x in recorded.items() if f"_grad{step}." in key}
        assert len(theirs) == len(gradients) > 0
        for key, expected in theirs.items():
            assert_close(gradients[key.replace(f"_grad{step}", "")], expected, **close, msg=key)
    assert len(done.gradients) == 2
    for name, weight in done.weights.items():
        assert_close(weight, recorded[name.replace(".", "_after.", 1)], **close, msg=name)


def test_losses_are_trls(golden: Callable) -> None:
    inputs, expected = golden("trl112_two_steps.json")
    metrics, theirs = updated(inputs, expected, CELLS["whole"]).metrics, expected["metrics"]
    names = {
        "policy_loss": "loss/policy_avg",
        "value_loss": "loss/value_avg",
        "clip_fraction": "policy/clipfrac_avg",
        "value_clip_fraction": "val/clipfrac_avg",
        "entropy": "policy/entropy_avg",
        "ratio_mean": "val/ratio",
    }
    for ours, name in names.items():
        assert metrics[ours] == pytest.approx(theirs[name], abs=ORACLE, rel=ORACLE), ours
    assert metrics["optimizer_steps"] == 2
    assert 0 < theirs["policy/clipfrac_avg"] < 1
    assert 0 < theirs["val/clipfrac_avg"] < 1
