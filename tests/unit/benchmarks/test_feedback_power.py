"""Short forms of `make bench-feedback`, its statistics: tens of projects, and the real labelers where the data is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.feedback import cohort, exactness, panels, power, real
from benchmarks.results import line

from heedful.numerics.reliability import find_unreliable

PROJECTS = 12
LEAST = {"random": 10, "reversed": 11, "other criterion": 9, "as displayed": 10}
"""Flagged of 12: where the share is at its target, fewer happen less than three times in a hundred."""


@pytest.fixture(autouse=True)
def _few_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "NAMED", 3)


@pytest.mark.slow
@pytest.mark.parametrize("fault", list(LEAST))
def test_planted_labelers_are_flagged(fault: panels.Fault) -> None:
    flagged, others, *causes = power.cell(fault, PROJECTS, "test")
    assert flagged["value"] * PROJECTS >= LEAST[fault]
    assert flagged["target"] == power.TARGETS[fault]
    assert others["value"] * PROJECTS <= 2
    assert len(causes) == len(power.KNOWN)


def test_nobody_is_flagged_where_nobody_is_bad() -> None:
    (found,) = power.cell("nobody bad", PROJECTS, "test")
    # Where one in twenty is wrong, three or more of twelve happen two times in a hundred.
    assert found["value"] * PROJECTS <= 2


def test_nobody_has_more_tasks_than_said() -> None:
    for number in range(3):
        counts = np.bincount([who for members in panels.design(number) for who in members])
        assert sorted(set(counts)) in ([49, 50], [50])
        assert len(counts) == len(panels.LABELERS)


def test_a_cell_is_the_same_every_time() -> None:
    one, again = power.cell("other criterion", 2, "test"), power.cell("other criterion", 2, "test")
    assert one == again


def test_brute_force_tells_a_wrong_consensus(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    answers = [exactness.random_answers(rng, 4) for _ in range(20)]
    assert all(exactness.same_as_brute_force(one) for one in answers)
    right = exactness.consensus_levels
    monkeypatch.setattr(exactness, "consensus_levels", lambda levels: right(levels)._replace(margin=np.array([99.0])))
    assert not any(exactness.same_as_brute_force(one) for one in answers)


@pytest.mark.slow
def test_a_small_cohort() -> None:
    small = cohort.simulated(300, 15_000)
    found = cohort.outcome(find_unreliable(small, seed=0))
    # Fifty tasks each, a third of all labelers bad, three hundred tests: half of the bad are found, and nobody else.
    assert found["bad"] == sum(cohort.BAD.values())
    assert found["bad_flagged"] >= 40
    assert found["careful_flagged"] <= 2
    assert small.blocks[0].levels.shape == (5000, cohort.OVERLAP, cohort.COMPLETIONS)
    assert (np.diff(small.blocks[0].labelers, axis=1) > 0).all()


def test_a_row_in_words() -> None:
    one = {"name": "a", "value": 0.5, "low": 0.25, "high": 0.75, "unit": "share", "target": "", "met": None}
    assert line(one) == "a: 0.5 [0.25, 0.75] share (target , met: None)"
    assert line(one | {"low": None}) == "a: 0.5 share (target , met: None)"


@pytest.fixture
def folder(heed_data: Path) -> Path:
    for name in ("dialsummeval", "pandalm", "hatecheck"):
        if not (heed_data / name).is_dir():
            pytest.skip(f"no {name} at {heed_data}; set HEED_DATA")
    return heed_data


def test_published_alphas_to_three_digits(folder: Path) -> None:
    found = real.published(folder, "test")
    assert [round(one["value"], 3) for one in found] == [0.864, 0.929]
    assert [one["met"] for one in found] == [True, True]


def test_the_crowd_agrees_like_chance_and_the_trusted_do_not(folder: Path) -> None:
    crowd, trusted = real.crowd_ratings(folder), real.trusted_ratings(folder)
    assert (len(crowd), len(trusted)) == (1400, 1400)
    assert max(task.levels.shape[1] for task in real.shared_pairs(crowd, "relevance")) <= 9

    def low_and_high(one: dict[str, Any]) -> tuple[float, float]:
        return one["low"], one["high"]

    low, high = low_and_high(real.alpha_row("crowd", "relevance", crowd, "test"))
    assert low < 0 < high
    assert low_and_high(real.alpha_row("trusted", "relevance", trusted, "test"))[0] > 0.2
    low, high = low_and_high(real.ranking_row("crowd", "coherence", crowd, "test"))
    assert low < 0.5 < high
    assert low_and_high(real.ranking_row("trusted", "coherence", trusted, "test"))[0] > 0.85


def test_where_all_click_nobody_is_worse_than_the_others(folder: Path) -> None:
    worst, tested = real.crowd_test(real.crowd_ratings(folder), "relevance")
    assert tested > 50
    assert worst == []
