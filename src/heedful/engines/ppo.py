"""PPO-Clip on a table of decisions: an iteration is a rollout and its updates.

    L = policy_loss + vf_coef * value_loss - ent_coef * entropy

Each mean runs over the real decisions of the whole minibatch, so the loss does not depend on how the minibatch is cut
into microbatches. The equations are in `numerics`; what a decision is, is known only to the rollout and the policy. Text
and games run this same code. Sources: Schulman et al. 2017, arXiv:1707.06347, eq. 7 and 9; the details of Huang et al.
2024, arXiv:2403.17031.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from heedful.engines.memory import ForwardBudget, release
from heedful.engines.seeding import generator
from heedful.errors import HealthError
from heedful.models.roles import Policy
from heedful.models.table import Table
from heedful.numerics.advantages import explained_variance, gae
from heedful.numerics.masks import whiten
from heedful.numerics.policy_losses import entropy_bonus, ppo_clip, value_clip
from heedful.records.seeds import derive_seed

Metrics = dict[str, float]
RATIO_ERROR = "ratio_error"
"""The one metric that is a maximum, not a mean."""


@dataclass(frozen=True)
class PPOSettings:
    """How one rollout is turned into updates; names as in the glossary.

    `minibatch_rows` episodes make one optimizer step; `microbatch_cells` bounds rows times the cost of
    the longest in one forward. `target_kl` (nats,
    approximate KL of old to new policy) ends the epochs early. `ratio_tolerance` bounds |ratio - 1| before the first step.
    """

    num_epochs: int = 4
    minibatch_rows: int = 32
    microbatch_cells: int = 8192
    gamma: float = 1.0
    gae_lambda: float = 0.95
    clip_range: float = 0.2
    value_clip_range: float = 0.2
    vf_coef: float = 0.1
    ent_coef: float = 0.0
    whitening: Literal["biased", "bessel", "none"] = "biased"
    target_kl: float | None = None
    max_grad_norm: float | None = 1.0
    ratio_tolerance: float = 1e-4


def update(
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    table: Table,
    settings: PPOSettings,
    *,
    seed: int,
    budget: ForwardBudget | None = None,
) -> Metrics:
    """Improve the policy on one table; return the means of the metrics over the optimizer steps taken.

    `budget` says how many cells a forward holds, and remembers where that had to be less; without one it is
    `settings.microbatch_cells`.

    Raises:
        HealthError: when the ratio is not 1 before the first step, or a loss or gradient is not finite. No step is taken then.
    """
    advantages, returns = gae(
        table.rewards, table.values, table.mask, gamma=settings.gamma, gae_lambda=settings.gae_lambda
    )
    if table.own_rewards is not None:
        advantages = advantages + table.own_rewards
    if settings.whitening != "none":
        advantages = whiten(advantages, table.mask, unbiased=settings.whitening == "bessel")
    budget = budget or ForwardBudget(settings.microbatch_cells)
    longest = int(table.costs.max())
    steps: list[Metrics] = []
    for epoch in range(settings.num_epochs):
        for index in minibatches(len(table), settings.minibatch_rows, seed=seed, epoch=epoch):
            tolerance = settings.ratio_tolerance if not steps else math.inf
            cut = replace(settings, ratio_tolerance=tolerance)
            rows = index.to(table.mask.device)
            taken = partial(_gradients, policy, optimizer, table, advantages, returns, rows, cut)
            metrics = budget.fit(taken, longest=longest)
            metrics["grad_norm"] = clip_gradients(policy, settings.max_grad_norm)
            optimizer.step()
            steps.append(metrics)
        if settings.target_kl is not None and steps[-1]["approx_kl"] > 1.5 * settings.target_kl:
            break
    metrics = {name: sum(step[name] for step in steps) / len(steps) for name in steps[0]}
    metrics[RATIO_ERROR] = steps[0][RATIO_ERROR]
    metrics["optimizer_steps"] = float(len(steps))
    metrics["explained_variance"] = float(explained_variance(table.values, returns, table.mask))
    metrics["episode_return"] = float((table.rewards * table.mask).sum(1).mean())
    return metrics


def minibatches(rows: int, size: int, *, seed: int, epoch: int) -> Iterator[Tensor]:
    """Yield row numbers in a fresh order for each epoch; every row once; the last minibatch may be smaller."""
    order = torch.randperm(rows, generator=generator(seed, "minibatches", epoch))
    yield from torch.split(order, size)


def microbatches(costs: Tensor, index: Tensor, cells: int) -> Iterator[Tensor]:
    """Yield parts of `index`, costliest rows first, each of at most `cells` rows times the cost of its first (one row at least)."""
    ordered = index[torch.argsort(costs[index], descending=True, stable=True)]
    while len(ordered):
        take = max(1, cells // max(1, int(costs[ordered[0]])))
        yield ordered[:take]
        ordered = ordered[take:]


def _gradients(
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    table: Table,
    advantages: Tensor,
    returns: Tensor,
    index: Tensor,
    settings: PPOSettings,
    cells: int,
) -> Metrics:
    """Leave the gradients of one minibatch in the parameters; can be done again from the start."""
    total = int(table.mask[index].sum())
    optimizer.zero_grad(set_to_none=True)
    sums: Metrics = {}
    for rows in microbatches(table.costs, index, cells):
        part = table.rows(rows)
        width = part.mask.shape[1]
        loss, metrics = _loss(policy, part, advantages[rows][:, :width], returns[rows][:, :width], total, settings)
        if metrics[RATIO_ERROR] > settings.ratio_tolerance:
            raise HealthError(_ratio_message(metrics[RATIO_ERROR], settings.ratio_tolerance), metric=RATIO_ERROR)
        if not torch.isfinite(loss):
            message = f"the loss is {loss.item()} on rows {rows.tolist()}; no step was taken"
            raise HealthError(message, metric="policy_loss")
        loss.backward()  # type: ignore[no-untyped-call]
        for name, value in metrics.items():
            sums[name] = max(sums.get(name, 0.0), value) if name == RATIO_ERROR else sums.get(name, 0.0) + value
    return sums


def _loss(
    policy: Policy, part: Table, advantages: Tensor, returns: Tensor, total: int, settings: PPOSettings
) -> tuple[Tensor, Metrics]:
    now = policy.evaluate(part)
    policy_loss = ppo_clip(
        now.logprobs, part.logprobs, advantages, part.mask, clip_range=settings.clip_range, normalizer=total
    )
    value_loss = value_clip(
        now.values, part.values, returns, part.mask, clip_range=settings.value_clip_range, normalizer=total
    )
    entropy = entropy_bonus(now.entropy, part.mask, normalizer=total)
    loss = policy_loss.loss + settings.vf_coef * value_loss.loss
    if settings.ent_coef:  # else it is only looked at, and costs no gradient
        loss = loss - settings.ent_coef * entropy
    return loss, {
        "policy_loss": float(policy_loss.loss.detach()),
        "value_loss": float(value_loss.loss.detach()),
        "entropy": float(entropy.detach()),
        "clip_fraction": float(policy_loss.clip_fraction),
        "value_clip_fraction": float(value_loss.clip_fraction),
        "approx_kl": float(policy_loss.approx_kl),
        "ratio_mean": float(policy_loss.ratio_mean),
        RATIO_ERROR: float(policy_loss.ratio_deviation),
    }


def _ratio_message(error: float, tolerance: float) -> str:
    return (
        f"before the first optimizer step the ratio is off 1 by {error:.2e} (allowed: {tolerance:.0e}); "
        "old and new log-probs come from different computations, so PPO would learn from noise"
    )


def clip_gradients(policy: Policy, max_norm: float | None) -> float:
    """Clip all trainable gradients together, once; return their norm before.

    Raises:
        HealthError: when the norm is not finite; names the first parameter that is to blame.
    """
    named = [(name, p) for name, p in policy.trainable() if p.grad is not None]
    norm = torch.nn.utils.clip_grad_norm_([p for _, p in named], math.inf if max_norm is None else max_norm)
    if not torch.isfinite(norm):
        bad = next((name for name, p in named if not torch.isfinite(p.grad).all()), "unknown")  # type: ignore[arg-type]
        raise HealthError(f"the gradient of {bad} is not finite; no step was taken", metric="grad_norm")
    return float(norm)


def train(
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    rollout: Callable[[int], Table],
    settings: PPOSettings,
    *,
    iterations: range,
    seed: int,
    budget: ForwardBudget | None = None,
) -> Iterator[tuple[int, Table, Metrics]]:
    """Roll out and update, iteration by iteration; yield after each, so that the caller logs, saves and stops as it likes."""
    for iteration in iterations:
        table = rollout(iteration)
        release()
        order = derive_seed(seed, "order", iteration)
        metrics = update(policy, optimizer, table, settings, seed=order, budget=budget)
        release()
        yield iteration, table, metrics
