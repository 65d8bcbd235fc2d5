"""From the rows of `revise` to what a report shows of them: harm and other scores by round, what the gates took out, some chains.

Round 0 is the answer before any revision; a round without a text leaves its answer as it is. A chain is all rounds of one answer.
Rows are plain JSON; an absent field is not shown.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from heedful.numerics.statistics import clustered_mean
from heedful.records.seeds import derive_seed
from heedful.records.types import Prompt
from heedful.rendering.constitution_content import RevisionChain, RevisionFigures, RevisionStep, RoundFigures
from heedful.rendering.content import Estimate
from heedful.rendering.prompts import prompt_text
from heedful.rendering.reading import number_of

Row = Mapping[str, Any]
Gold = Callable[[Prompt, str], Mapping[str, float]]
_NUM_CHAINS = 3


def revision_figures(rows: Sequence[Row], *, seed: int, gold: Gold | None = None) -> RevisionFigures | None:
    """Return the figures of all rounds; None without rows.

    Args:
        rows: of `revisions.jsonl`.
        seed: of the intervals and of which chains are shown.
        gold: a generated world's outcomes of a text, `harm` among them, where no scorer of the recipe measured harm.
    """
    by_gold = gold is not None and all(number_of(row.get("harm_before")) is None for row in rows)
    if gold is not None and by_gold:
        rows = [_judged(row, gold) for row in rows]
    chains: dict[str, dict[int, Row]] = defaultdict(dict)
    for row in rows:
        chains[str(row["completion_id"])][int(row["round"])] = row
    if not chains:
        return None
    last = max(number for chain in chains.values() for number in chain)
    return RevisionFigures(
        rounds=tuple(_round(number, list(chains.values()), seed) for number in range(last + 1)),
        chains=_drawn(list(chains.values()), derive_seed(seed, "chains")),
        by_gold=by_gold,
    )


def _judged(row: Row, gold: Gold) -> Row:
    """Return the row with gold's harm and other outcomes, before and after."""
    before, revision = dict(gold(row["prompt"], row["answer"])), row.get("revision")
    found = {**row, "harm_before": before.pop("harm"), "scores_before": before}
    if not revision:
        return found
    after = dict(gold(row["prompt"], revision))
    return {**found, "harm": after.pop("harm"), "scores": after}


def _round(number: int, chains: Sequence[Mapping[int, Row]], seed: int) -> RoundFigures:
    harm = [
        (prompt, value) for chain in chains if (value := _harm(chain, number)) is not None for prompt in [_task(chain)]
    ]
    both = [
        (_task(chain), after - before)
        for chain in chains
        if (after := _harm(chain, number)) is not None and (before := _harm(chain, number - 1)) is not None
    ]
    here = [chain[number] for chain in chains if number in chain]
    scored = [(_task(chain), _scores(chain, number)) for chain in chains]
    names = list(dict.fromkeys(name for _, scores in scored for name in scores))
    return RoundFigures(
        number=number,
        n=len(harm),
        harm=_mean(harm, derive_seed(seed, "harm", number)),
        change=_mean(both, derive_seed(seed, "change", number)),
        scores={
            name: mean
            for name in names
            if (mean := _mean(_named(scored, name), derive_seed(seed, "scores", name, number))) is not None
        },
        skips=dict(Counter(skipped for row in here if (skipped := _skip(row)))),
    )


def _harm(chain: Mapping[int, Row], number: int) -> float | None:
    """Return the harm after a round; after round 0 that of the answer, which round 1 begins with."""
    if number == 0:
        return number_of(chain[1].get("harm_before")) if 1 in chain else None
    if number not in chain:
        return None
    return number_of(chain[number].get("harm" if chain[number].get("revision") else "harm_before"))


def _task(chain: Mapping[int, Row]) -> str:
    return str(next(iter(chain.values()))["prompt_id"])


def _scores(chain: Mapping[int, Row], number: int) -> Mapping[str, Any]:
    """Return the scores by part after a round, as `_harm` does."""
    row: Row = chain.get(max(number, 1), {})
    scores = row.get("scores" if number and row.get("revision") else "scores_before")
    return scores if isinstance(scores, Mapping) else {}


def _named(rows: Iterable[tuple[str, Mapping[str, Any]]], name: str) -> list[tuple[str, float]]:
    return [(task, value) for task, scores in rows if (value := number_of(scores.get(name))) is not None]


def _mean(rows: Sequence[tuple[str, float]], seed: int) -> Estimate | None:
    if not rows:
        return None
    found = clustered_mean([value for _, value in rows], [task for task, _ in rows], seed=seed)
    return Estimate(found.value, found.low, found.high)


def _skip(row: Row) -> str:
    """Return the gate's name, without its particulars; an empty text where the revision was taken."""
    return str(row.get("skipped") or "").partition(":")[0]


def _drawn(chains: Sequence[Mapping[int, Row]], seed: int) -> tuple[RevisionChain, ...]:
    """Return some chains drawn by the seed, of those with the most revisions that no gate took out."""
    kept = [sum(not _skip(row) for row in chain.values()) for chain in chains]
    best = [chain for chain, count in zip(chains, kept, strict=True) if count == max(kept)]
    chosen = sorted(np.random.default_rng(seed).permutation(len(best))[:_NUM_CHAINS])
    return tuple(_chain(best[i]) for i in chosen)


def _chain(chain: Mapping[int, Row]) -> RevisionChain:
    first = chain[min(chain)]
    return RevisionChain(
        prompt=prompt_text(first.get("prompt", "")),
        answer=str(first.get("answer") or ""),
        harm=number_of(first.get("harm_before")),
        steps=tuple(
            RevisionStep(
                number=number,
                principle=str(row.get("principle") or ""),
                critique=str(row.get("critique") or ""),
                revision=str(row.get("revision") or ""),
                harm=number_of(row.get("harm")),
                skipped=str(row.get("skipped") or ""),
            )
            for number, row in sorted(chain.items())
        ),
    )
