"""From answers to what a reward model learns from: the consensus of each task, and preferences with their share of
votes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from heedful.errors import DataError
from heedful.numerics.rankings import PairCounts, WeakOrder, count_pairs, kemeny_consensus, ranking_pairs
from heedful.records.types import Consensus, Preference, Ranking

RULING = "ruling"
"""Source and labeler of what a manager decided about a task: no labeler's answer, and it stands in place of all of them."""


def split_rulings(rankings: Iterable[Ranking]) -> tuple[list[Ranking], dict[str, Ranking]]:
    """Return what labelers answered, and task to ruling.

    Raises:
        DataError: two rulings on one task.
    """
    answers: list[Ranking] = []
    ruled: dict[str, Ranking] = {}
    for ranking in rankings:
        if ranking.source != RULING:
            answers.append(ranking)
        elif ranking.task_id in ruled:
            raise DataError(f"task '{ranking.task_id}' has two rulings; keep the one in force", field="source")
        else:
            ruled[ranking.task_id] = ranking
    return answers, ruled


def consensus_of(answers: Sequence[Ranking]) -> Consensus:
    """Return the exact Kemeny consensus of the answers to one task."""
    first = answers[0]
    found = kemeny_consensus([weak_order(answer) for answer in answers])
    return Consensus(
        task_id=first.task_id,
        prompt=first.prompt,
        completions=first.completions,
        ranking=found.ranking,
        fails=found.fails,
        cost=found.cost,
        unique=found.unique,
        margin=found.margin,
        labelers=tuple(answer.labeler for answer in answers),
        criterion=first.criterion,
    )


def preferences_of(
    consensus: Consensus, answers: Sequence[Ranking], *, pairs_from: Literal["labelers", "consensus"], smoothing: float
) -> list[Preference]:
    """Return the pairs of one task, preferred first, each with the smoothed share of votes for the preferred side.

    Args:
        consensus: of these answers.
        answers: the answers to one task.
        pairs_from: "labelers" lets the votes on a pair decide its side (an even vote gives no pair); "consensus" takes
            the pairs that the consensus orders, with p at least 1/2.
        smoothing: a in p = (wins + ties / 2 + a) / (n + 2 a).

    Pairs of equal texts are dropped: there is nothing to tell them apart.
    """
    counts = count_pairs([weak_order(answer) for answer in answers])
    both_ways = counts | {(worse, better): votes.flipped() for (better, worse), votes in counts.items()}
    if pairs_from == "labelers":
        pairs = [pair for pair, votes in both_ways.items() if votes.wins > votes.losses]
    else:
        pairs = ranking_pairs(WeakOrder(consensus.ranking, consensus.fails))
    texts = consensus.completions
    return [
        _preference(consensus, pair, both_ways[pair], smoothing, by=pairs_from)
        for pair in sorted(pairs)
        if texts[pair[0]] != texts[pair[1]]
    ]


def _preference(
    consensus: Consensus, pair: tuple[str, str], votes: PairCounts, smoothing: float, *, by: str
) -> Preference:
    better, worse = pair
    return Preference(
        prompt=consensus.prompt,
        chosen=consensus.completions[better],
        rejected=consensus.completions[worse],
        p=max(votes.share(smoothing), 0.5),
        wins=votes.wins,
        ties=votes.ties,
        n=votes.n,
        task_id=consensus.task_id,
        criterion=consensus.criterion,
        source="rankings",
        by=consensus.labelers[0] if len(consensus.labelers) == 1 else by,
        meta={"chosen_id": better, "rejected_id": worse},
    )


def weak_order(ranking: Ranking) -> WeakOrder[str]:
    """Return the answer without its texts."""
    return WeakOrder(ranking.ranking, ranking.fails)
