"""PPO raises a reward that is known exactly: the share of lower-case letters in what an untrained byte model writes."""

from pathlib import Path

import pytest

from heedful.testing.policies import byte_causal, byte_encoder_decoder
from tests.alignment import aligned, inputs, rows

SETTINGS = {
    "iterations": 25,
    "rollout": {"rows": 64, "max_new_tokens": 6},
    "ppo": {"minibatch_rows": 32, "num_epochs": 4},
    "kl": {"coef": 0.01},
}
KINDS = {"causal": (byte_causal, "all-linear"), "encoder_decoder": (byte_encoder_decoder, "all-linear")}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_score_rises(tmp_path: Path, kind: str, method: str) -> None:
    build, targets = KINDS[kind]
    store = tmp_path / "store"
    given = inputs(store, build(0))
    table = rows(aligned(store, given, policy={"method": method, "targets": targets}, **SETTINGS))
    first, last = (sum(row["score_mean"] for row in part) / 3 for part in (table[:3], table[-3:]))
    assert last > first + 0.3
    assert table[-1]["kl_per_sequence"] > table[1]["kl_per_sequence"]
    assert table[-1]["explained_variance"] > table[0]["explained_variance"]
