"""Which held-out prompts a report shows side by side: the largest gains, the largest losses, and some drawn at random.

A prompt is shown once per group, by the pair of completions (same index) that moved most in the group's sense; random ones by
their first pair. Texts that score high on an unwanted outcome are marked, so that the page folds them away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from heedful.records.types import Outcome
from heedful.rendering.content import Example, ExampleGroup, SampleText, Wanted
from heedful.rendering.findings import ASIDE
from heedful.rendering.prompts import prompt_text
from heedful.rendering.reading import HURTFUL
from heedful.rendering.wording import label

_NOT_SCORES = frozenset({"length", "finished"})
_SENSITIVE_SCORE = 0.5
"""A text with at least this score on an outcome that should be low is folded away."""


@dataclass(frozen=True)
class _Pair:
    before: Outcome
    after: Outcome
    gain: float


def choose_examples(
    outcomes: Sequence[Outcome], *, criterion: str, wanted: Wanted, count: int, seed: int
) -> tuple[ExampleGroup, ...]:
    """Return the groups of examples; none where `count` is 0 or the criterion was not measured.

    Args:
        outcomes: rows of both models; completions are paired by prompt and index.
        criterion: the outcome that decides what a gain is.
        wanted: its better direction; "neither" counts a rise as a gain.
        count: examples per group.
        seed: of the random group.
    """
    pairs = _pairs(outcomes, criterion, sign=-1.0 if wanted == "lower" else 1.0)
    if not pairs or not count:
        return ()
    name = label(criterion)
    gains = [pair for pair in _one_per_prompt(pairs, sign=1.0)[:count] if pair.gain > 0]
    losses = [pair for pair in _one_per_prompt(pairs, sign=-1.0)[:count] if pair.gain < 0]
    return (
        _group("Largest gains", f"Where {name} improved most.", "No pair of completions improved.", gains, criterion),
        _group(
            "Largest losses", f"Where {name} got worse most.", "No pair of completions got worse.", losses, criterion
        ),
        _group("Drawn at random", "Drawn by the run's seed, not by hand.", "", _random(pairs, count, seed), criterion),
    )


def _pairs(outcomes: Sequence[Outcome], criterion: str, sign: float) -> list[_Pair]:
    """Return the pairs in a fixed order: by prompt, then index."""
    rows = {(row.prompt_id, row.index, row.model): row for row in outcomes if criterion in row.outcomes}
    keys = sorted({(prompt, index) for prompt, index, _ in rows})
    both = [(rows.get((*key, "before")), rows.get((*key, "after"))) for key in keys]
    return [
        _Pair(before, after, sign * (after.outcomes[criterion] - before.outcomes[criterion]))
        for before, after in both
        if before is not None and after is not None
    ]


def _one_per_prompt(pairs: Sequence[_Pair], sign: float) -> list[_Pair]:
    """Return each prompt's furthest pair, furthest first; ties keep the order of the prompts."""
    best: dict[str, _Pair] = {}
    for pair in pairs:
        known = best.get(pair.before.prompt_id)
        if known is None or sign * pair.gain > sign * known.gain:
            best[pair.before.prompt_id] = pair
    return sorted(best.values(), key=lambda pair: -sign * pair.gain)


def _random(pairs: Sequence[_Pair], count: int, seed: int) -> list[_Pair]:
    first = list({pair.before.prompt_id: pair for pair in reversed(pairs)}.values())[::-1]
    chosen = np.random.default_rng(seed).permutation(len(first))[:count]
    return [first[i] for i in chosen]


def _group(title: str, note: str, empty: str, pairs: Sequence[_Pair], criterion: str) -> ExampleGroup:
    examples = tuple(
        Example(prompt_text(pair.before.prompt), _text(pair.before, criterion), _text(pair.after, criterion))
        for pair in pairs
    )
    return ExampleGroup(title, note if examples else empty, examples)


def _text(row: Outcome, criterion: str) -> SampleText:
    """Return a completion with its scores, the criterion first."""
    named = sorted(row.outcomes, key=lambda name: (name != criterion, name in ASIDE))
    worst = max((value for name, value in row.outcomes.items() if name in HURTFUL), default=0.0)
    scores = {name: row.outcomes[name] for name in named if name not in _NOT_SCORES}
    return SampleText(row.completion, scores, sensitive=worst >= _SENSITIVE_SCORE)
