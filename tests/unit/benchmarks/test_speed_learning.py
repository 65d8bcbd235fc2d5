"""The arithmetic of the learning check by hand numbers, and both its ends on a tiny world: models, our side, the examiner."""

import argparse
import json
import math
from pathlib import Path

import pytest
import torch
from benchmarks.speed import learning_models, learning_ours, learning_side
from benchmarks.speed.duel import kept
from benchmarks.speed.learning import OURS, Plan, Run, best, examined, figures, plot, trained
from benchmarks.speed.learning_curves import (
    PENALTY,
    Point,
    geometric_interval,
    lead_at_equal_kl,
    reward_at_kl,
    t_interval,
    time_share,
    time_to_reward,
)
from benchmarks.speed.learning_exam import Examiner

from heedful.worlds import get_world

START = Point(0, 0.0, 0.0)
SLOW = [START, Point(10, 1.0, 4.0), Point(20, 1.5, 6.0)]
FAST = [START, Point(2, 2.0, 4.0), Point(4, 2.5, 8.0)]


def test_reward_at_a_kl_is_read_on_a_straight_line() -> None:
    assert reward_at_kl(SLOW, 2.0) == 0.5
    assert reward_at_kl(SLOW, 5.0) == 1.25
    assert reward_at_kl(SLOW, 6.0) == 1.5
    with pytest.raises(ValueError, match="ends at 6"):
        reward_at_kl(SLOW, 6.1)


def test_a_curve_whose_kl_falls_is_read_where_it_first_has_the_kl() -> None:
    assert reward_at_kl([START, Point(1, 4.0, 8.0), Point(2, 5.0, 6.0)], 6.0) == 3.0


def test_the_lead_is_taken_at_the_smaller_last_kl() -> None:
    assert lead_at_equal_kl(FAST, SLOW) == (2.25 - 1.5, 6.0)
    assert lead_at_equal_kl(SLOW, FAST) == (1.5 - 2.25, 6.0)


def test_time_to_a_reward_is_the_first_that_has_it() -> None:
    assert time_to_reward(SLOW, 1.25) == 15.0
    assert time_to_reward(SLOW, 0.0) == 0.0
    assert time_to_reward(SLOW, 1.6) == math.inf
    assert time_to_reward([START, Point(10, 2.0, 1.0), Point(20, 1.0, 2.0)], 1.0) == 5.0


def test_share_of_time_and_its_penalty() -> None:
    assert time_share(FAST, SLOW) == pytest.approx(1.5 / 20)
    assert time_share(SLOW, FAST) == PENALTY


def test_intervals_by_hand() -> None:
    """Mean 3, sd 1.5811, standard error 0.70711, times 2.776 = 1.9629."""
    assert t_interval([1, 2, 3, 4, 5]) == pytest.approx((3, 3 - 1.9629, 3 + 1.9629), abs=1e-4)
    assert geometric_interval([0.1, 0.1, 0.1]) == pytest.approx((0.1, 0.1, 0.1))


def test_figures_name_the_lead_in_sd_of_the_start(tmp_path: Path) -> None:
    curves = {"ours": [FAST] * 3, "trl": [SLOW] * 3}
    start = {"reward": 0.0, "spread": 0.5}
    rows = figures(curves, [FAST] * 3, start, "trial")
    assert rows[0]["value"] == rows[0]["low"] == pytest.approx(1.5)
    assert rows[0]["met"] and rows[1]["met"]
    assert rows[1]["value"] == pytest.approx(0.075)
    worse = figures({"ours": [SLOW] * 3, "trl": [FAST] * 3}, [SLOW] * 3, start, "trial")
    assert worse[0]["met"] is False and worse[1]["met"] is False
    plot(curves, 0.5, tmp_path / "x.svg")
    assert "<svg" in (tmp_path / "x.svg").read_text(encoding="utf-8")


class LongIsGood:
    """The household world's texts with a gold that tells even what an untrained model writes apart."""

    generate = staticmethod(get_world("household").generate)

    @staticmethod
    def utility(_prompt: str, completion: str) -> float:
        """Return the number of characters."""
        return float(len(completion))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A world of eight prompts a part, and models that have hardly learned."""
    folder = tmp_path_factory.mktemp("learning")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            learning_models, "SHAPE", {**learning_models.SHAPE, "hidden": 16, "layers": 1, "intermediate": 32}
        )
        patch.setattr(learning_models, "VOCABULARY", 300)
        patch.setattr(learning_models, "LESSON_EPOCHS", 1)
        patch.setattr(learning_models, "JUDGE_EPOCHS", 1)
        patch.setattr(learning_models, "get_world", lambda _name: LongIsGood())
        learning_models.build(folder / "learning", 8)
    return Plan(folder, folder / "rows", iterations=2, every=1, batch=8, prompts=8)


def test_our_side_trains_and_one_examiner_sees_it(tiny: Plan, tmp_path: Path) -> None:
    """At the start the KL is exactly 0; each checkpoint then has moved, and only training runs on the clock."""
    settings = {"models": tiny.models, "out": tmp_path, "seed": 1, "lr": 1e-3, "iterations": 2, "every": 1, "rows": 8}
    more = {"max_grad_norm": 1.0, "kl_estimator": "exact", "value_weight": 0.1}
    learning_ours.run(argparse.Namespace(**settings, **more))
    steps = kept(tmp_path / learning_side.LOG)
    assert [line["episodes"] for line in steps] == [8, 16]
    assert 0 < steps[0]["seconds"] < steps[1]["seconds"]
    weights = [None, *(learning_side.checkpoint(tmp_path, line["iteration"]) for line in steps)]
    path = tmp_path / "marks.jsonl"
    marks = examined(tiny, "heldout", path, weights, [{"iteration": 0}, *steps])
    assert marks[0]["kl"] == pytest.approx(0, abs=1e-6)
    assert all(mark["kl"] > 1e-6 for mark in marks[1:])
    assert examined(tiny, "heldout", path, weights, steps) == marks  # from the file


def test_parts_of_the_prompts_do_not_meet(tiny: Plan) -> None:
    found = json.loads((tiny.models / "prompts.json").read_text(encoding="utf-8"))
    texts = [one["text"] for part in found.values() for one in part]
    assert sorted(found) == ["heldout", "train", "tune"]
    assert len(texts) == len(set(texts)) == 24


def test_both_forms_of_the_reward_model_agree(tiny: Plan) -> None:
    """Our rollout's reward model gives the classifier's own logits, on text with EOS behind it."""
    one = learning_side.prompts(tiny.models, "train")[0]
    ours, theirs = (made(tiny.models / "reward") for made in (learning_ours.reward_model, learning_ours.classifier))
    policy = learning_ours.open_policy(tiny.models, value_head=False)
    tokens = one["tokens"] + policy.renderer.completion_ids(one["text"], "Use soap.")
    expected = float(theirs(input_ids=torch.tensor([tokens])).logits)
    assert ours.score([one["text"]], ["Use soap."])[0] == pytest.approx(expected, abs=1e-5)


def test_our_runs_go_on_longer(tiny: Plan) -> None:
    lengths = [tiny.length(side, part) for side in (OURS, "trl") for part in ("heldout", "tune")]
    assert lengths == [3, 2, 2, 2]


def test_examiner_gives_the_same_marks_twice(tiny: Plan) -> None:
    assert Examiner(tiny.models, "heldout").examine(None) == Examiner(tiny.models, "heldout").examine(None)


def test_the_best_run_is_that_with_most_reward_less_kl_cost(tmp_path: Path) -> None:
    """0.9 - 0.05 * 2 = 0.8 beats 1.2 - 0.05 * 10 = 0.7; runs that are in the files are not run again."""
    plan = Plan(tmp_path, tmp_path / "rows", iterations=4)
    plan.rows.mkdir()
    runs = {lr: Run("trl", lr, 7, "tune") for lr in (1e-4, 1e-3)}
    for run, (reward, kl) in zip(runs.values(), ((0.9, 2.0), (1.2, 10.0)), strict=True):
        line = {"iteration": 4, "reward": reward, "kl": kl}
        (plan.rows / f"{run.name}.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    assert best(runs, plan) == 1e-4


def test_a_run_that_fails_tells_its_last_words(tiny: Plan) -> None:
    with pytest.raises(SystemExit, match=r"(?s)own-1e-06-1-heldout failed.*nowhere"):
        trained(Plan(tiny.work / "nowhere", tiny.rows, iterations=1), Run(OURS, 1e-6, 1, "heldout", "own"))
