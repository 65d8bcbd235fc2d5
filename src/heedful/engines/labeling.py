"""Stage 2's labels: which pairs are compared, shard by shard, what is skipped, and the preferences that come of it."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from pydantic import JsonValue

from heedful.engines.judge_opening import Opened, open_judge
from heedful.engines.judging import Labeling, Manner, Pair, preference, prefixes, questions, verdicts
from heedful.engines.map import map_shards
from heedful.engines.progress import say, track
from heedful.errors import ConfigError, DataError, HealthError
from heedful.records.artifacts import Artifact, Workspace
from heedful.records.constitution import Constitution, constitution_path
from heedful.records.constitution_checks import load_constitution
from heedful.records.seeds import derive_seed
from heedful.records.types import Completion, Preference, Verdict

if TYPE_CHECKING:
    from heedful.stages.ai_feedback import Config

SHARD_PAIRS = 64


def label(config: Config, inputs: Mapping[str, Artifact], out: Workspace, *, seed: int) -> Artifact:
    """Run `ai_feedback` as its settings say; see `stages/ai_feedback.py`."""
    constitution = load_constitution(constitution_path(config.constitution, out.base))
    manner = manner_of(config, constitution, seed)
    answers = inputs["samples"].records("completions", Completion)
    pairs, identical = pairs_of(answers, config.pairs_per_prompt, seed=derive_seed(seed, "pairs"))
    with open_judge(config.judge, inputs, out) as opened:
        stream = _verdicts(pairs, constitution, manner, opened, out)
        said = _asked(pairs, stream, manner, config.max_skipped)
        figures = opened.figures()
    source = inputs["samples"].digest
    how = Labeling(config.clamped, config.labels == "hard", config.orders)
    labels = [
        found
        for pair in pairs
        if (found := preference(pair, said[pair.completion_ids], how, criterion=config.criterion, source=source))
        is not None
    ]
    if not labels:
        raise DataError(f"none of {len(pairs)} pairs has a verdict; see why in {out.path / 'parts'}")
    train, tune = split(labels, config.tune_fraction, seed=derive_seed(seed, "split"))
    out.write("verdicts", (verdict for pair in pairs for verdict in said[pair.completion_ids]))
    out.write("train.preferences", train)
    out.write("tune.preferences", tune)
    out.write_json("constitution.json", {"digest": constitution.digest, **constitution.model_dump(mode="json")})
    every = [verdict for found in said.values() for verdict in found]
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


def manner_of(config: Config, constitution: Constitution, seed: int) -> Manner:
    """Return how pairs are put to the judge.

    Raises:
        ConfigError: an unknown principle, none with a comparison question, or fewer than each pair is to have.
    """
    usable = constitution.usable("comparison", config.principles)
    if len(usable) < config.principles_per_pair:
        raise ConfigError(
            f"ai_feedback.principles_per_pair = {config.principles_per_pair}, but only {len(usable)} principles can be drawn"
        )
    judge = config.judge
    return Manner(
        principles=usable,
        per_pair=config.principles_per_pair,
        orders=config.orders,
        thinks=judge.thinking,
        num_examples=judge.num_examples,
        num_prefixes=judge.num_prefixes,
        seed=derive_seed(seed, "judging"),
    )


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


def _asked(
    pairs: Sequence[Pair], stream: Iterator[Verdict], manner: Manner, max_skipped: float
) -> dict[tuple[str, str], list[Verdict]]:
    """Return all verdicts by pair; stops as soon as more are skipped than may be of all."""
    total = len(pairs) * manner.per_pair * (2 if manner.orders == "both" else 1)
    said: dict[tuple[str, str], list[Verdict]] = {pair.completion_ids: [] for pair in pairs}
    skipped: list[Verdict] = []
    for verdict in stream:
        shown = (verdict.a, verdict.b) if (verdict.a, verdict.b) in said else (verdict.b, verdict.a)
        said[shown].append(verdict)
        if verdict.skipped is not None:
            skipped.append(verdict)
            _check_share(skipped, total, max_skipped)
    return said


def _verdicts(
    pairs: Sequence[Pair], constitution: Constitution, manner: Manner, opened: Opened, out: Workspace
) -> Iterator[Verdict]:
    """Yield the verdicts on all pairs. A server's answers are kept one by one in its book, a model's shard by shard."""
    shared = prefixes(constitution, manner)

    def shard(rows: Sequence[Pair]) -> list[Verdict]:
        put = [one for pair in rows for one in questions(pair, manner, shared)]
        return verdicts(put, opened.judge, constitution.digest)

    if not opened.remembers:
        yield from map_shards(pairs, shard, Verdict, out, name="verdicts", shard_rows=SHARD_PAIRS)
        return
    for start in track(range(0, len(pairs), SHARD_PAIRS), "verdicts"):
        yield from shard(pairs[start : start + SHARD_PAIRS])


def _check_share(skipped: Sequence[Verdict], total: int, max_skipped: float) -> None:
    if len(skipped) <= max_skipped * total:
        return
    kinds = ", ".join(f"{count} {kind}" for kind, count in _kinds(skipped).most_common())
    last = skipped[-1]
    raise HealthError(
        f"{len(skipped)} of {total} questions were skipped ({kinds}), more than ai_feedback.max_skipped = {max_skipped:g} allows; "
        f"the last: task '{last.task_id}', principle '{last.principle}': {last.skipped}"
    )


def _kinds(said: Sequence[Verdict]) -> Counter[str]:
    return Counter(verdict.skipped.partition(":")[0] for verdict in said if verdict.skipped is not None)


def skip_figures(said: Sequence[Verdict]) -> dict[str, JsonValue]:
    """Return how many questions were asked, and the share and kinds of those that were skipped."""
    kinds = _kinds(said)
    return {
        "questions": len(said),
        "skipped": sum(kinds.values()),
        "skipped_share": sum(kinds.values()) / len(said),
        "skips": dict(kinds),
    }


def bias_figures(said: Sequence[Verdict]) -> dict[str, JsonValue]:
    """Return the judge's bias of position: mean P(A), and the share of pairs whose better side changes when they are swapped.

    An even verdict (p = 0.5) changes with nothing.
    """
    read = [verdict for verdict in said if verdict.p is not None]
    if not read:
        return {}
    by_pair: dict[tuple[str, frozenset[str]], list[Verdict]] = defaultdict(list)
    for verdict in read:
        by_pair[verdict.principle, frozenset((verdict.a, verdict.b))].append(verdict)
    swapped = [found for found in by_pair.values() if len(found) == 2]
    flips = sum((one.p - 0.5) * (other.p - 0.5) > 0 for one, other in swapped)  # type: ignore[operator]
    return {
        "mean_p_first": sum(verdict.p for verdict in read) / len(read),  # type: ignore[misc]
        "flip_share": flips / len(swapped) if swapped else None,
    }


def split(labels: Sequence[Preference], fraction: float, *, seed: int) -> tuple[list[Preference], list[Preference]]:
    """Return the labels to train on and those to tune on; all pairs of a task are on one side, at least one task on each
    where the fraction is above 0 and two exist."""
    tasks = list(dict.fromkeys(row.task_id for row in labels))
    count = round(fraction * len(tasks))
    if fraction > 0 and len(tasks) > 1:
        count = min(max(count, 1), len(tasks) - 1)
    tuning = set(random.Random(seed).sample(tasks, count))
    return [row for row in labels if row.task_id not in tuning], [row for row in labels if row.task_id in tuning]
