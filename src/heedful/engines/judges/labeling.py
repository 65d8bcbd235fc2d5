"""Stage 2's labels: which pairs are compared, shard by shard, what is skipped, and the preferences that come of it."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

from pydantic import JsonValue

from heedful.engines.judges.judge_opening import open_judge
from heedful.engines.judges.label_calibration import People
from heedful.engines.judges.questioning import SkipLimit, ask_all, bias_figures, kinds_text, skip_figures, terms_of
from heedful.engines.judging import Labeling, Pair, preference
from heedful.engines.progress import say
from heedful.engines.rewards.pair_calibration import FEWEST_PAIRS
from heedful.errors import DataError
from heedful.records.artifacts import Artifact, Workspace
from heedful.records.seeds import derive_seed
from heedful.records.sides import all_preferences
from heedful.records.types import Completion, Preference, Verdict

if TYPE_CHECKING:
    from heedful.stages.ai_feedback import Config


def label(config: Config, inputs: Mapping[str, Artifact], out: Workspace, *, seed: int) -> Artifact:
    """Run `ai_feedback` as its settings say; see `stages/ai_feedback.py`."""
    terms = terms_of(config, inputs, out, seed)
    answers = inputs["samples"].records("completions", Completion)
    pairs, identical = pairs_of(answers, config.pairs_per_prompt, seed=derive_seed(seed, "pairs"))
    people = People(tuple(all_preferences(inputs["people"]))) if "people" in inputs else None
    checked = people.pairs(pairs) if people else []
    with open_judge(config.judge, inputs, out) as opened:
        said = ask_all([*pairs, *checked], terms, opened, out, limit=SkipLimit("ai_feedback", config.max_skipped))
        figures = opened.figures()
    labeler = Labeler(said, inputs["samples"].digest, config)
    if people:
        figures |= labeler.learn(people, [*pairs, *checked], seed=derive_seed(seed, "calibration"))
    labels = labeler.labels(pairs)
    every = [verdict for found in said.values() for verdict in found]
    if not labels:
        raise DataError(
            f"none of {len(pairs)} pairs has a verdict ({kinds_text(every)})",
            fix="choose another judge, or shorter answers",
        )
    train, tune = split(labels, config.tune_fraction, seed=derive_seed(seed, "split"))
    out.write("verdicts", (verdict for pair in [*pairs, *checked] for verdict in said[pair.completion_ids]))
    out.write("train.preferences", train)
    out.write("tune.preferences", tune)
    if checked:
        out.write("people.preferences", labeler.labels(checked))
    if terms.principled is not None:
        constitution = terms.principled.constitution
        out.write_json("constitution.json", {"digest": constitution.digest, **constitution.model_dump(mode="json")})
    metrics: dict[str, JsonValue] = {
        "pairs": len(pairs),
        "identical_pairs": identical,
        "labels": len(labels),
        "pairs_train": len(train),
        "pairs_tune": len(tune),
        **skip_figures(every),
        **bias_figures(every),
        **figures,
    }
    say(f"ai_feedback: {metrics['skipped_share']:.1%} of {len(every)} questions skipped")
    return out.finish(metrics=metrics)


class Labeler:
    """Makes labels of verdicts.

    Args:
        said: the verdicts by a pair's completions.
        source: digest of the samples.
        config: the stage's settings.
    """

    def __init__(self, said: Mapping[tuple[str, str], list[Verdict]], source: str, config: Config) -> None:
        self._said, self._source, self._criterion = said, source, config.criterion
        self._how = Labeling(config.clamped, config.labels == "hard", config.orders)

    def labels(self, pairs: Sequence[Pair]) -> list[Preference]:
        """Return the labels of those pairs that have verdicts."""
        return self._labels(pairs, self._how)

    def learn(self, people: People, pairs: Sequence[Pair], *, seed: int) -> dict[str, JsonValue]:
        """Take on the temperature by which labels on these pairs are as sure as people's majority allows; return its figures."""
        soft = self._labels(pairs, replace(self._how, hard=False))
        temperature, figures = people.calibrated(soft, seed=seed)
        self._how = replace(self._how, temperature=temperature)
        known = figures["people_pairs"]
        if known < FEWEST_PAIRS:
            say(
                f"ai_feedback: people's majority is known on {known} pairs; a temperature takes {FEWEST_PAIRS}, so it stays 1"
            )
        else:
            say(f"ai_feedback: temperature {temperature:.2f}, from {known} pairs that people compared")
        return figures

    def _labels(self, pairs: Sequence[Pair], how: Labeling) -> list[Preference]:
        made = (
            preference(pair, self._said[pair.completion_ids], how, criterion=self._criterion, source=self._source)
            for pair in pairs
        )
        return [label for label in made if label is not None]


def pairs_of(answers: Sequence[Completion], limit: int | None, *, seed: int) -> tuple[list[Pair], int]:
    """Return the pairs of different answers to each prompt, at most `limit` each, and how many pairs were of identical ones.

    Raises:
        DataError: there is no pair.
    """
    by_prompt: dict[str, list[Completion]] = defaultdict(list)
    for answer in answers:
        by_prompt[answer.prompt_id].append(answer)
    found: list[Pair] = []
    identical = 0
    for prompt_id, rows in by_prompt.items():
        every = list(combinations(rows, 2))
        different = [(a, b) for a, b in every if a.completion != b.completion]
        identical += len(every) - len(different)
        if limit is not None and len(different) > limit:
            chosen = random.Random(derive_seed(seed, prompt_id)).sample(range(len(different)), limit)
            different = [different[i] for i in sorted(chosen)]
        found += [Pair(prompt_id, a.prompt, (a.id, b.id), (a.completion, b.completion)) for a, b in different]
    if not found:
        raise DataError(
            f"no prompt has two different answers among {len(answers)} completions",
            fix="sample at least two per prompt (sample.num_completions), at a temperature above 0",
        )
    return found, identical


def split(labels: Sequence[Preference], fraction: float, *, seed: int) -> tuple[list[Preference], list[Preference]]:
    """Return the labels to train on and those to tune on; all pairs of a task are on one side, at least one task on each
    where the fraction is above 0 and two exist."""
    tasks = list(dict.fromkeys(row.task_id for row in labels))
    count = round(fraction * len(tasks))
    if fraction > 0 and len(tasks) > 1:
        count = min(max(count, 1), len(tasks) - 1)
    tuning = set(random.Random(seed).sample(tasks, count))
    return [row for row in labels if row.task_id not in tuning], [row for row in labels if row.task_id in tuning]
