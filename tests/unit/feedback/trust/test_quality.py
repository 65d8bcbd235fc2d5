"""Reports per labeler: planted faults named with their cause, nobody accused without one."""

from __future__ import annotations

import numpy as np
import pytest

from heedful.errors import DataError
from heedful.feedback.exchange.exports import weak_order
from heedful.feedback.exchange.simulated import Fault, SimulatedLabeler, SimulatedTask, rank_tasks
from heedful.feedback.trust.quality import LabelerReport, answers_by_task, by_task, flag_labelers
from heedful.records.types import Completion, Ranking

CAREFUL = [SimulatedLabeler(name) for name in ("anna", "ben", "cleo", "dan")]


def make_tasks(seed: int, n: int = 200) -> list[SimulatedTask]:
    rng = np.random.default_rng(seed)
    found = []
    for i in range(n):
        completions = tuple(
            Completion(id=f"t{i}-{k}", prompt_id=f"t{i}", prompt=f"prompt {i}", completion="x" * int(length))
            for k, length in enumerate(rng.integers(1, 400, size=4))
        )
        found.append(SimulatedTask(f"t{i}", completions, tuple(rng.normal(size=4).tolist()), (False,) * 4))
    return found


def reports(seed: int, *faults: Fault, n: int = 200) -> dict[str, LabelerReport]:
    bad = [SimulatedLabeler(f"bad-{fault}", fault=fault) for fault in faults]
    rankings = rank_tasks(make_tasks(seed, n), CAREFUL + bad, overlap=3, criterion="better", seed=seed)
    return {report.labeler: report for report in flag_labelers(rankings, seed=seed)}


@pytest.mark.parametrize("seed", range(4))
def test_reversed_and_random_are_named_and_nobody_else(seed: int) -> None:
    found = reports(seed, "reversed", "random")
    assert {name: report.diagnosis for name, report in found.items() if report.flagged} == {
        "bad-random": "random/spam",
        "bad-reversed": "reversed",
    }


@pytest.mark.parametrize("seed", range(3))
def test_a_reversed_labeler_may_be_noisier_than_the_others(seed: int) -> None:
    sharp = [SimulatedLabeler(name, noise=0.5) for name in ("anna", "ben", "cleo", "dan")]
    turned = SimulatedLabeler("erin", noise=0.87, fault="reversed")
    rankings = rank_tasks(make_tasks(seed), [*sharp, turned], overlap=3, criterion="better", seed=seed)
    found = {report.labeler: report for report in flag_labelers(rankings, seed=seed)}
    assert {name: one.diagnosis for name, one in found.items() if one.flagged} == {"erin": "reversed"}


@pytest.mark.parametrize(("fault", "diagnosis"), [("as_displayed", "as displayed"), ("length", "length habit")])
def test_other_faults_are_named(fault: Fault, diagnosis: str) -> None:
    found = reports(1, fault)
    assert {name: report.diagnosis for name, report in found.items() if report.flagged} == {f"bad-{fault}": diagnosis}


def test_half_careless_is_flagged_without_an_accusation() -> None:
    rankings = rank_tasks(make_tasks(2), CAREFUL, overlap=4, criterion="better", seed=2)
    rng = np.random.default_rng(0)

    def careless(ranking: Ranking) -> Ranking:
        if ranking.labeler != "dan" or rng.random() < 0.5:
            return ranking
        ids = sorted(ranking.completions)
        return ranking.model_copy(update={"ranking": tuple((ids[i],) for i in rng.permutation(4))})

    found = {report.labeler: report for report in flag_labelers([careless(r) for r in rankings], seed=0)}
    assert [name for name, report in found.items() if report.flagged] == ["dan"]
    assert found["dan"].diagnosis == "unclear"


def test_texts_are_for_people() -> None:
    found = reports(0, "reversed", "random")
    reversed_text, careful_text = found["bad-reversed"].text, found["anna"].text
    assert "The ranks look reversed (worst first); turned round they would agree on 6" in reversed_text
    assert "where the others agree with each other on" in reversed_text
    assert careful_text.startswith("Agrees with the others on 7")
    assert "looks" not in careful_text
    assert found["anna"].diagnosis is None
    assert "at random" in found["bad-random"].text


def test_too_little_overlap_is_said() -> None:
    few = reports(0, "reversed", n=20)
    assert not any(report.flagged for report in few.values())
    assert "not tested, which takes 30 tasks with two other labelers" in few["bad-reversed"].text
    alone = rank_tasks(make_tasks(0, 40), CAREFUL[:1], overlap=1, criterion="better", seed=0)
    (report,) = flag_labelers(alone, seed=0)
    assert report.text == "Not enough overlap: 0 tasks shared with others."
    assert (report.s2, report.p, report.q, report.gap) == (None, None, None, None)


def test_without_displayed_order_the_display_is_not_blamed() -> None:
    panel = [*CAREFUL, SimulatedLabeler("bad", fault="as_displayed")]
    rankings = rank_tasks(make_tasks(1), panel, overlap=3, criterion="better", seed=1)
    unknown = [ranking.model_copy(update={"displayed_order": ()}) for ranking in rankings]
    found = {report.labeler: report for report in flag_labelers(unknown, seed=0)}
    assert found["bad"].diagnosis == "random/spam"


def test_minimum_gap_and_q_are_passed_on() -> None:
    rankings = rank_tasks(
        make_tasks(0), [*CAREFUL, SimulatedLabeler("bad", fault="random")], overlap=3, criterion="better", seed=0
    )
    assert [r.labeler for r in flag_labelers(rankings, seed=0) if r.flagged] == ["bad"]
    assert not any(r.flagged for r in flag_labelers(rankings, seed=0, minimum_gap=0.5))
    assert not any(r.flagged for r in flag_labelers(rankings, seed=0, q=1e-99))
    assert not any(r.flagged for r in flag_labelers(rankings, seed=0, minimum_tasks=150))


def ranking(labeler: str, *ids: str, task: str = "t") -> Ranking:
    return Ranking(
        task_id=task,
        prompt="p",
        completions={item: item for item in ids},
        ranking=tuple((item,) for item in ids),
        labeler=labeler,
        criterion="better",
    )


def test_a_second_answer_to_a_task_is_refused() -> None:
    with pytest.raises(DataError, match="labeler 'anna' answered task 't' twice"):
        by_task([ranking("anna", "a", "b"), ranking("anna", "b", "a")])


def test_answers_over_different_completions_are_refused() -> None:
    with pytest.raises(DataError, match="task 't' rank different completions"):
        answers_by_task(by_task([ranking("anna", "a", "b"), ranking("ben", "a", "c")]))


def test_weak_order_keeps_fails_apart() -> None:
    marked = ranking("anna", "a", "b").model_copy(update={"ranking": (("a",),), "fails": ("b",)})
    assert weak_order(marked).levels() == {"a": 0, "b": 1}
