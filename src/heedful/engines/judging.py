"""Judging: two answers and a principle go to a judge as multiple-choice questions; verdicts come back as soft labels.

A judge reads text and gives the log-probs (or, where there are none, the votes) of two options. Everything else is here: both
orders, the principle and the few-shot examples drawn for each comparison, clamping, averages. What is quoted cannot act: see
`records.layouts`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal, Protocol

from heedful.records.constitution import Constitution, Principle, draw
from heedful.records.layouts import (
    choice_example,
    conversation,
    question,
    thinking_question,
    thought_example,
)
from heedful.records.seeds import derive_seed
from heedful.records.types import Preference, Prompt, Verdict

Orders = Literal["both", "one"]
Skip = Literal["context", "timeout", "refused", "truncated", "no_option", "malformed", "failed"]
"""Why a question has no answer; what each means stands in docs/reference/stages/ai_feedback.md."""


@dataclass(frozen=True)
class Asked:
    """One question to a judge.

    Args:
        prefix: worked examples, shared by many questions; trusted.
        text: the question. It holds quoted answers: nothing in it may become a special token.
        seed: of whatever the judge samples.
        thinks: the judge writes a chain of thought before it chooses.
    """

    prefix: str
    text: str
    seed: int
    thinks: bool = False


@dataclass(frozen=True)
class Answered:
    """What a judge said: log-probs of (A) and (B) in nats, or votes for them, and the thought before."""

    logprobs: tuple[float, float] | None = None
    votes: tuple[int, int] | None = None
    thought: str | None = None

    @property
    def p(self) -> float:
        """P(A is better): softmax of the log-probs, else the share of votes with half a vote added to each side."""
        if self.logprobs is not None:
            a, b = self.logprobs
            return math.exp(-_softplus(b - a))
        assert self.votes is not None
        return (self.votes[0] + 0.5) / (sum(self.votes) + 1)


@dataclass(frozen=True)
class Skipped:
    """Why there is no answer."""

    kind: Skip
    detail: str


class Judge(Protocol):
    """Whoever answers comparisons."""

    @property
    def name(self) -> str:
        """What labels call it."""
        ...

    @property
    def version(self) -> str:
        """A digest of all that decides its answers."""
        ...

    def answer(self, asked: Sequence[Asked]) -> list[Answered | Skipped]:
        """Return one answer, or the reason why there is none, per question."""
        ...


@dataclass(frozen=True)
class Pair:
    """Two completions of one prompt, in no order."""

    task_id: str
    prompt: Prompt
    completion_ids: tuple[str, str]
    texts: tuple[str, str]


@dataclass(frozen=True)
class Manner:
    """How a pair is put to a judge.

    Args:
        principles: what is drawn from.
        per_pair: different principles that each pair is judged by.
        orders: "both", or "one" drawn at random.
        thinks: with a chain of thought.
        num_examples: worked examples before each question, at most.
        num_prefixes: in how many variants (principles and orders of the examples) they are drawn.
        seed: of all draws.
    """

    principles: tuple[Principle, ...]
    per_pair: int
    orders: Orders
    thinks: bool
    num_examples: int
    num_prefixes: int
    seed: int


@dataclass(frozen=True)
class Put:
    """A question, and what it is about: `swapped` where the pair's second completion is shown as (A)."""

    pair: Pair
    principle: Principle
    swapped: bool
    asked: Asked


def prefixes(constitution: Constitution, manner: Manner) -> list[str]:
    """Return the variants of the worked examples; each example has a principle and an order of its own, drawn by the seed."""
    return [_prefix(constitution, manner, i) for i in range(manner.num_prefixes)]


def _prefix(constitution: Constitution, manner: Manner, variant: int) -> str:
    seeds = [derive_seed(manner.seed, "example", variant, i) for i in range(manner.num_examples)]
    drawn = [draw(manner.principles, seed)[0] for seed in seeds]
    if manner.thinks:
        thoughts = zip(constitution.thoughts, drawn, strict=False)
        return "".join(thought_example(example.text, principle) for example, principle in thoughts)
    choices = zip(constitution.choices, drawn, seeds, strict=False)
    return "".join(
        choice_example(example, principle, better_first=seed % 2 == 0) for example, principle, seed in choices
    )


def questions(pair: Pair, manner: Manner, shared: Sequence[str]) -> list[Put]:
    """Return the questions of a pair: by each of its principles, in each order; `shared` are the `prefixes`."""
    key = (manner.seed, pair.task_id, *pair.completion_ids)
    prefix = shared[derive_seed(*key, "prefix") % len(shared)] if shared else ""
    first = derive_seed(*key, "order") % 2 == 1
    orders = (False, True) if manner.orders == "both" else (first,)
    found = []
    for principle in draw(manner.principles, derive_seed(*key, "principle"), manner.per_pair):
        for swapped in orders:
            seed = derive_seed(*key, principle.name, int(swapped))
            asked = Asked(prefix, _text(pair, principle, swapped, manner.thinks), seed, manner.thinks)
            found.append(Put(pair, principle, swapped, asked))
    return found


def _text(pair: Pair, principle: Principle, swapped: bool, thinks: bool) -> str:
    first, second = reversed(pair.texts) if swapped else pair.texts
    if thinks:
        return thinking_question(pair.prompt, principle, first, second)
    return question(conversation(pair.prompt), principle, first, second)


def verdicts(put: Sequence[Put], judge: Judge, constitution: str) -> list[Verdict]:
    """Ask, and return one verdict per question; `constitution` is its digest."""
    answers = judge.answer([one.asked for one in put])
    return [_verdict(one, answer, judge, constitution) for one, answer in zip(put, answers, strict=True)]


def _verdict(put: Put, answer: Answered | Skipped, judge: Judge, constitution: str) -> Verdict:
    a, b = reversed(put.pair.completion_ids) if put.swapped else put.pair.completion_ids
    said: dict[str, object]
    if isinstance(answer, Skipped):
        said = {"skipped": f"{answer.kind}: {answer.detail}"}
    else:
        said = {"p": answer.p, "logprobs": answer.logprobs, "votes": answer.votes, "thought": answer.thought}
    return Verdict.model_validate(
        {
            "task_id": put.pair.task_id,
            "a": a,
            "b": b,
            "principle": put.principle.name,
            "judge": judge.name,
            "judge_version": judge.version,
            "constitution": constitution,
            **said,
        }
    )


@dataclass(frozen=True)
class Labeling:
    """How verdicts become a label.

    Args:
        clamp: bounds of each reading; None for none.
        hard: the average is rounded to the better side.
        orders: as each principle was asked in.
        temperature: the average's log-odds are divided by it; see `engines.judges.label_calibration`.
    """

    clamp: tuple[float, float] | None
    hard: bool
    orders: Orders
    temperature: float = 1.0


def preference(
    pair: Pair, said: Sequence[Verdict], manner: Labeling, *, criterion: str, source: str
) -> Preference | None:
    """Return the label of a pair from all verdicts on it; None where no principle has a verdict in each of its orders.

    P(the first is better) is averaged over orders within each principle (one order alone would carry the judge's bias of
    position), then over principles.
    """
    by_principle: dict[str | None, list[Verdict]] = {}
    for verdict in said:
        by_principle.setdefault(verdict.principle, []).append(verdict)
    whole = {name: found for name, found in by_principle.items() if all(v.p is not None for v in found)}
    if not whole:
        return None
    p = fmean(fmean(_first_better(v, pair, manner.clamp) for v in found) for found in whole.values())
    if manner.hard and p != 0.5:
        p = float(p > 0.5)
    elif manner.temperature != 1:
        p = _tempered(p, manner.temperature)
    chosen, rejected = pair.texts if p >= 0.5 else tuple(reversed(pair.texts))
    heads = next(iter(whole.values()))[0]
    return Preference(
        prompt=pair.prompt,
        chosen=chosen,
        rejected=rejected,
        p=max(p, 1 - p),
        n=float(len(whole)),
        task_id=pair.task_id,
        criterion=criterion,
        source=source,
        by=heads.judge,
        principle=" + ".join(name for name in whole if name is not None) or None,
        order="both" if manner.orders == "both" else ("ab" if heads.a == pair.completion_ids[0] else "ba"),
        meta={
            "judge_version": heads.judge_version,
            "constitution": heads.constitution,
            "first": pair.completion_ids[0],
            "second": pair.completion_ids[1],
            "readings": [_reading(v) for found in whole.values() for v in found],
        },
    )


def _tempered(p: float, temperature: float) -> float:
    """Return sigmoid(log(p / (1 - p)) / temperature); 0 and 1 stay."""
    if p in (0, 1):
        return p
    odds = (math.log(p) - math.log1p(-p)) / temperature
    return math.exp(-_softplus(-odds))


def _first_better(verdict: Verdict, pair: Pair, clamp: tuple[float, float] | None) -> float:
    assert verdict.p is not None
    p = verdict.p if clamp is None else min(max(verdict.p, clamp[0]), clamp[1])
    return p if verdict.a == pair.completion_ids[0] else 1 - p


def _reading(verdict: Verdict) -> dict[str, object]:
    raw = verdict.model_dump(mode="json", include={"a", "b", "principle", "p", "logprobs", "votes", "scores"})
    return {name: value for name, value in raw.items() if value is not None}


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))
