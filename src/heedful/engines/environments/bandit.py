"""A bandit: one decision per episode, each arm pays 1 with a probability of its own, else 0."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from heedful.engines.environments.episodes import record
from heedful.engines.generation import draw
from heedful.engines.seeding import generator
from heedful.models.board import BoardPolicy, Boards
from heedful.models.table import Table

NUM_FEATURES = 1
"""There is nothing to see: the state is a constant 1."""


@torch.no_grad()
def pull(policy: BoardPolicy, probabilities: Sequence[float], *, episodes: int, seed: int) -> Table:
    """Return `episodes` pulls by `policy`.

    Args:
        probabilities: of a payment of 1, by arm; as many as the policy has moves.
    """
    uniforms = torch.rand(episodes, 2, generator=generator(seed, "bandit"), dtype=torch.float64)
    boards = Boards(
        torch.ones(episodes, 1, NUM_FEATURES), torch.ones(episodes, 1, len(probabilities), dtype=torch.bool)
    )
    arms = draw(policy.logits(boards.states[:, 0], boards.legal[:, 0]), uniforms[:, 0], 1.0)
    paid = (uniforms[:, 1] < torch.tensor(probabilities, dtype=torch.float64)[arms]).float()
    mask = torch.ones(episodes, 1, dtype=torch.bool)
    return record(policy, boards, arms[:, None], mask, paid[:, None], {"paid": float(paid.mean())})
