"""How sure a judge may be: one temperature for its labels, fitted on pairs whose better side people have named.

A judge's probabilities say how sure it is, and not how often it is right: one that learned from doubtful choices is too modest, one
with a chain of thought too bold. People's majority on some pairs, the judge's labels on the same pairs, and sigmoid(log-odds /
temperature) says the latter in the odds of the former. The better side never changes, only how sure the label is.

Source: Guo et al. 2017, arXiv:1706.04599, for two classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from heedful.engines.judging import Pair
from heedful.engines.rewards.pair_calibration import halves_figures, pair_temperature
from heedful.records.sides import Key, Side, key_of, people_sides
from heedful.records.types import Preference

SURE = 1 - 1e-6
"""A label is never surer than this, so that its log-odds are finite."""


@dataclass(frozen=True)
class People:
    """The pairs that people have compared.

    Args:
        preferences: their votes; several about one pair are added up.
    """

    preferences: Sequence[Preference]

    @cached_property
    def sides(self) -> dict[Key, Side]:
        """The majority's side of each pair that has one."""
        return people_sides(self.preferences)

    def pairs(self, known: Iterable[Pair]) -> list[Pair]:
        """Return the pairs with a majority that are not among those `known`; their ids say where they are from."""
        have = {_key(pair) for pair in known}
        found: dict[Key, Pair] = {}
        for row in self.preferences:
            key = key_of(row)
            if key in self.sides and key not in have and key not in found:
                first, second = sorted(key[1])
                number = len(found)
                named = (f"people/{number:05d}/0", f"people/{number:05d}/1")
                found[key] = Pair(row.task_id, row.prompt, named, (first, second))
        return list(found.values())

    def calibrated(self, labels: Iterable[Preference], *, seed: int) -> tuple[float, dict[str, Any]]:
        """Return the temperature, and how far off the labels are without and with it.

        Args:
            labels: the judge's, at temperature 1; those on pairs that people have not compared are left out.
            seed: of the halves; each is judged by the temperature of the other, see `engines.rewards.pair_calibration`.
        """
        rows = {key: row for row in labels if (key := key_of(row)) in self.sides}
        leads = np.array([log_odds(row.p) for row in rows.values()])
        right = np.array([float(self.sides[key].better == row.chosen) for key, row in rows.items()])
        tasks = [row.task_id for row in rows.values()]
        temperature = pair_temperature(leads, right)
        figures = halves_figures(leads, 1.0, right, tasks, seed=seed)
        return temperature, {"people_pairs": len(rows), "temperature": temperature, **figures}


def log_odds(p: float) -> float:
    """Return log(p / (1 - p)) in nats, of a p that is held to [1 - SURE, SURE]."""
    held = min(max(p, 1 - SURE), SURE)
    return float(np.log(held) - np.log1p(-held))


def _key(pair: Pair) -> Key:
    return pair.prompt, frozenset(pair.texts)
