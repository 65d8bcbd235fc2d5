"""PPO raises a reward that is known exactly: the share of lower-case letters in what an untrained byte model writes."""

from pathlib import Path
from typing import Any

import pytest

from heedful.testing.policies import byte_causal, byte_encoder_decoder
from tests.alignment import aligned, inputs, rows

SETTINGS: dict[str, Any] = {
    "iterations": 16,
    "rollout": {"rows": 64, "max_new_tokens": 6},
    "ppo": {"minibatch_rows": 32, "num_epochs": 4},
    "kl": {"coef": 0.01},
    # From random weights, letters are log(259 / 26) = 2.3 nats per token away: by then a monitor would have ended the run.
    "monitors": {"kl_blow_up": {"action": "warn"}},
}
KINDS = {"causal": byte_causal, "encoder_decoder": byte_encoder_decoder}
BY_CHANCE = 26 / 259
"""Letters among all tokens."""
METHODS: dict[str, tuple[dict[str, Any], float, float]] = {
    "lora": ({"method": "lora", "r": 8, "alpha": 32.0}, 3e-2, 1.7 * BY_CHANCE),
    "full": ({"method": "full"}, 1e-2, 0.8),
}
"""Policy, learning rate, and the share to be reached: a small adapter on random weights goes slowly."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_the_score_rises(tmp_path: Path, kind: str, method: str) -> None:
    policy, lr, bar = METHODS[method]
    store = tmp_path / "store"
    given = inputs(store, KINDS[kind](0))
    table = rows(aligned(store, given, policy=policy, optimizer={"lr": lr}, **SETTINGS))
    assert table[0]["score_mean"] < 1.4 * BY_CHANCE
    assert sum(row["score_mean"] for row in table[-3:]) / 3 > bar
    assert table[-1]["kl_per_sequence"] > 1.0
