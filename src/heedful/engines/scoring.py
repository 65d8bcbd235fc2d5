"""Which scorer judges a run: the reward model of an artifact, or a Python function."""

from __future__ import annotations

from pathlib import Path

from heedful.errors import ConfigError
from heedful.models.functions import FunctionScorer
from heedful.models.reward import load_reward_model
from heedful.models.roles import Scorer
from heedful.records.artifacts import Artifact


def scorer_for(reward: Artifact | None, function: str | None, base: Path) -> Scorer:
    """Return the one scorer that is given.

    Args:
        reward: an artifact of the `reward` stage.
        function: "file.py:name", relative to `base`, the recipe's folder.

    Raises:
        ConfigError: when both or neither are given.
    """
    if (reward is None) == (function is None):
        raise ConfigError(
            "align: give either the input 'reward' or the setting reward.function, not both and not neither"
        )
    if function is not None:
        return FunctionScorer(function, base)
    assert reward is not None
    return load_reward_model(reward.path / "model")
