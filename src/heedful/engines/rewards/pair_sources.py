"""Pairs of one source, or of several that are mixed by weight: people's labels of help beside a judge's of harm.

A prompt that any source holds out is learnt from in none. Tasks of different sources are never one task, whatever their ids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from heedful.engines.rewards.heldout_pairs import read_pairs
from heedful.engines.rewards.pair_report import SOURCE
from heedful.records.artifacts import Artifact
from heedful.records.types import Preference

FIRST, MORE = "preferences", "more_preferences"


@dataclass(frozen=True)
class PairSources:
    """What is learnt from and what is held out.

    Args:
        train, tune: the pairs of all sources; where there are several, each says in `meta` which it is from.
        weights: task id to what each of its pairs weighs; tasks that are not there weigh 1.
        learnt: what is counted of them.
    """

    train: list[Preference]
    tune: list[Preference]
    weights: Mapping[str, float]
    learnt: Mapping[str, Any]


def pair_sources(inputs: Mapping[str, Artifact], weights: Sequence[float] = ()) -> PairSources:
    """Return the pairs of the input `preferences` and of all inputs `more_preferences.N`.

    Args:
        inputs: of the stage.
        weights: of each pair, source by source in that order; empty: 1.

    Raises:
        DataError: both answers of a pair are the same text.
    """
    found = [inputs[FIRST], *_further(inputs)]
    if len(found) == 1:
        train = read_pairs(found[0], "train")
        return PairSources(train, read_pairs(found[0], "tune"), {}, _counts(train))
    names = _names(found)
    tune = [_marked(row, n, names[n]) for n, one in enumerate(found) for row in read_pairs(one, "tune")]
    heldout = {row.prompt for row in tune}
    every = [[_marked(row, n, names[n]) for row in read_pairs(one, "train")] for n, one in enumerate(found)]
    parts = [[row for row in rows if row.prompt not in heldout] for rows in every]
    each = list(weights) or [1.0] * len(found)
    total = sum(weight * len(part) for weight, part in zip(each, parts, strict=True))
    table = [
        {"from": name, "pairs": len(part), "weight": weight, "share": weight * len(part) / total if total else 0.0}
        for name, part, weight in zip(names, parts, each, strict=True)
    ]
    train = [row for part in parts for row in part]
    by_task = {row.task_id: weight for part, weight in zip(parts, each, strict=True) for row in part}
    left_out = sum(map(len, every)) - len(train)
    return PairSources(train, tune, by_task, {**_counts(train), "left_out_as_heldout": left_out, "mixed": table})


def _further(inputs: Mapping[str, Artifact]) -> Iterator[Artifact]:
    number = 0
    while f"{MORE}.{number}" in inputs:
        yield inputs[f"{MORE}.{number}"]
        number += 1


def _names(found: Sequence[Artifact]) -> list[str]:
    """Return what reports call the sources: their stages, with a number where one stage gives several."""
    stages = Counter(one.stage for one in found)
    met: Counter[str] = Counter()
    names = []
    for one in found:
        met[one.stage] += 1
        names.append(one.stage if stages[one.stage] == 1 else f"{one.stage} {met[one.stage]}")
    return names


def _marked(row: Preference, number: int, name: str) -> Preference:
    return row.model_copy(update={"task_id": f"{number}/{row.task_id}", "meta": row.meta | {SOURCE: name}})


def _counts(rows: Sequence[Preference]) -> dict[str, int]:
    return {"pairs": len(rows), "tasks": len({row.task_id for row in rows})}
