"""Generated worlds: data with exact gold scores, for the quickstart and for tests. Pure Python and NumPy."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from heedful.errors import ConfigError
from heedful.records.types import Demonstration, Prompt, PromptRecord
from heedful.worlds.household import Household
from heedful.worlds.household_requests import HouseholdRequests

__all__ = ["World", "get_world"]


Measure = Callable[[Prompt, str], float]
"""How good a completion of a prompt is; only the order of the numbers has a meaning."""


class World(Protocol):
    """A generated world: it makes its own data, and knows how good any answer is."""

    name: str
    version: int
    """Raised when the same seed makes other texts, or gold gives other scores."""
    title: str
    """As the report says it; says that the data is generated."""
    criterion: str
    """What labelers rank by."""

    def generate(self, seed: int) -> dict[str, list[PromptRecord] | list[Demonstration]]:
        """Return the records of every file of the world, such as "train.prompts"; the same for the same seed."""

    def outcomes(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> dict[str, list[float]]:
        """Return gold's scores by outcome, one number in [0, 1] per completion."""

    def utility(self, prompt: Prompt, completion: str) -> float:
        """Return how good the completion is by the criterion; only the order of the numbers has a meaning."""

    @property
    def measures(self) -> Mapping[str, Measure]:
        """What simulated labelers can rank by: `utility`, and what else this world's gold puts in order."""

    def is_fail(self, prompt: Prompt, completion: str) -> bool:
        """Return True where a labeler should mark the completion F."""


_WORLDS: dict[str, Callable[[], World]] = {Household.name: Household, HouseholdRequests.name: HouseholdRequests}


def get_world(name: str) -> World:
    """Return the world of this name.

    Raises:
        ConfigError: when there is none; names the nearest.
    """
    if name not in _WORLDS:
        near = difflib.get_close_matches(name, _WORLDS, n=3, cutoff=0.0)
        raise ConfigError(f"no world is called '{name}'; did you mean {' or '.join(repr(one) for one in near)}?")
    return _WORLDS[name]()
