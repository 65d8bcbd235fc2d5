"""The same core learns tic-tac-toe, with legal moves only."""

import pytest
import torch
from benchmarks.tictactoe.recipe import trained

from heedful.engines.environments.tictactoe import CELLS, LINES, MAX_MOVES, NUM_FEATURES, features, full, play, won
from heedful.models.board import BoardPolicy

BAR = 0.05
"""Share of lost games."""


@pytest.mark.slow
def test_it_hardly_ever_loses_to_random_moves() -> None:
    table = play(trained(7), games=1000, seed=1234)
    assert (table.scores < 0).float().mean() <= BAR
    for seat in (0, 1):
        assert (table.scores[seat::2] < 0).float().mean() <= 2 * BAR


def test_before_learning_it_plays_like_its_opponent() -> None:
    """Random against random, first player: 58.5 % wins, 28.8 % losses, 12.7 % draws, from counting all games."""
    policy = BoardPolicy(NUM_FEATURES, CELLS, seed=0)
    for _, parameter in policy.trainable():
        parameter.data.zero_()
    table = play(policy, games=20_000, seed=5)
    first, second = table.scores[0::2], table.scores[1::2]
    tolerance = 3 * (0.25 / 10_000) ** 0.5
    for scores, wins, losses in ((first, 0.585, 0.288), (second, 0.288, 0.585)):
        assert abs((scores > 0).float().mean() - wins) < tolerance
        assert abs((scores < 0).float().mean() - losses) < tolerance


@pytest.fixture(scope="module")
def games() -> object:
    return play(BoardPolicy(NUM_FEATURES, CELLS, seed=3), games=500, seed=3)


def test_every_move_was_legal_and_every_board_follows_from_the_last(games: object) -> None:
    states, mask, actions = games.context.states, games.mask, games.actions
    mine, theirs = states[..., :CELLS].bool(), states[..., CELLS:].bool()
    assert not (mine & theirs).any()
    taken = torch.nn.functional.one_hot(actions, CELLS).bool()
    assert not (taken & (mine | theirs))[mask].any()
    assert torch.equal(games.context.legal[mask], ~(mine | theirs)[mask])
    later = mask[:, 1:]
    assert torch.equal(mine[:, 1:][later], (mine | taken)[:, :-1][later])
    assert (theirs[:, 1:].sum(2) - theirs[:, :-1].sum(2))[later].eq(1).all()


def test_seats_alternate_and_rewards_stand_at_the_last_move(games: object) -> None:
    before = games.context.states[:, 0].sum(1)
    assert torch.equal(
        before, torch.arange(500) % 2
    )  # the opponent has moved once before the second player's first move
    last = games.mask.sum(1) - 1
    rows = torch.arange(500)
    assert torch.equal(games.rewards[rows, last], games.scores)
    assert torch.equal(games.rewards.sum(1), games.scores)
    assert set(games.scores.tolist()) == {-1.0, 0.0, 1.0}
    assert games.mask.sum(1).max() <= MAX_MOVES


def test_a_move_that_is_not_legal_has_no_probability_and_leaves_gradients_finite(games: object) -> None:
    policy = BoardPolicy(NUM_FEATURES, CELLS, seed=3)
    seen = policy.evaluate(games)
    (seen.logprobs.sum() + seen.entropy.sum() + seen.values.sum()).backward()
    assert all(torch.isfinite(p.grad).all() for _, p in policy.trainable())
    only = torch.zeros(1, CELLS, dtype=torch.bool)
    only[0, 4] = True
    assert policy.logits(torch.zeros(1, NUM_FEATURES), only).softmax(-1)[0].tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0]


def test_lines_and_full_boards() -> None:
    assert sorted(map(tuple, LINES.tolist())) == sorted(
        [(0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6)]
    )
    boards = torch.tensor(
        [[1, 1, 1, -1, -1, 0, 0, 0, 0], [1, -1, 1, 1, -1, -1, -1, 1, 1], [-1, 1, 0, 1, -1, 0, 1, 0, -1]]
    )
    assert won(boards, 1).tolist() == [True, False, False]
    assert won(boards, -1).tolist() == [False, False, True]
    assert full(boards).tolist() == [False, True, False]
    assert features(boards)[0].tolist() == [1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0]
