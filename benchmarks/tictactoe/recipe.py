"""How tic-tac-toe is learned, for the benchmark and for the test: one recipe, chosen on seeds that neither uses."""

from __future__ import annotations

from heedful.engines.environments.learning import GameSettings, learn
from heedful.engines.environments.tictactoe import CELLS, NUM_FEATURES, play
from heedful.engines.ppo import PPOSettings
from heedful.models.board import BoardPolicy
from heedful.records.seeds import derive_seed

GAMES = 512
"""Per iteration."""
SETTINGS = GameSettings(
    iterations=300,
    lr=3e-3,
    ppo=PPOSettings(
        num_epochs=8,
        minibatch_rows=512,
        microbatch_cells=1_000_000,
        value_clip_range=float("inf"),
        vf_coef=0.5,
        ent_coef=0.003,
        max_grad_norm=0.5,
    ),
)


def trained(seed: int) -> BoardPolicy:
    """Return a policy that has learned from games against random moves."""
    policy = BoardPolicy(NUM_FEATURES, CELLS, seed=derive_seed(seed, "weights"))
    for _ in learn(policy, lambda s: play(policy, games=GAMES, seed=s), SETTINGS, seed=seed):
        pass
    return policy
