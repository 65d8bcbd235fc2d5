"""The PPO core on the smallest task there is: which of five arms pays most often."""

import torch

from heedful.engines.environments.bandit import NUM_FEATURES, pull
from heedful.engines.environments.learning import GameSettings, learn
from heedful.engines.ppo import PPOSettings
from heedful.models.board import BoardPolicy

ARMS = (0.1, 0.3, 0.8, 0.5, 0.6)
BEST = 2
SETTINGS = GameSettings(
    iterations=60, lr=1e-2, ppo=PPOSettings(minibatch_rows=256, value_clip_range=float("inf"), vf_coef=0.5)
)
SURE = 0.95
STANDARD_ERROR = (0.8 * 0.2 / 4096) ** 0.5


def preferences(policy: BoardPolicy) -> torch.Tensor:
    everything = torch.ones(1, len(ARMS), dtype=torch.bool)
    return policy.logits(torch.ones(1, NUM_FEATURES), everything).softmax(-1)[0].detach()


def solved(seed: int) -> BoardPolicy:
    policy = BoardPolicy(NUM_FEATURES, len(ARMS), width=16, seed=seed)
    for _ in learn(policy, lambda s: pull(policy, ARMS, episodes=256, seed=s), SETTINGS, seed=seed):
        pass
    return policy


def test_it_finds_the_best_arm_with_three_seeds() -> None:
    for seed in (1, 2, 3):
        policy = solved(seed)
        assert preferences(policy)[BEST] > SURE, seed
        paid = pull(policy, ARMS, episodes=4096, seed=99).metrics["paid"]
        assert abs(paid - ARMS[BEST]) < (1 - SURE) * ARMS[BEST] + 3 * STANDARD_ERROR


def test_the_value_head_learns_what_the_policy_earns() -> None:
    policy = solved(1)
    table = pull(policy, ARMS, episodes=16, seed=0)
    expected = float(preferences(policy) @ torch.tensor(ARMS))
    assert (table.values - expected).abs().max() < 0.1


def test_two_runs_with_one_seed_are_bit_identical() -> None:
    one, two = solved(4), solved(4)
    for (name, a), (_, b) in zip(one.trainable(), two.trainable(), strict=True):
        assert torch.equal(a, b), name
