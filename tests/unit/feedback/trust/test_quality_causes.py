"""Why a labeler was flagged: hidden repeats and other criteria tell what the answers alone cannot."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import pytest

from heedful.feedback.exchange.simulated import Fault, SimulatedLabeler, SimulatedTask, rank_tasks
from heedful.feedback.trust.quality import LabelerReport, flag_labelers
from heedful.feedback.trust.quality_causes import Diagnosis
from heedful.records.types import Completion, Ranking

CAREFUL = [SimulatedLabeler(name) for name in ("anna", "ben", "cleo", "dan")]
Kind = Literal["helpful", "polite"]


def make_tasks(seed: int, n: int = 200) -> dict[Kind, list[SimulatedTask]]:
    """The same completions with two worths that have nothing to do with each other."""
    rng = np.random.default_rng(seed)
    found: dict[Kind, list[SimulatedTask]] = {"helpful": [], "polite": []}
    for i in range(n):
        completions = tuple(
            Completion(id=f"t{i}-{k}", prompt_id=f"t{i}", prompt=f"prompt {i}", completion=f"{k}" * 20)
            for k in range(4)
        )
        for kind in get_args(Kind):
            found[kind].append(SimulatedTask(f"t{i}", completions, tuple(rng.normal(size=4).tolist()), (False,) * 4))
    return found


def answers(seed: int, *, of: str = "polite", fault: Fault | None = None, repeat: int = 0) -> list[Ranking]:
    """Four careful labelers rank by helpfulness, "erin" by `of`; a repeat asks the same again, with fresh noise and display."""
    tasks = make_tasks(seed)
    panel = [*CAREFUL, replace(CAREFUL[0], name="erin", fault=fault)]
    found = rank_tasks(tasks["helpful"], panel, overlap=3, criterion="helpful", seed=seed)
    # Who answers what depends on the names and the seed only, so that erin's answers can be taken from another worth.
    own = rank_tasks(tasks[of], panel, overlap=3, criterion="helpful", seed=seed)  # type: ignore[index]
    if repeat:
        again = rank_tasks(tasks[of], panel, overlap=5, criterion="helpful", seed=seed + 1000)  # type: ignore[index]
        asked = {one.task_id for one in own if one.labeler == "erin"}
        return [one for one in again if one.labeler == "erin" and one.task_id in asked][:repeat]
    return [mine if mine.labeler == "erin" else theirs for theirs, mine in zip(found, own, strict=True)]


def erin(reports: list[LabelerReport]) -> LabelerReport:
    assert [report.labeler for report in reports if report.flagged] == ["erin"]
    return next(report for report in reports if report.labeler == "erin")


def test_without_more_to_go_by_another_criterion_looks_like_clicking() -> None:
    assert erin(flag_labelers(answers(0), seed=0)).diagnosis == "random/spam"


def test_answers_to_the_other_criterion_name_it() -> None:
    polite = rank_tasks(make_tasks(0)["polite"], CAREFUL, overlap=3, criterion="polite", seed=5)
    helpful = rank_tasks(make_tasks(0)["helpful"], CAREFUL, overlap=3, criterion="helpful again", seed=5)
    found = erin(flag_labelers(answers(0), seed=0, other_criteria={"politeness": polite, "the same": helpful}))
    assert found.diagnosis == "other criterion"
    assert "follow 'politeness' more than those of others" in found.text


def test_completions_that_nobody_ranked_by_the_other_criterion_are_no_clue() -> None:
    elsewhere = rank_tasks(make_tasks(0)["polite"][:1], CAREFUL, overlap=3, criterion="polite", seed=5)
    renamed = [
        one.model_copy(
            update={
                "completions": {f"x{key}": text for key, text in one.completions.items()},
                "ranking": tuple(tuple(f"x{key}" for key in group) for group in one.ranking),
            }
        )
        for one in elsewhere
    ]
    assert erin(flag_labelers(answers(0), seed=0, other_criteria={"p": renamed})).diagnosis == "random/spam"


def test_who_is_steady_is_not_clicking() -> None:
    found = erin(flag_labelers(answers(0), seed=0, repeats=answers(0, repeat=20)))
    assert found.diagnosis == "other criterion"
    assert "steady when a task comes again" in found.text


def test_who_is_not_steady_is_clicking() -> None:
    random = answers(1, of="helpful", fault="random")
    again = answers(1, of="helpful", fault="random", repeat=40)
    assert erin(flag_labelers(random, seed=0, repeats=again)).diagnosis == "random/spam"


def test_repeats_without_a_display_are_no_clue() -> None:
    hidden = [one.model_copy(update={"displayed_order": ()}) for one in answers(0, repeat=20)]
    assert erin(flag_labelers(answers(0), seed=0, repeats=hidden)).diagnosis == "random/spam"


@pytest.mark.parametrize(("fault", "cause"), [("reversed", "reversed"), ("as_displayed", "as displayed")])
def test_more_to_go_by_does_not_hide_a_certain_cause(fault: Fault, cause: Diagnosis) -> None:
    polite = rank_tasks(make_tasks(0)["polite"], CAREFUL, overlap=3, criterion="polite", seed=5)
    again = answers(0, of="helpful", fault=fault, repeat=40)
    found = flag_labelers(
        answers(0, of="helpful", fault=fault), seed=0, repeats=again, other_criteria={"politeness": polite}
    )
    assert erin(found).diagnosis == cause


def test_following_the_display_alone_is_enough_to_be_flagged() -> None:
    alone = rank_tasks(make_tasks(3, 40)["helpful"], [SimulatedLabeler("erin", fault="as_displayed")], overlap=1,
                       criterion="better", seed=0)  # fmt: skip
    found = erin(flag_labelers(alone, seed=0))
    assert (found.diagnosis, found.s2) == ("as displayed", None)
    assert found.text.startswith("Not enough overlap: 0 tasks shared with others. The answers follow the order")
