"""Text rollouts: prompts are answered, judged and turned into a table of decisions with rewards.

    reward_t = -kl_coef * kl_t  (+ score on the last real decision)

With the exact KL, reward_t is the same whatever the decision was, so that by itself it would hold back only the decisions before t.
What the decision at t adds, -kl_coef * (k1_t - kl_t), has mean 0 in its state and goes to its own advantage: the gradient is then
the one that k1 gives, without k1's noise from later decisions.

Old log-probs come from the same forward that training uses, not from the sampler, so that the ratio is 1 before the first step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from heedful.engines.generation import Sampled, sample
from heedful.engines.memory import ForwardBudget, decoding_budget
from heedful.engines.scored import Judged, judge
from heedful.models.policy import BesideReference, LanguagePolicy, Reference
from heedful.models.roles import Scorer
from heedful.models.table import Table
from heedful.models.trunks import PromptTokens
from heedful.numerics.kl import AdaptiveKL, FixedKL, k1
from heedful.numerics.masks import masked_mean
from heedful.numerics.rewards import missing_eos, shape_rewards
from heedful.records.types import Prompt


@dataclass(frozen=True)
class RewardSettings:
    """How scores and KL become rewards. `missing_eos_value` is subtracted from, or replaces, a truncated completion's score."""

    kl_estimator: Literal["k1", "exact"] = "k1"
    missing_eos: Literal["subtract", "replace"] = "subtract"
    missing_eos_value: float = 1.0


@dataclass(frozen=True)
class Answers:
    """The text side of a table: prompts, completions and their scores, in the table's order; no scores where they were refused."""

    prompts: list[Prompt]
    completions: list[str]
    scores: list[float]


class TextRollout:
    """Answers prompts with the present policy and returns a table; the answers of the last call stay readable in `answers`.

    Args:
        kl: the controller; replaced by the caller after each iteration when it adapts.
        budget: how many cells a forward over finished completions holds.
        decoding: how many rows are decoded together.
    """

    def __init__(
        self,
        policy: LanguagePolicy,
        reference: Reference,
        scorer: Scorer,
        *,
        kl: FixedKL | AdaptiveKL,
        rewards: RewardSettings,
        max_new_tokens: int,
        budget: ForwardBudget | None = None,
        decoding: ForwardBudget | None = None,
    ) -> None:
        self.policy = policy
        self.reference = reference
        self.scorer = scorer
        self.kl = kl
        self.rewards = rewards
        self.max_new_tokens = max_new_tokens
        self.budget = budget or ForwardBudget(8192)
        self.decoding = decoding or decoding_budget(64)
        self.answers = Answers([], [], [])
        self.cache_bytes = 0
        """What the cache of keys and values held in the last rollout, at most."""

    def __call__(self, prompts: Sequence[Prompt], seeds: Sequence[int], **columns: Sequence[Any]) -> Table:
        """Return one row per prompt. `columns` go to the scorer."""
        self.answers = Answers([], [], [])
        context = self.policy.tokens(prompts, room=self.max_new_tokens)
        sampled = sample(self.policy, context, seeds, max_new_tokens=self.max_new_tokens, budget=self.decoding)
        self.cache_bytes = sampled.cache_bytes
        texts = [
            self.policy.renderer.completion_text(row[keep].tolist())
            for row, keep in zip(sampled.actions.cpu(), sampled.mask.cpu(), strict=True)
        ]
        self.answers = Answers(list(prompts), texts, [])
        judged = judge(self.scorer, prompts, texts, **columns)
        self.answers = Answers(list(prompts), texts, judged.scores)
        beside = self._evaluated(context, sampled)
        return self._table(context, sampled, beside, judged)

    def _evaluated(self, context: PromptTokens, sampled: Sampled) -> BesideReference:
        longest = int((context.lengths + sampled.mask.sum(1)).max())
        work = partial(evaluate_in_parts, self.policy, self.reference, context, sampled)
        return self.budget.fit(work, longest=longest)

    def _table(self, context: PromptTokens, sampled: Sampled, beside: BesideReference, judged: Judged) -> Table:
        settings, raw = self.rewards, torch.tensor(judged.scores)
        scores = missing_eos(raw, ~sampled.truncated.cpu(), mode=settings.missing_eos, value=settings.missing_eos_value)
        scores = scores.to(context.tokens.device)
        sampled_kl = k1(beside.logprobs, beside.ref_logprobs) * sampled.mask
        kl = beside.exact_kl if settings.kl_estimator == "exact" else sampled_kl
        own_rewards = self.kl.kl_coef * (kl - sampled_kl) if settings.kl_estimator == "exact" else None
        rewards = shape_rewards(scores, kl, sampled.mask, kl_coef=self.kl.kl_coef)
        return Table(
            actions=sampled.actions,
            mask=sampled.mask,
            logprobs=beside.logprobs,
            values=beside.values,
            rewards=rewards,
            context=context,
            group=torch.arange(len(context), device=scores.device),
            truncated=sampled.truncated,
            ref_logprobs=beside.ref_logprobs,
            sampler_logprobs=sampled.logprobs,
            kl=kl,
            scores=scores,
            forward_costs=context.lengths + sampled.mask.sum(1),
            own_rewards=own_rewards,
            metrics=_metrics(sampled, beside, sampled_kl, raw, rewards, self.kl.kl_coef) | judged.metrics,
        )


def _metrics(
    sampled: Sampled, beside: BesideReference, sampled_kl: Tensor, raw: Tensor, rewards: Tensor, kl_coef: float
) -> dict[str, float]:
    mask = sampled.mask
    return {
        "score_mean": float(raw.mean()),
        "score_sd": float(raw.std(correction=0)),
        "reward_mean": float((rewards * mask).sum(1).mean()),
        "kl_per_token": float(masked_mean(beside.exact_kl, mask)),
        "kl_per_sequence": float((beside.exact_kl * mask).sum(1).mean()),
        "kl_estimate": float(sampled_kl.sum(1).mean()),
        "kl_coef": kl_coef,
        "rollout_entropy": float(masked_mean(beside.entropy, mask)),
        "length_mean": float(mask.sum(1).float().mean()),
        "truncated_share": float(sampled.truncated.float().mean()),
        "sampler_mismatch": float(masked_mean((beside.logprobs - sampled.logprobs).abs().exp(), mask)),
    }


def evaluate_in_parts(
    policy: LanguagePolicy, reference: Reference, context: PromptTokens, sampled: Sampled, cells: int
) -> BesideReference:
    """Evaluate policy and reference on a whole rollout, in parts of at most `cells` rows times columns, ordered by length."""
    lengths = context.lengths + sampled.mask.sum(1)
    out = {name: torch.zeros(sampled.mask.shape, device=policy.device) for name in BesideReference.__dataclass_fields__}
    order = torch.argsort(lengths, descending=True, stable=True)
    while len(order):
        rows = order[: max(1, cells // int(lengths[order[0]]))]
        width = max(1, int(sampled.mask[rows].sum(1).max()))
        part = policy.evaluate_beside(
            reference, context[rows], sampled.actions[rows][:, :width], sampled.mask[rows][:, :width]
        )
        for name, cells_out in out.items():
            cells_out[rows, :width] = getattr(part, name)
        order = order[len(rows) :]
    return BesideReference(**out)
