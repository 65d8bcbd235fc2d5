"""PPO on a game: the plain loop around `engines.ppo` that a text run has in `engines.aligning`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch

from heedful.engines.ppo import Metrics, PPOSettings, train
from heedful.models.roles import Policy
from heedful.models.table import Table
from heedful.records.seeds import derive_seed


@dataclass(frozen=True)
class GameSettings:
    """How a game is learned: AdamW at `lr`, falling linearly to 0 over the `iterations`, and the settings of PPO."""

    iterations: int
    lr: float
    ppo: PPOSettings = field(default_factory=PPOSettings)


def learn(
    policy: Policy, play: Callable[[int], Table], settings: GameSettings, *, seed: int
) -> Iterator[tuple[int, Table, Metrics]]:
    """Train `policy` and yield each iteration with its table and metrics.

    Args:
        play: a seed to a table of episodes, played by the same policy.
    """
    parameters = [parameter for _, parameter in policy.trainable()]
    optimizer = torch.optim.AdamW(parameters, lr=settings.lr, eps=1e-5, weight_decay=0.0)

    def rollout(iteration: int) -> Table:
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * (1 - iteration / settings.iterations)
        return play(derive_seed(seed, "rollout", iteration))

    yield from train(policy, optimizer, rollout, settings.ppo, iterations=range(settings.iterations), seed=seed)
