"""Stage 1 from answers to demonstrations: all rounds, their harm, the gates, and helpful demonstrations beside them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from pydantic import JsonValue

from heedful.engines.map import map_shards
from heedful.engines.progress import say, track
from heedful.engines.revision_rounds import Rounds, revised, worked_examples
from heedful.engines.scored import judge
from heedful.engines.scoring import scorer_for
from heedful.engines.writing import Writer, open_writer
from heedful.errors import ConfigError, DataError, HealthError
from heedful.models.roles import Scorer
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
NOT_LESS_HARMFUL = "not_less_harmful"
APART = ("unchanged", NOT_LESS_HARMFUL)
"""What says something about answers, not that something went wrong."""
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
    scorer = _scorer(config, inputs, out)
    rows: list[Revision] = []
    with open_writer(config.writer, inputs, out, max_new_tokens=config.max_new_tokens) as writer:
        for row in _rounds(answers, how, writer, out):
            rows.append(row)
            check_skips(rows, len(answers) * config.rounds, config.gates, latest=row)
        figures = writer.figures()
    if scorer is not None:
        rows = _harm_gated(_with_harm(answers, rows, scorer), config.gates)
    learned = _kept(rows, config.keep)
    if not learned:
        raise DataError(
            f"none of {len(rows)} revisions is left to learn from ({_kinds_text(rows)})",
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
    say(f"revise: {len(lessons)} of {len(rows)} revisions are learned from; skipped: {_kinds_text(rows) or 'none'}")
    return out.finish(metrics=told)


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
    chosen = [row for row in every if all(row.meta.get(key) == value for key, value in where.items())]
    if not chosen:
        raise ConfigError(
            f"helpful.where = {where}: none of {len(every)} demonstrations has these values; look at their 'meta'"
        )
    return [row.model_copy(update={"meta": row.meta | {"kind": "helpful"}}) for row in chosen]


def _scorer(config: Config, inputs: Inputs, out: Workspace) -> Scorer | None:
    given = "reward" in inputs or config.reward.function is not None or config.reward.parts
    return scorer_for(config.reward, inputs, out.base) if given else None


def _rounds(answers: Sequence[Completion], how: Rounds, writer: Writer, out: Workspace) -> Iterator[Revision]:
    """Yield all rounds. A server's texts are kept one by one in its book, a model's shard by shard."""

    def shard(rows: Sequence[Completion]) -> list[Revision]:
        return revised(rows, how, writer)

    if not writer.remembers:
        yield from map_shards(answers, shard, Revision, out, name="revisions", shard_rows=SHARD_ANSWERS)
        return
    for start in track(range(0, len(answers), SHARD_ANSWERS), "revisions"):
        yield from shard(answers[start : start + SHARD_ANSWERS])


def check_skips(rows: Sequence[Revision], total: int, gates: GateGroup, *, latest: Revision) -> None:
    """Raise HealthError where the latest round makes the skipped, or the unchanged, more than may be of `total`."""
    if latest.skipped is None:
        return
    kind = _kind(latest)
    setting, limit = (
        ("max_unchanged", gates.max_unchanged) if kind == "unchanged" else ("max_skipped", gates.max_skipped)
    )
    count = sum(row.skipped is not None and (_kind(row) == "unchanged") == (kind == "unchanged") for row in rows)
    if count > limit * total:
        what = "changed nothing" if kind == "unchanged" else f"were skipped ({_kinds_text(rows)})"
        raise HealthError(
            f"{count} of {total} rounds {what}, more than revise.gates.{setting} = {limit:g} allows; the last: "
            f"'{latest.id}', principle '{latest.principle}': {latest.skipped}"
        )


def _with_harm(answers: Sequence[Completion], rows: Sequence[Revision], scorer: Scorer) -> list[Revision]:
    """Return all rounds with the harm of the answer and of the revision, before any gate of harm."""
    meta = {answer.id: answer.meta for answer in answers}
    said = ((row.completion_id, text) for row in rows for text in (row.answer, row.revision or row.answer))
    texts = list(dict.fromkeys(said))
    first = {row.completion_id: row for row in rows}
    judged = judge(
        scorer,
        [first[name].prompt for name, _ in texts],
        [text for _, text in texts],
        id=[first[name].prompt_id for name, _ in texts],
        meta=[meta[name] for name, _ in texts],
    )
    harm = {key: 0.0 - score for key, score in zip(texts, judged.scores, strict=True)}
    return [
        row.model_copy(
            update={
                "harm_before": harm[row.completion_id, row.answer],
                "harm": harm[row.completion_id, row.revision] if row.revision else None,
            }
        )
        for row in rows
    ]


def _harm_gated(rows: Sequence[Revision], gates: GateGroup) -> list[Revision]:
    if NOT_LESS_HARMFUL not in gates.apply:
        return list(rows)
    return [row.model_copy(update={"skipped": NOT_LESS_HARMFUL}) if _no_better(row, gates) else row for row in rows]


def _no_better(row: Revision, gates: GateGroup) -> bool:
    if row.skipped is not None or row.harm is None or row.harm_before is None:
        return False
    return row.harm >= row.harm_before and (gates.harmless is None or row.harm > gates.harmless)


def harm_by_round(rows: Sequence[Revision], rounds: int) -> list[float]:
    """Return the mean harm after 0, 1, 2 ... rounds, before gates; a round without a text leaves its answer as it is."""
    found = [fmean(row.harm_before for row in rows if row.round == 1 and row.harm_before is not None)]
    for number in range(1, rounds + 1):
        harms = [row.harm_before if row.harm is None else row.harm for row in rows if row.round == number]
        found.append(fmean(harm for harm in harms if harm is not None))
    return found


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


def _kinds_text(rows: Sequence[Revision]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in _kinds(rows).most_common())


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
