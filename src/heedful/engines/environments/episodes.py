"""From what was played to a table of decisions: log-probs and values come from the forward that training uses."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from heedful.models.roles import Policy
from heedful.models.table import Context, Table


@torch.no_grad()
def record(
    policy: Policy, context: Context, actions: Tensor, mask: Tensor, rewards: Tensor, metrics: dict[str, float]
) -> Table:
    """Return the table of episodes just played by `policy`, each its own group, each ended by its rules.

    Args:
        actions, mask, rewards: [B, T]; real decisions stand at the left. An episode's score is the sum of its rewards.
    """
    blank = torch.zeros(mask.shape)
    table = Table(
        actions=actions,
        mask=mask,
        logprobs=blank,
        values=blank,
        rewards=rewards,
        context=context,
        group=torch.arange(len(mask)),
        truncated=torch.zeros(len(mask), dtype=torch.bool),
        scores=rewards.sum(1),
        metrics=metrics,
    )
    seen = policy.evaluate(table)
    return replace(table, logprobs=seen.logprobs, values=seen.values)
