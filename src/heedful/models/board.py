"""A small policy over board states, with a value head and a mask of legal moves: the PPO core's other customer.

It has nothing of a language model. That the same `engines.ppo` trains both shows that the core knows no text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from heedful.models.heads import ScalarHead
from heedful.models.table import Evaluation, Table, scatter
from heedful.numerics.logprobs import logprobs_and_entropy


@dataclass(frozen=True)
class Boards:
    """What the player saw at each decision: `states` [B, T, F] fp32; `legal` [B, T, A] bool, True = allowed."""

    states: Tensor
    legal: Tensor

    def __getitem__(self, rows: Tensor) -> Boards:
        return Boards(self.states[rows], self.legal[rows])

    def __len__(self) -> int:
        return self.states.shape[0]


class BoardPolicy:
    """Two hidden layers with ReLU, a head over the moves and a zero value head.

    Args:
        num_features: F, numbers that describe a state.
        num_actions: A, moves there are, legal or not.
        width: of the hidden layers.
        seed: for the weights.
    """

    def __init__(self, num_features: int, num_actions: int, *, width: int = 128, seed: int = 0) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed % 2**63)
            self.body = nn.Sequential(nn.Linear(num_features, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
            self.moves = nn.Linear(width, num_actions)
        self.value_head = ScalarHead(width, zero=True)

    def trainable(self) -> Iterator[tuple[str, Parameter]]:
        """Yield all weights, by name."""
        parts: dict[str, nn.Module] = {"body": self.body, "moves": self.moves, "value_head": self.value_head}
        for part, module in parts.items():
            for name, parameter in module.named_parameters():
                yield f"{part}.{name}", parameter

    def logits(self, states: Tensor, legal: Tensor) -> Tensor:
        """Return [N, A] for states [N, F]: -inf where a move is not `legal` [N, A], so that it is never made."""
        moves: Tensor = self.moves(self.body(states))
        return moves.masked_fill(~legal, -torch.inf)

    def evaluate(self, table: Table) -> Evaluation:
        """Return log-probs, values and entropies [B, T] of the table's moves, with gradients."""
        boards, mask = cast(Boards, table.context), table.mask
        width = mask.shape[1]  # a table of few rows is cut to its longest game, its boards are not
        hidden = self.body(boards.states[:, :width][mask])
        logits = self.moves(hidden).masked_fill(~boards.legal[:, :width][mask], -torch.inf)
        logprobs, entropy = logprobs_and_entropy(logits, table.actions[mask])
        return Evaluation(scatter(logprobs, mask), scatter(self.value_head(hidden), mask), scatter(entropy, mask))
