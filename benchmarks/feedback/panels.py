"""Simulated projects for the power of the flags: eight labelers, one of them bad, made here and not by the product.

A careful labeler sees the worth of each completion (normal, the same for all) plus normal noise, and ties what looks
nearly equal. `NOISE` and `TIE` make two careful labelers order 72 % of pairs alike, of those that both order.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from heedful.feedback.exchange.simulated import assign
from heedful.records.types import Ranking

Fault = Literal["random", "reversed", "other criterion", "as displayed", "length habit", "nobody bad"]
Floats = NDArray[np.float64]

LABELERS = ("anna", "ben", "cleo", "dan", "eva", "finn", "gus", "bad")
COMPLETIONS, OVERLAP = 4, 3
TASKS_EACH = 50
REPEATS = 12
"""Hidden repeats of each labeler, where there are any."""
NOISE, TIE = 0.87, 0.15
DESIGNS = 40
"""Assignments of labelers to tasks; every project draws one of them."""


class Project(NamedTuple):
    """The answers of one project, and what else a project may know about its labelers."""

    rankings: list[Ranking]
    repeats: list[Ranking]
    other_criterion: list[Ranking]


def design(number: int, tasks_each: int = TASKS_EACH) -> list[tuple[int, ...]]:
    """Return who answers each task; nobody has more than `tasks_each` tasks, and at most one labeler one fewer."""
    tasks = [str(i) for i in range(len(LABELERS) * tasks_each // OVERLAP)]
    found = assign(tasks, [str(i) for i in range(len(LABELERS))], OVERLAP, seed=number)
    return [tuple(int(who) for who in found[task]) for task in tasks]


def project(fault: Fault, panel: list[tuple[int, ...]], rng: np.random.Generator) -> Project:
    """Return one project; the last labeler has the fault."""
    rankings, repeats, other = [], [], []
    again = dict.fromkeys(range(len(LABELERS)), 0)
    for task, members in enumerate(panel):
        worth, second = rng.normal(size=(2, COMPLETIONS))
        lengths = rng.integers(20, 400, COMPLETIONS)
        texts = {f"{task}-{i}": "x" * int(length) for i, length in enumerate(lengths)}
        for who in members:
            its = fault if LABELERS[who] == "bad" else "nobody bad"
            rankings.append(answer(its, who, task, texts, worth, second, rng))
            if again[who] < REPEATS:
                again[who] += 1
                repeats.append(answer(its, who, task, texts, worth, second, rng))
        # Three labelers of another project ranked the same completions by the other criterion.
        other += [answer("other criterion", who, task, texts, worth, second, rng) for who in range(3)]
    return Project(rankings, repeats, other)


def answer(
    fault: Fault, who: int, task: int, texts: dict[str, str], worth: Floats, second: Floats, rng: np.random.Generator
) -> Ranking:
    """Return one labeler's answer to one task."""
    shown = rng.permutation(COMPLETIONS)
    noise = rng.normal(size=COMPLETIONS)
    tie = TIE
    match fault:
        case "random":
            seen, tie = noise, 0.0
        case "reversed":
            seen = -(worth + NOISE * noise)
        case "other criterion":
            seen = second + NOISE * noise
        case "as displayed" if rng.random() < 0.5:
            seen, tie = -shown.argsort().astype(float), 0.0
        case "length habit":
            seen, tie = np.array([float(len(text)) for text in texts.values()]), 0.0
        case _:
            seen = worth + NOISE * noise
    ids = list(texts)
    # Nothing here can be wrong, and checking a thousand projects takes longer than making them.
    return Ranking.model_construct(
        task_id=str(task),
        prompt="",
        completions=texts,
        ranking=tuple(tuple(ids[i] for i in group) for group in groups(seen, tie)),
        fails=(),
        labeler=LABELERS[who],
        criterion="simulated",
        displayed_order=tuple(ids[i] for i in shown),
    )


def groups(seen: Floats, tie: float) -> list[list[int]]:
    """Return best first; a group holds what looks at most `tie` worse than its best."""
    found: list[list[int]] = []
    for item in np.argsort(-seen).tolist():
        if found and seen[found[-1][0]] - seen[item] <= tie:
            found[-1].append(item)
        else:
            found.append([item])
    return found
