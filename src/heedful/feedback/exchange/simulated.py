"""Simulated labelers: a panel with known skill and planted faults, to try the whole way before people give their time.

A careful labeler sees the utility of each completion plus normal noise, ties what looks nearly equal, and marks
nonsense F. Utilities are divided by their pooled standard deviation within tasks first, so that noise has the same
meaning in every world. For normal utilities the S2 agreement of two careful labelers who never tie has a closed form
(`noise_for_agreement`); ties lift it, because close calls are no longer counted. Measured on 4,000 tasks of four completions:

    tie width 0       noise 0.75 -> 72 %     (80 % with the true order)
    tie width 0.15    noise 0.87 -> 72 %     (79 %; 6 % of pairs tied)
    tie width 0.30    noise 0.95 -> 72 %     (79 %; 11 % of pairs tied)

72 % is what trained people reach with each other (Ouyang et al. 2022), hence the default noise of 0.87.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from heedful.errors import ConfigError
from heedful.numerics.rankings import WeakOrder, ranking_pairs
from heedful.numerics.statistics import Estimate, clustered_mean
from heedful.records.seeds import derive_seed
from heedful.records.types import Completion, Ranking

Fault = Literal["reversed", "random", "as_displayed", "length"]
SIMULATED = "simulated"
"""The source of a simulated labeler's records."""
Floats = NDArray[np.float64]


def noise_for_agreement(s2: float) -> float:
    """Return the noise at which two careful labelers who never tie order a pair alike with probability s2.

        S2 = 1/2 + arcsin(rho) / pi,   rho = 1 / (1 + noise^2)     for normal utilities

    Args:
        s2: in (0.5, 1].

    Source: Sheppard 1899, the quadrant probability of the bivariate normal.
    """
    return math.sqrt(1 / math.sin(math.pi * (s2 - 0.5)) - 1)


@dataclass(frozen=True)
class SimulatedLabeler:
    """A labeler who can be simulated.

    Args:
        name: as it appears in the records.
        noise: standard deviation of what they add to a utility, in standard deviations of utility within a task; >= 0.
        fault: None for a careful labeler. "reversed" ranks worst first, "random" clicks at random, "as_displayed"
        leaves the
            displayed order, "length" puts the longest first. A labeler with a fault marks no F.
        tie_width: completions that look less than this worse than the best of a group join the group; same unit as
        noise. marks_fails: whether nonsense gets an F.
    """

    name: str
    noise: float = 0.87
    fault: Fault | None = None
    tie_width: float = 0.15
    marks_fails: bool = True


class SimulatedTask(NamedTuple):
    """What is ranked together: completions of one prompt, what each is worth, and which are nonsense."""

    task_id: str
    completions: tuple[Completion, ...]
    utilities: tuple[float, ...]
    fails: tuple[bool, ...]


@dataclass(frozen=True)
class Panel:
    """Simulated people and what they rank.

    Args:
        tasks: all of them.
        members: whoever ranks.
        seed: every draw derives from it.
    """

    tasks: tuple[SimulatedTask, ...]
    members: tuple[SimulatedLabeler, ...]
    seed: int


def assign(task_ids: Sequence[str], labelers: Sequence[str], overlap: int, *, seed: int) -> dict[str, tuple[str, ...]]:
    """Return who answers each task: `overlap` different labelers, at random but in balance.

    Loads differ by at most one task. Among the least busy, those who have shared the fewest tasks with the labelers
    already chosen come first, so that every pair of labelers soon has tasks in common.

    Raises:
        ConfigError: fewer labelers than `overlap`, a name that comes twice, or an overlap below 1.
    """
    if len(set(labelers)) != len(labelers):
        raise ConfigError("panel: two labelers have the same name; give each a name of its own")
    if not 1 <= overlap <= len(labelers):
        raise ConfigError(f"overlap: {overlap} answers per task need 1 to {len(labelers)}, the size of the panel")
    rng = np.random.default_rng(derive_seed(seed, "assign"))
    load = dict.fromkeys(labelers, 0)
    shared = {(one, other): 0 for one in labelers for other in labelers}
    found: dict[str, tuple[str, ...]] = {}
    for index in rng.permutation(len(task_ids)):
        chosen: list[str] = []
        for _ in range(overlap):
            luck = dict(zip(labelers, rng.permutation(len(labelers)).tolist(), strict=True))
            left = [name for name in labelers if name not in chosen]
            keys = {name: (load[name], sum(shared[name, other] for other in chosen), luck[name]) for name in left}
            chosen.append(min(left, key=keys.__getitem__))
        load.update({name: load[name] + 1 for name in chosen})
        shared.update({(a, b): shared[a, b] + 1 for a in chosen for b in chosen})
        found[task_ids[index]] = tuple(sorted(chosen))
    return {task_id: found[task_id] for task_id in task_ids}


def rank_tasks(
    tasks: Sequence[SimulatedTask],
    panel: Sequence[SimulatedLabeler],
    *,
    overlap: int,
    criterion: str,
    seed: int,
) -> list[Ranking]:
    """Return the answers of a panel: `overlap` rankings per task, in task order.

    Every draw comes from (seed, labeler, task): adding a task or a labeler changes no other answer to the tasks they
    share.
    """
    members = {member.name: member for member in panel}
    assigned = assign([task.task_id for task in tasks], [member.name for member in panel], overlap, seed=seed)
    scale = within_task_deviation([task.utilities for task in tasks])
    return [
        _answer(task, members[name], scale=scale, criterion=criterion, seed=seed)
        for task in tasks
        for name in assigned[task.task_id]
    ]


def judge(
    task: SimulatedTask,
    member: SimulatedLabeler,
    *,
    scale: float,
    seed: int,
    shown: Sequence[int] | None = None,
) -> tuple[WeakOrder[int], tuple[int, ...]]:
    """Return what the labeler says of a task's completions, by their index, and the order in which they saw them.

    Args:
        task: what is ranked.
        member: who ranks.
        scale: `within_task_deviation` of all tasks.
        seed: of the panel; what is drawn depends on it, the labeler and the task, and not on the order shown.
        shown: indices in the order of display; drawn where it is not given.
    """
    rng = np.random.default_rng(derive_seed(seed, "panel", member.name, task.task_id))
    drawn = rng.permutation(len(task.completions)).tolist()
    order = tuple(drawn if shown is None else shown)
    seen = _perceive(task, member, order, scale, rng)
    marked = {i for i, fails in enumerate(task.fails) if fails and member.marks_fails and not member.fault}
    return _group(dict(enumerate(seen.tolist())), marked, 0.0 if member.fault else member.tie_width), order


def within_task_deviation(utilities: Sequence[Sequence[float]]) -> float:
    """Return the pooled standard deviation within tasks (each task around its own mean, Bessel); 1 where nothing
    differs."""
    squares = sum(float(np.var(task)) * len(task) for task in utilities)
    freedom = sum(len(task) - 1 for task in utilities)
    return math.sqrt(squares / freedom) if squares > 0 and freedom > 0 else 1.0


def agreement_with_utilities(
    rankings: Sequence[Ranking], utilities: Mapping[str, float], *, seed: int
) -> Estimate | None:
    """Return how often the answers order a pair as the utilities do, over pairs that both order; clustered by task.

    Args:
        rankings: the answers; unmarked over F counts as ordered.
        utilities: completion id to utility.

    Returns:
        None where no pair is ordered by both.
    """
    right, tasks = [], []
    for answer in rankings:
        for better, worse in ranking_pairs(WeakOrder(answer.ranking, answer.fails)):
            if utilities[better] != utilities[worse]:
                right.append(float(utilities[better] > utilities[worse]))
                tasks.append(answer.task_id)
    return clustered_mean(right, tasks, seed=seed) if right else None


def _answer(task: SimulatedTask, member: SimulatedLabeler, *, scale: float, criterion: str, seed: int) -> Ranking:
    order, shown = judge(task, member, scale=scale, seed=seed)
    ids = [completion.id for completion in task.completions]
    return Ranking(
        task_id=task.task_id,
        prompt=task.completions[0].prompt,
        completions={completion.id: completion.completion for completion in task.completions},
        ranking=tuple(tuple(sorted(ids[i] for i in group)) for group in order.ranking),
        fails=tuple(sorted(ids[i] for i in order.fails)),
        labeler=member.name,
        criterion=criterion,
        displayed_order=tuple(ids[i] for i in shown),
        source=SIMULATED,
    )


def _perceive(
    task: SimulatedTask, member: SimulatedLabeler, shown: Sequence[int], scale: float, rng: np.random.Generator
) -> Floats:
    """Return how good each completion looks to the labeler."""
    texts = [completion.completion for completion in task.completions]
    # The same text looks the same twice, so it takes the noise of its first place and ends in a tie.
    noise: Floats = rng.normal(size=len(texts))[[texts.index(text) for text in texts]]
    noisy: Floats = np.array(task.utilities) / scale + member.noise * noise
    match member.fault:
        case None:
            return noisy
        case "reversed":
            return -noisy
        case "random":
            return noise
        case "as_displayed":
            return np.array([-float(shown.index(i)) for i in range(len(texts))])
        case "length":
            return np.array([float(len(text)) for text in texts])


def _group(seen: Mapping[int, float], marked: set[int], tie_width: float) -> WeakOrder[int]:
    """Return the weak order: best first, a group holds what looks at most `tie_width` worse than its best."""
    groups: list[list[int]] = []
    for item in sorted(seen.keys() - marked, key=lambda item: (-seen[item], item)):
        if groups and seen[groups[-1][0]] - seen[item] <= tie_width:
            groups[-1].append(item)
        else:
            groups.append([item])
    return WeakOrder(tuple(tuple(sorted(group)) for group in groups), tuple(sorted(marked)))
