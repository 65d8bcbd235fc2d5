"""How often each labeler is right: planted accuracies found again, and nothing depends on sides or names."""

from __future__ import annotations

import numpy as np
import pytest

from heedful.numerics.agreement import TaskAnswers
from heedful.numerics.cohorts import cohort_of
from heedful.numerics.one_coin import labeler_accuracy, one_coin
from tests.tolerances import FP64

CONVERGED = 1e-5
"""The rounds stop where no accuracy moves by 1e-6."""
PLANTED = [0.88, 0.86, 0.85, 0.5, 0.17]
NEAR = 0.04
"""Three standard errors of an accuracy from 1,000 votes, and a little for the truth being estimated too."""


def drawn(seed: int, items: int = 1000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every labeler on every item, whose truth is on a random side."""
    rng = np.random.default_rng(seed)
    truth = rng.choice([-1, 1], items)
    right = rng.random((len(PLANTED), items)) < np.array(PLANTED)[:, None]
    who, what = np.meshgrid(np.arange(len(PLANTED)), np.arange(items), indexing="ij")
    return who.ravel(), what.ravel(), np.where(right, truth, -truth).ravel()


def test_planted_accuracies_are_found_again() -> None:
    assert one_coin(*drawn(0)).accuracy == pytest.approx(PLANTED, abs=NEAR)


def test_the_estimates_solve_their_equations() -> None:
    who, what, votes = drawn(1, 200)
    found = one_coin(who, what, votes)
    weight = np.log(found.accuracy / (1 - found.accuracy))
    for item in range(200):
        evidence = sum(votes[i] * weight[who[i]] for i in np.flatnonzero(what == item))
        assert found.truth[item] == pytest.approx(1 / (1 + np.exp(-evidence)), abs=CONVERGED)
    for labeler in range(len(PLANTED)):
        rows = np.flatnonzero(who == labeler)
        right = sum(found.truth[what[i]] if votes[i] > 0 else 1 - found.truth[what[i]] for i in rows)
        assert found.accuracy[labeler] == pytest.approx((1 + right) / (2 + len(rows)), abs=CONVERGED)


def test_the_side_that_is_called_first_does_not_matter() -> None:
    who, what, votes = drawn(2, 300)
    flip = np.random.default_rng(3).choice([-1, 1], 300)
    found, turned = one_coin(who, what, votes), one_coin(who, what, votes * flip[what])
    assert turned.accuracy == pytest.approx(found.accuracy, abs=FP64)
    assert np.where(flip > 0, turned.truth, 1 - turned.truth) == pytest.approx(found.truth, abs=FP64)


def test_one_vote_by_hand() -> None:
    # The majority is the vote itself: right with certainty, (1 + 1) / (2 + 1), and then with the probability found before.
    assert one_coin([0], [0], [1], rounds=1).accuracy.tolist() == [pytest.approx(2 / 3)]
    second = one_coin([0], [0], [1], rounds=2)
    assert second.accuracy.tolist() == [pytest.approx((1 + 2 / 3) / 3)]
    assert one_coin([0], [0], [-1], rounds=1).truth.tolist() == [pytest.approx(1 / 3)]


def test_no_vote_is_no_error() -> None:
    assert one_coin([], [], []).accuracy.tolist() == []
    assert labeler_accuracy([]) == {}
    # Who tied everything has no accuracy.
    assert labeler_accuracy([TaskAnswers(("u", "v"), np.array([[0, 0], [0, 1]]))]).keys() == {"v"}


def test_rankings_are_votes_on_their_pairs() -> None:
    rng = np.random.default_rng(6)
    tasks = []
    for _ in range(300):
        worth = rng.normal(size=4)
        seen = worth + 0.7 * rng.normal(size=(5, 4))
        seen[3] = rng.normal(size=4)
        seen[4] = -seen[4]
        who = np.sort(rng.choice(5, 4, replace=False))
        tasks.append(
            TaskAnswers(tuple(np.array(["a", "b", "c", "random", "turned"])[who]), np.argsort(np.argsort(-seen))[who])
        )
    found = labeler_accuracy(tasks)
    assert min(found[name] for name in "abc") > 0.75
    assert abs(found["random"] - 0.5) < 0.08
    assert found["turned"] < 0.25
    assert labeler_accuracy(cohort_of(tasks)) == found
