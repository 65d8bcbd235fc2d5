"""The simulated panel: assignment in balance, agreement as in closed form, planted faults as described."""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from heedful.errors import ConfigError
from heedful.feedback.exchange.exports import weak_order
from heedful.feedback.exchange.simulated import (
    SimulatedLabeler,
    SimulatedTask,
    agreement_with_utilities,
    assign,
    noise_for_agreement,
    rank_tasks,
    within_task_deviation,
)
from heedful.feedback.trust.quality import answers_by_task, by_task
from heedful.numerics.agreement import team_agreement
from heedful.records.types import Completion, Ranking
from tests.tolerances import FP64

AGREEMENT = 0.015
"""Three standard errors of S2 over 1,500 tasks of four, each with three labelers."""


def make_tasks(n: int, *, scale: float = 1.0, size: int = 4, fails: int = 0) -> list[SimulatedTask]:
    rng = np.random.default_rng(0)
    found = []
    for i in range(n):
        texts = ["x" * int(length) for length in rng.permutation(np.arange(1, 10))[:size]]
        completions = tuple(
            Completion(id=f"t{i}-{k}", prompt_id=f"t{i}", prompt=f"prompt {i}", completion=text)
            for k, text in enumerate(texts)
        )
        utilities = tuple((scale * rng.normal(size=size)).tolist())
        found.append(SimulatedTask(f"t{i}", completions, utilities, tuple(k < fails for k in range(size))))
    return found


def rank(tasks: list[SimulatedTask], *panel: SimulatedLabeler, seed: int = 0) -> list[Ranking]:
    return rank_tasks(tasks, panel, overlap=len(panel), criterion="better", seed=seed)


def gold(tasks: list[SimulatedTask]) -> dict[str, float]:
    return {c.id: u for task in tasks for c, u in zip(task.completions, task.utilities, strict=True)}


@pytest.mark.parametrize(("labelers", "overlap", "tasks"), [(6, 3, 200), (5, 2, 33), (4, 4, 7), (7, 1, 20)])
def test_assignment_is_in_balance(labelers: int, overlap: int, tasks: int) -> None:
    names = [f"labeler-{i}" for i in range(labelers)]
    ids = [f"task-{i}" for i in range(tasks)]
    found = assign(ids, names, overlap, seed=3)
    assert list(found) == ids
    assert all(len(set(chosen)) == overlap for chosen in found.values())
    load = Counter(name for chosen in found.values() for name in chosen)
    assert max(load.values()) - min(load[name] for name in names) <= 1


def test_every_pair_of_labelers_shares_tasks() -> None:
    names = [f"labeler-{i}" for i in range(6)]
    found = assign([str(i) for i in range(200)], names, 3, seed=1)
    shared = Counter(pair for chosen in found.values() for pair in combinations(chosen, 2))
    # 200 tasks of three pairs over fifteen pairs: forty each.
    assert len(shared) == 15
    assert min(shared.values()) >= 36
    assert max(shared.values()) <= 44


def test_assignment_differs_by_seed_and_repeats() -> None:
    arguments = ([str(i) for i in range(50)], ["a", "b", "c", "d"], 2)
    assert assign(*arguments, seed=1) == assign(*arguments, seed=1)
    assert assign(*arguments, seed=1) != assign(*arguments, seed=2)


def test_assignment_refuses_what_cannot_be() -> None:
    with pytest.raises(ConfigError, match="same name"):
        assign(["t"], ["a", "a"], 1, seed=0)
    for overlap in (0, 3):
        with pytest.raises(ConfigError, match="overlap"):
            assign(["t"], ["a", "b"], overlap, seed=0)


def test_noise_for_agreement_in_closed_form() -> None:
    # rho = 1/2 at noise 1: 1/2 + arcsin(1/2) / pi = 2/3. No noise: always alike.
    assert noise_for_agreement(2 / 3) == pytest.approx(1, abs=FP64)
    assert noise_for_agreement(1.0) == 0
    assert noise_for_agreement(0.72) == pytest.approx(0.754, abs=5e-4)


@pytest.mark.parametrize("scale", [1.0, 40.0])
def test_careful_labelers_agree_as_the_closed_form_says(scale: float) -> None:
    tasks = make_tasks(1500, scale=scale)
    panel = [SimulatedLabeler(name, noise=noise_for_agreement(0.72), tie_width=0) for name in "abc"]
    answers = rank(tasks, *panel)
    found = team_agreement(answers_by_task(by_task(answers)), "S2", seed=0)
    assert found is not None
    assert found.value == pytest.approx(0.72, abs=AGREEMENT)
    # With the truth, the noise counts once: rho = 1 / sqrt(1 + noise^2).
    rho = 1 / math.sqrt(1 + noise_for_agreement(0.72) ** 2)
    against_gold = agreement_with_utilities(answers, gold(tasks), seed=0)
    assert against_gold is not None
    assert against_gold.value == pytest.approx(0.5 + math.asin(rho) / math.pi, abs=AGREEMENT)


def test_default_noise_and_ties_give_72_percent() -> None:
    answers = rank(make_tasks(1500), *[SimulatedLabeler(name) for name in "abc"])
    found = team_agreement(answers_by_task(by_task(answers)), "S2", seed=0)
    assert found is not None
    assert found.value == pytest.approx(0.72, abs=AGREEMENT)


def test_without_noise_a_labeler_ranks_by_utility() -> None:
    tasks = make_tasks(20)
    for answer in rank(tasks, SimulatedLabeler("a", noise=0, tie_width=0)):
        utilities = gold(tasks)
        assert [utilities[group[0]] for group in answer.ranking] == sorted(
            (utilities[item] for item in answer.completions), reverse=True
        )


def test_near_equals_are_tied_with_the_best_of_their_group() -> None:
    completions = make_tasks(1)[0].completions
    # The variance of (0, 1, 1.5, 3) around 1.375 is 1.5625 (Bessel), the deviation 1.25.
    task = SimulatedTask("t0", completions, (0.0, 1.0, 1.5, 3.0), (False,) * 4)
    ids = [completion.id for completion in completions]
    (answer,) = rank([task], SimulatedLabeler("a", noise=0, tie_width=0.5 / 1.25 + 1e-9))
    assert answer.ranking == ((ids[3],), (ids[1], ids[2]), (ids[0],))
    # 3 - 1.5 = 1.5 is within 1.6, and 1 is not within 1.6 of 3, though it is within 1.6 of 1.5: no chains.
    (wide,) = rank([task], SimulatedLabeler("a", noise=0, tie_width=1.6 / 1.25))
    assert wide.ranking == ((ids[2], ids[3]), (ids[0], ids[1]))


def test_reversed_ranks_worst_first() -> None:
    tasks = make_tasks(20)
    (good, bad) = (rank(tasks, SimulatedLabeler("a", noise=0, tie_width=0, fault=f)) for f in (None, "reversed"))
    assert [answer.ranking for answer in bad] == [tuple(reversed(answer.ranking)) for answer in good]


def test_as_displayed_and_length() -> None:
    tasks = make_tasks(20)
    for answer in rank(tasks, SimulatedLabeler("a", fault="as_displayed")):
        assert tuple(group[0] for group in answer.ranking) == answer.displayed_order
    for answer in rank(tasks, SimulatedLabeler("a", fault="length")):
        lengths = [len(answer.completions[group[0]]) for group in answer.ranking]
        assert lengths == sorted(lengths, reverse=True)


def test_random_has_nothing_to_do_with_utility() -> None:
    tasks = make_tasks(1500)
    found = agreement_with_utilities(rank(tasks, SimulatedLabeler("a", fault="random")), gold(tasks), seed=0)
    assert found is not None
    assert found.low < 0.5 < found.high


def test_only_careful_labelers_mark_nonsense() -> None:
    tasks = make_tasks(5, fails=2)
    careful, lenient, bad = (
        rank(tasks, member)
        for member in (
            SimulatedLabeler("a"),
            SimulatedLabeler("a", marks_fails=False),
            SimulatedLabeler("a", fault="reversed"),
        )
    )
    assert all(set(answer.fails) == {f"{answer.task_id}-0", f"{answer.task_id}-1"} for answer in careful)
    assert all(weak_order(answer).levels().keys() == answer.completions.keys() for answer in careful)
    assert not any(answer.fails for answer in lenient + bad)
    (all_fail,) = rank(make_tasks(1, fails=4), SimulatedLabeler("a"))
    assert all_fail.ranking == ()


def test_equal_texts_are_tied_by_whoever_reads_them() -> None:
    twin = make_tasks(1)[0]
    same = tuple(completion.model_copy(update={"completion": "the same"}) for completion in twin.completions)
    task = SimulatedTask("t0", same, (1.0,) * 4, (False,) * 4)
    (answer,) = rank([task, *make_tasks(3)[1:]], SimulatedLabeler("a", noise=2, tie_width=0))[:1]
    assert len(answer.ranking) == 1


def test_display_order_is_random_and_stored() -> None:
    answers = rank(make_tasks(300), SimulatedLabeler("a"), SimulatedLabeler("b"))
    first = Counter(answer.displayed_order[0].split("-")[1] for answer in answers)
    # 600 answers, 150 each, standard error 10.6.
    assert all(abs(count - 150) < 4 * 10.6 for count in first.values())
    pairs = list(zip(answers[::2], answers[1::2], strict=True))
    assert sum(one.displayed_order == other.displayed_order for one, other in pairs) < 40


def test_an_answer_depends_on_seed_labeler_and_task_only() -> None:
    tasks = make_tasks(10)
    alone = rank(tasks, SimulatedLabeler("a"))
    together = [answer for answer in rank(tasks, SimulatedLabeler("a"), SimulatedLabeler("b")) if answer.labeler == "a"]
    assert together == alone
    assert rank(tasks, SimulatedLabeler("a"), seed=1) != alone
    assert [a.ranking for a in rank(tasks, SimulatedLabeler("b"))] != [a.ranking for a in alone]


def test_pooled_deviation_by_hand() -> None:
    # Around their own means: (0, 2) gives 2 on 1 degree of freedom, (5, 5, 8) gives 6 on 2.
    assert within_task_deviation([(0, 2), (5, 5, 8)]) == pytest.approx(math.sqrt(8 / 3), abs=FP64)
    assert within_task_deviation([(1, 1), (2, 2)]) == 1


def test_agreement_with_utilities_by_hand() -> None:
    def answer(**changes: object) -> Ranking:
        (one,) = rank(make_tasks(1, size=3), SimulatedLabeler("a"))
        return one.model_copy(update=changes)

    utilities = {"t0-0": 3.0, "t0-1": 1.0, "t0-2": 1.0}
    # 0 > 1 right; 0 above F 2 right; 1 above F 2 is even in gold.
    right = agreement_with_utilities([answer(ranking=(("t0-0",), ("t0-1",)), fails=("t0-2",))], utilities, seed=0)
    assert right is not None
    assert (right.value, right.n) == (1, 2)
    # 1 = 2 tied, both above 0: two wrong.
    wrong = agreement_with_utilities([answer(ranking=(("t0-1", "t0-2"), ("t0-0",)), fails=())], utilities, seed=0)
    assert wrong is not None
    assert (wrong.value, wrong.n) == (0, 2)
    tied = answer(ranking=(("t0-0", "t0-1", "t0-2"),), fails=())
    assert agreement_with_utilities([tied], utilities, seed=0) is None
