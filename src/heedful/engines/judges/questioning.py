"""Comparisons put to a judge shard by shard: how, what came of them, what was skipped, and the judge's bias of position.

A language model is asked by the principles of a constitution; a preference model has its scores, and nothing else is asked of it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pydantic import JsonValue

from heedful.engines.judges.judge_opening import Opened, preference_source
from heedful.engines.judges.judge_scores import PreferenceJudge
from heedful.engines.judging import Judge, Manner, Orders, Pair, prefixes, questions, verdicts
from heedful.engines.map import map_shards
from heedful.engines.progress import track
from heedful.errors import ConfigError, HealthError
from heedful.records.artifacts import Artifact, Workspace
from heedful.records.constitution import Constitution, constitution_path
from heedful.records.constitution_checks import load_constitution
from heedful.records.seeds import derive_seed
from heedful.records.types import Verdict

if TYPE_CHECKING:
    from heedful.stages.judges import JudgeGroup

SHARD_PAIRS = 64
PRINCIPLED = ("constitution", "principles", "principles_per_pair")
QUESTIONING = ("precision", "batch_rows", "thinking", "thought_tokens", "num_examples", "num_prefixes")
"""Settings of a stage, and of its judge, that mean nothing to a preference model."""


class Comparing(Protocol):
    """The settings that stages with a judge have in common."""

    @property
    def model_fields_set(self) -> set[str]:
        """Names of those that the user set."""
        ...

    @property
    def constitution(self) -> str:
        """Its file, or the name of a shipped one."""
        ...

    @property
    def principles(self) -> tuple[str, ...]:
        """Names or tags; all where it is empty."""
        ...

    @property
    def principles_per_pair(self) -> int:
        """Different principles per pair."""
        ...

    @property
    def orders(self) -> Orders:
        """Of display."""
        ...

    @property
    def judge(self) -> JudgeGroup:
        """Who judges."""
        ...


@dataclass(frozen=True)
class SkipLimit:
    """The share of all questions that may be skipped; `stage` is whose setting `max_skipped` says so."""

    stage: str
    share: float

    def check(self, skipped: Sequence[Verdict], total: int) -> None:
        """Raise HealthError where more are skipped already than may be of `total`."""
        if len(skipped) <= self.share * total:
            return
        last = skipped[-1]
        by = f", principle '{last.principle}'" if last.principle else ""
        raise HealthError(
            f"{len(skipped)} of {total} questions were skipped ({kinds_text(skipped)}), more than "
            f"{self.stage}.max_skipped = {self.share:g} allows; the last: task '{last.task_id}'{by}: {last.skipped}"
        )


@dataclass(frozen=True)
class Principled:
    """By what a language model judges: the constitution, and how pairs are put."""

    constitution: Constitution
    manner: Manner


@dataclass(frozen=True)
class Terms:
    """What is asked about each pair: questions by principles, or (None) a preference model's scores, which know of none."""

    orders: Orders
    principled: Principled | None

    @property
    def per_pair(self) -> int:
        """Questions about each pair."""
        return (2 if self.orders == "both" else 1) * (self.principled.manner.per_pair if self.principled else 1)


def terms_of(config: Comparing, inputs: Mapping[str, Artifact], out: Workspace, seed: int) -> Terms:
    """Return what is asked about each pair.

    Raises:
        ConfigError: the constitution cannot be used, an unknown principle, none with a comparison question, fewer than each pair
            is to have; or settings for questions are given, and a preference model judges.
    """
    if preference_source(config.judge, inputs, out.base) is not None:
        _refuse_questions(config)
        return Terms(config.orders, None)
    constitution = load_constitution(constitution_path(config.constitution, out.base))
    return Terms(config.orders, Principled(constitution, _manner_of(config, constitution, seed)))


def _refuse_questions(config: Comparing) -> None:
    given = [name for name in PRINCIPLED if name in config.model_fields_set]
    given += [f"judge.{name}" for name in QUESTIONING if name in config.judge.model_fields_set]
    if given:
        raise ConfigError(
            f"judge: a preference model judges; it has no principles and reads no question: take out {', '.join(given)}"
        )


def _manner_of(config: Comparing, constitution: Constitution, seed: int) -> Manner:
    """Return how pairs are put to a language model.

    Raises:
        ConfigError: an unknown principle, none with a comparison question, or fewer than each pair is to have.
    """
    usable = constitution.usable("comparison", config.principles)
    if len(usable) < config.principles_per_pair:
        raise ConfigError(
            f"principles_per_pair = {config.principles_per_pair}, but only {len(usable)} principles can be drawn"
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


def ask_all(
    pairs: Sequence[Pair], terms: Terms, opened: Opened, out: Workspace, *, limit: SkipLimit
) -> dict[tuple[str, str], list[Verdict]]:
    """Return all verdicts by the completions of a pair.

    Raises:
        HealthError: more questions were skipped than `limit` allows, as soon as that is known.
    """
    total = len(pairs) * terms.per_pair
    said: dict[tuple[str, str], list[Verdict]] = {pair.completion_ids: [] for pair in pairs}
    skipped: list[Verdict] = []
    for verdict in _verdicts(pairs, terms, opened, out):
        shown = (verdict.a, verdict.b) if (verdict.a, verdict.b) in said else (verdict.b, verdict.a)
        said[shown].append(verdict)
        if verdict.skipped is not None:
            skipped.append(verdict)
            limit.check(skipped, total)
    return said


def _verdicts(pairs: Sequence[Pair], terms: Terms, opened: Opened, out: Workspace) -> Iterator[Verdict]:
    """Yield the verdicts on all pairs. A server's answers are kept one by one in its book, a model's shard by shard."""
    shard = _shard(terms, opened.judge)
    if not opened.remembers:
        yield from map_shards(pairs, shard, Verdict, out, name="verdicts", shard_rows=SHARD_PAIRS)
        return
    for start in track(range(0, len(pairs), SHARD_PAIRS), "verdicts"):
        yield from shard(pairs[start : start + SHARD_PAIRS])


def _shard(terms: Terms, judge: Judge | PreferenceJudge) -> Callable[[Sequence[Pair]], list[Verdict]]:
    """Return what gives the verdicts on some pairs."""
    if isinstance(judge, PreferenceJudge):
        return lambda rows: judge.verdicts(rows, terms.orders)
    assert terms.principled is not None
    constitution, manner = terms.principled.constitution, terms.principled.manner
    shared = prefixes(constitution, manner)
    return lambda rows: verdicts(
        [one for pair in rows for one in questions(pair, manner, shared)], judge, constitution.digest
    )


def _kinds(said: Sequence[Verdict]) -> Counter[str]:
    return Counter(verdict.skipped.partition(":")[0] for verdict in said if verdict.skipped is not None)


def kinds_text(said: Sequence[Verdict]) -> str:
    """Return the kinds of skips with their counts, in words."""
    return ", ".join(f"{count} {kind}" for kind, count in _kinds(said).most_common())


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
    by_pair: dict[tuple[str | None, frozenset[str]], list[Verdict]] = defaultdict(list)
    for verdict in read:
        by_pair[verdict.principle, frozenset((verdict.a, verdict.b))].append(verdict)
    swapped = [found for found in by_pair.values() if len(found) == 2]
    flips = sum((one.p - 0.5) * (other.p - 0.5) > 0 for one, other in swapped)  # type: ignore[operator]
    mean = sum(verdict.p for verdict in read) / len(read)  # type: ignore[misc]
    return {"mean_p_first": mean, **({"flip_share": flips / len(swapped)} if swapped else {})}
