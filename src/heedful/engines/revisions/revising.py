"""Stage 1 from answers to demonstrations: all rounds, their harm, the gates, and helpful demonstrations beside them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import JsonValue

from heedful.engines.attacks.harming import scorer_if_given
from heedful.engines.map import map_shards
from heedful.engines.progress import say, track
from heedful.engines.revisions.revision_harm import NOT_LESS_HARMFUL, harm_by_round, harm_gated, with_harm_by_round
from heedful.engines.revisions.revision_rounds import Rounds, revised, worked_examples
from heedful.engines.revisions.writing import Writer, open_writer
from heedful.errors import ConfigError, DataError, HealthError
from heedful.records.artifacts import Artifact, Workspace
from heedful.records.constitution import constitution_path
from heedful.records.constitution_checks import load_constitution
from heedful.records.files import sha256_json
from heedful.records.seeds import derive_seed
from heedful.records.types import Completion, Demonstration, Revision

if TYPE_CHECKING:
    from heedful.stages.revise import Config, GateGroup

SHARD_ANSWERS = 64
"""Answers between two stores; part of the contract with a killed run."""
APART = ("unchanged", NOT_LESS_HARMFUL)
"""What says something about answers, not that something went wrong."""
NOT_HELPFUL: Mapping[str, tuple[str, ...]] = {"skill": ("critique", "revision", "choice"), "kind": ("harmful",)}
"""Keys of a demonstration's meta to values that say: a lesson of another kind, or an answer to a request for harm."""
Inputs = Mapping[str, Artifact]


def revise(config: Config, inputs: Inputs, out: Workspace, *, seed: int) -> Artifact:
    """Run `revise` as its settings say; see `stages/revise.py`."""
    constitution = load_constitution(constitution_path(config.constitution, out.base))
    how = Rounds(
        principles=constitution.usable("revision", config.principles),
        number=config.rounds,
        examples=worked_examples(constitution, config.num_examples),
        gates=frozenset(config.gates.apply),
        max_repetition=config.gates.max_repetition,
        constitution=constitution.digest,
        seed=derive_seed(seed, "revise"),
    )
    answers = _answers(config, inputs["attempts"])
    helpful = _helpful(config, inputs)
    scorer = scorer_if_given(config.reward, inputs, out)
    rows: list[Revision] = []
    facts: dict[str, JsonValue] = {}
    bounds = RoundBounds(len(answers) * config.rounds, config.gates)
    with open_writer(config.writer, inputs, out, max_new_tokens=config.max_new_tokens) as writer:
        for row in _rounds(answers, how, writer, out):
            rows.append(row)
            bounds.check(row)
        figures = writer.figures()
    if scorer is not None:
        measured = with_harm_by_round(answers, rows, scorer, out)
        rows, facts = harm_gated(measured.rows, config.gates), measured.facts
    learned = _kept(rows, config.keep)
    if not learned:
        raise DataError(
            f"none of {len(rows)} revisions is left to learn from ({_counted(_kinds(rows))})",
            fix="look at what the writer writes (revise with gates.apply = ['empty'] keeps all of it), or choose another",
        )
    lessons = [_demonstration(row, inputs["attempts"].digest) for row in learned]
    mixed = _drawn(helpful, round(config.helpful.ratio * len(lessons)), seed=derive_seed(seed, "helpful"))
    train, tune = _split([*lessons, *mixed], config.tune_fraction, seed=derive_seed(seed, "split"))
    out.write("revisions", rows)
    out.write("train.demonstrations", train)
    out.write("tune.demonstrations", tune)
    out.write_json("constitution.json", {"digest": constitution.digest, **constitution.model_dump(mode="json")})
    told: dict[str, JsonValue] = {
        "answers": len(answers),
        "revisions": len(rows),
        "learned": len(lessons),
        "helpful": len(mixed),
        "demonstrations_train": len(train),
        "demonstrations_tune": len(tune),
        **_skip_figures(rows),
        **figures,
    }
    harm = [] if scorer is None else harm_by_round(rows, config.rounds)
    by_round: list[JsonValue] = [*harm]
    out.write_json("summary.json", {**told, "harm_by_round": by_round})
    if harm:
        told |= {"harm_before": harm[0], "harm_after": harm[-1]}
    say(
        f"revise: {len(lessons)} of {len(rows)} revisions are learned from; skipped: {_counted(_kinds(rows)) or 'none'}"
    )
    return out.finish(metrics=told, facts=facts)


def _answers(config: Config, source: Artifact) -> list[Completion]:
    every = source.records("completions", Completion)
    chosen = [row for row in every if all(row.meta.get(key) == value for key, value in config.where.items())]
    if not chosen:
        raise ConfigError(
            f"where = {config.where}: none of {len(every)} answers has these values; look at their 'meta'"
        )
    return chosen


def _helpful(config: Config, inputs: Inputs) -> list[Demonstration]:
    """Return the helpful demonstrations that may be drawn; none without the input."""
    if "helpful" not in inputs:
        return []
    source = inputs["helpful"]
    if source.stage == "sample":
        every = [
            Demonstration(id=row.id, prompt=row.prompt, completion=row.completion, source=source.digest, meta=row.meta)
            for row in source.records("completions", Completion)
            if row.finished
        ]
    else:
        every = source.records("train.demonstrations", Demonstration)
    where = config.helpful.where
    matching = [row for row in every if all(row.meta.get(key) == value for key, value in where.items())]
    if not matching:
        raise ConfigError(
            f"helpful.where = {where}: none of {len(every)} demonstrations has these values; look at their 'meta'"
        )
    chosen = [row for row in matching if not _unasked(row, where)]
    if not chosen:
        raise ConfigError(
            f"helpful.where = {where}: all {len(matching)} demonstrations with these values are lessons of another kind or "
            f"answer requests for harm; name one of {', '.join(NOT_HELPFUL)} in helpful.where to take them all the same"
        )
    if len(chosen) < len(matching):
        say(
            f"revise: {len(matching) - len(chosen)} of {len(matching)} demonstrations are lessons of another kind or answer "
            "requests for harm, and are no helpful ones"
        )
    return [row.model_copy(update={"meta": row.meta | {"kind": "helpful"}}) for row in chosen]


def _unasked(row: Demonstration, where: Mapping[str, JsonValue]) -> bool:
    """Return whether the meta says that this is no helpful demonstration, by a key that the settings do not name."""
    return any(row.meta.get(key) in values for key, values in NOT_HELPFUL.items() if key not in where)


def _rounds(answers: Sequence[Completion], how: Rounds, writer: Writer, out: Workspace) -> Iterator[Revision]:
    """Yield all rounds. A server's texts are kept one by one in its book, a model's shard by shard."""

    def shard(rows: Sequence[Completion]) -> list[Revision]:
        return revised(rows, how, writer)

    if not writer.remembers:
        yield from map_shards(answers, shard, Revision, out, name="revisions", shard_rows=SHARD_ANSWERS)
        return
    for start in track(range(0, len(answers), SHARD_ANSWERS), "revisions"):
        yield from shard(answers[start : start + SHARD_ANSWERS])


class RoundBounds:
    """Stops the stage where more rounds gave nothing, or nothing new, than may.

    Args:
        total: rounds that there will be.
        gates: `max_skipped` and `max_unchanged`.
    """

    def __init__(self, total: int, gates: GateGroup) -> None:
        self._total, self._gates = total, gates
        self._kinds: Counter[str] = Counter()

    def check(self, row: Revision) -> None:
        """Count a round; HealthError where it makes the skipped, or the unchanged, more than may be."""
        if row.skipped is None:
            return
        kind = _kind(row)
        self._kinds[kind] += 1
        if kind == "unchanged":
            count, setting, limit, what = (
                self._kinds[kind],
                "max_unchanged",
                self._gates.max_unchanged,
                "changed nothing",
            )
        else:
            failed = Counter({name: number for name, number in self._kinds.items() if name != "unchanged"})
            count, what = failed.total(), f"were skipped ({_counted(failed)})"
            setting, limit = "max_skipped", self._gates.max_skipped
        if count > limit * self._total:
            raise HealthError(
                f"{count} of {self._total} rounds {what}, more than revise.gates.{setting} = {limit:g} allows; the last: "
                f"'{row.id}', principle '{row.principle}': {row.skipped}"
            )


def _kept(rows: Sequence[Revision], keep: str) -> list[Revision]:
    passed = [row for row in rows if row.skipped is None]
    return passed if keep == "all" else list({row.completion_id: row for row in passed}.values())


def _demonstration(row: Revision, source: str) -> Demonstration:
    assert row.revision is not None
    return Demonstration(
        id=row.id,
        prompt=row.prompt,
        completion=row.revision,
        by=row.by,
        source=source,
        meta={"kind": "revision", "round": row.round, "principle": row.principle},
    )


def _drawn(rows: Sequence[Demonstration], count: int, *, seed: int) -> list[Demonstration]:
    """Return `count` of the rows at random, in their order; all where there are fewer."""
    if rows and len(rows) < count:
        say(f"revise: {count} helpful demonstrations were wanted, {len(rows)} are there; all are taken")
    chosen = random.Random(seed).sample(range(len(rows)), min(count, len(rows)))
    return [rows[i] for i in sorted(chosen)]


def _split(
    rows: Sequence[Demonstration], fraction: float, *, seed: int
) -> tuple[list[Demonstration], list[Demonstration]]:
    """Return the demonstrations to train on and those to tune on; all of one prompt are on one side."""
    keys = [sha256_json(row.model_dump(mode="json")["prompt"]) for row in rows]
    prompts = list(dict.fromkeys(keys))
    count = round(fraction * len(prompts))
    if fraction > 0 and len(prompts) > 1:
        count = min(max(count, 1), len(prompts) - 1)
    tuning = set(random.Random(seed).sample(prompts, count))
    sides = [key in tuning for key in keys]
    return (
        [row for row, tune in zip(rows, sides, strict=True) if not tune],
        [row for row, tune in zip(rows, sides, strict=True) if tune],
    )


def _kind(row: Revision) -> str:
    return (row.skipped or "").partition(":")[0]


def _kinds(rows: Sequence[Revision]) -> Counter[str]:
    return Counter(_kind(row) for row in rows if row.skipped is not None)


def _counted(kinds: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())


def _skip_figures(rows: Sequence[Revision]) -> dict[str, JsonValue]:
    kinds = _kinds(rows)
    skipped = sum(count for kind, count in kinds.items() if kind not in APART)
    return {
        "skipped": skipped,
        "skipped_share": skipped / len(rows),
        "unchanged_share": kinds["unchanged"] / len(rows),
        "skips": dict(kinds),
        "prefixed": sum(row.prefixed for row in rows),
    }
