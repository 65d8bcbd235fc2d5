"""Tic-tac-toe against an opponent who makes any legal move with equal probability.

A board is nine cells, row by row: 1 is the learner, -1 the opponent, 0 empty. The learner opens games with an even number. A row
of the table is a game, a column a move of the learner; what the opponent does in between belongs to the environment. The last move
of a game earns 1 for a win, 0 for a draw and -1 for a loss.
"""

from __future__ import annotations

import torch
from torch import Tensor

from heedful.engines.environments.episodes import record
from heedful.engines.generation import draw
from heedful.engines.seeding import generator
from heedful.models.board import BoardPolicy, Boards
from heedful.models.table import Table

CELLS = 9
NUM_FEATURES = 2 * CELLS
MAX_MOVES = 5
"""Of the learner in one game."""
LINES = torch.tensor([[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 3, 6], [1, 4, 7], [2, 5, 8], [0, 4, 8], [2, 4, 6]])
LEARNER, OPPONENT = 1, -1


def features(boards: Tensor) -> Tensor:
    """Return [B, 18] for boards [B, 9]: where the learner stands, then where the opponent does."""
    return torch.cat([boards == LEARNER, boards == OPPONENT], 1).float()


def won(boards: Tensor, player: int) -> Tensor:
    """Return [B] bool: True where `player` holds a line."""
    return (boards[:, LINES] == player).all(2).any(1)


def full(boards: Tensor) -> Tensor:
    """Return [B] bool: True where no cell is empty."""
    return (boards != 0).all(1)


class _Games:
    """Games in progress; a move is made only where a game still runs and `where` is True."""

    def __init__(self, games: int) -> None:
        self.boards = torch.zeros(games, CELLS, dtype=torch.int8)
        self.running = torch.ones(games, dtype=torch.bool)
        self.results = torch.zeros(games)

    def move(self, moves: Tensor, player: int, where: Tensor) -> None:
        rows = (self.running & where).nonzero()[:, 0]
        self.boards[rows, moves[rows]] = player
        victory = won(self.boards, player) & self.running
        self.results[victory] = float(player)
        self.running = self.running & ~victory & ~full(self.boards)


@torch.no_grad()
def play(policy: BoardPolicy, *, games: int, seed: int) -> Table:
    """Return `games` games of `policy`, its moves drawn from its own distribution, against random moves.

    The table's metrics are the shares of wins, draws and losses.
    """
    uniforms = torch.rand(games, MAX_MOVES, 2, generator=generator(seed, "tictactoe"), dtype=torch.float64)
    state = _Games(games)
    second = torch.arange(games) % 2 == 1
    everyone = torch.ones_like(second)
    opening = torch.rand(games, generator=generator(seed, "tictactoe", "opening"), dtype=torch.float64)
    state.move(_random_moves(state.boards, opening), OPPONENT, second)
    states, legal, actions, masks, rewards = [], [], [], [], []
    for t in range(MAX_MOVES):
        states.append(features(state.boards))
        legal.append((state.boards == 0) | ~state.running[:, None])
        actions.append(draw(policy.logits(states[t], legal[t]), uniforms[:, t, 0], 1.0))
        masks.append(state.running)
        state.move(actions[t], LEARNER, everyone)
        state.move(_random_moves(state.boards, uniforms[:, t, 1]), OPPONENT, everyone)
        rewards.append(torch.where(masks[t] & ~state.running, state.results, 0.0))
    boards = Boards(torch.stack(states, 1), torch.stack(legal, 1))
    moves, mask, paid = (torch.stack(column, 1) for column in (actions, masks, rewards))
    return record(policy, boards, moves, mask, paid, _shares(state.results))


def _random_moves(boards: Tensor, uniforms: Tensor) -> Tensor:
    empty = (boards == 0) | full(boards)[:, None]  # a full board asks for no move; any number will do
    return draw(torch.zeros(boards.shape).masked_fill(~empty, -torch.inf), uniforms, 1.0)


def _shares(results: Tensor) -> dict[str, float]:
    return {
        "win_share": float((results == LEARNER).float().mean()),
        "draw_share": float((results == 0).float().mean()),
        "loss_share": float((results == OPPONENT).float().mean()),
    }
