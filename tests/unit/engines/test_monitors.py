from collections.abc import Mapping
from typing import Any

import pytest

from heedful.engines.monitors import Monitors, strongest
from heedful.engines.watch.alerts import Alert, worst_completions
from heedful.engines.watch.monitor_columns import Samples
from heedful.engines.watch.monitor_table import MONITORS
from heedful.stages.align import Config
from heedful.stages.monitoring import MonitorsGroup, Rule

START = {
    "iteration": 0,
    "ratio_mean": 1.0,
    "sampler_mismatch": 1.0,
    "kl_per_sequence": 0.0,
    "kl_per_token": 0.0,
    "kl_estimate": 0.0,
    "rollout_entropy": 2.0,
    "clip_fraction": 0.1,
    "explained_variance": 0.0,
    "tied_share": 0.0,
    "length_mean": 20.0,
    "length_drift": 1.0,
    "truncated_share": 0.1,
    "seq_rep_4": 0.02,
    "distinct_2": 0.4,
    "phrase_growth": 0.0,
    "paid_phrase_growth": 0.0,
    "approx_kl": 0.01,
    "reward_outlier_share": 0.0,
    "reward_spread_share": 0.0,
    "gold_mean": 1.0,
    "gold_trend_p": 1.0,
    "gold_drop": 0.0,
    "gold_gap": 0.0,
    "peak_share": 0.1,
}
PROBLEMS: dict[str, dict[str, float]] = {
    "ratio": {"ratio_mean": 0.75},
    "ratio_far": {"ratio_mean": 2.1},
    "sampler": {"sampler_mismatch": 1.02},
    "sampler_far": {"sampler_mismatch": 1.06},
    "kl_budget": {"kl_per_sequence": 8.4},
    "kl_budget_far": {"kl_per_sequence": 21.0},
    "kl_blow_up": {"kl_per_token": 1.6},
    "negative_kl": {"kl_estimate": -1.2},
    "entropy_low": {"rollout_entropy": 0.9},
    "entropy_collapse": {"rollout_entropy": 0.19},
    "entropy_blow_up": {"rollout_entropy": 4.1},
    "clip_fraction": {"clip_fraction": 0.45},
    "explained_variance": {"explained_variance": -1.5},
    "tied_scores": {"tied_share": 0.85},
    "tied_scores_all": {"tied_share": 1.0},
    "length_drift": {"length_drift": 1.6},
    "truncation": {"truncated_share": 0.35},
    "repetition": {"seq_rep_4": 0.25},
    "diversity": {"distinct_2": 0.19},
    "phrase": {"phrase_growth": 0.7},
    "paid_phrase": {"paid_phrase_growth": 0.3},
    "step_kl": {"approx_kl": 0.4},
    "reward_outliers": {"reward_outlier_share": 0.25},
    "reward_spread": {"reward_spread_share": 0.25},
    "gold_falls": {"gold_trend_p": 0.04},
    "gold_drop": {"gold_drop": 3.5},
    "gold_gap": {"gold_gap": 2.5},
    "near_peak": {"peak_share": 0.85},
    "past_peak": {"peak_share": 1.1},
}
NOBODY = Samples([], [])


def monitors(**rules: Any) -> Monitors:
    return Monitors(MonitorsGroup.model_validate(rules).rules(), budget=4.0)


def spoken(watched: Monitors, changes: Mapping[str, float], iterations: int, first: int = 20) -> list[tuple[int, str]]:
    watched.look(START, NOBODY)
    rows = [{**START, "explained_variance": 0.2, **changes, "iteration": first + i} for i in range(iterations)]
    return [(i, alert.monitor) for i, row in enumerate(rows) for alert in watched.look(row, NOBODY)]


def test_every_monitor_has_a_rule_and_every_rule_a_monitor() -> None:
    assert {monitor.name for monitor in MONITORS} == set(MonitorsGroup().rules()) == set(PROBLEMS)


def test_only_what_gold_measures_rolls_back_by_default_and_only_breakdowns_stop() -> None:
    actions = {name: rule.action for name, rule in MonitorsGroup().rules().items()}
    assert {name for name, action in actions.items() if action == "roll_back"} == {"gold_falls", "gold_drop"}
    stops = {"ratio_far", "sampler_far", "kl_budget_far", "kl_blow_up", "entropy_collapse", "tied_scores_all"}
    assert {name for name, action in actions.items() if action == "stop"} == stops


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_monitor_speaks_once_when_its_window_is_full(name: str) -> None:
    """Its own problem, in every iteration; a milder sibling may speak too, no other may."""
    rule = MonitorsGroup().rules()[name]
    found = spoken(monitors(), PROBLEMS[name], rule.window + 5)
    assert [each for each in found if each[1] == name] == [(rule.window - 1, name)]
    family = name.removesuffix("_far").removesuffix("_all").split("_")[0].replace("near", "past")
    assert {other.replace("near", "past").split("_")[0] for _, other in found} == {family}


def test_nothing_is_said_of_a_healthy_row() -> None:
    assert spoken(monitors(), {}, 30) == []


def test_a_break_empties_the_window() -> None:
    watched = monitors(clip_fraction={"window": 3})
    watched.look(START, NOBODY)
    levels = [0.5, 0.5, 0.1, 0.5, 0.5, 0.5]
    said = [bool(watched.look({**START, "iteration": i, "clip_fraction": v}, NOBODY)) for i, v in enumerate(levels)]
    assert said == [False, False, False, False, False, True]


def test_it_speaks_again_after_it_was_quiet_for_ten_iterations() -> None:
    watched = monitors(phrase={"window": 1})
    watched.look(START, NOBODY)
    levels = [0.9, *[0.0] * 5, 0.9, *[0.0] * 9, 0.9, *[0.0] * 10, 0.9]
    said = [bool(watched.look({**START, "iteration": i, "phrase_growth": v}, NOBODY)) for i, v in enumerate(levels)]
    assert [i for i, each in enumerate(said) if each] == [0, len(levels) - 1]


def test_the_value_head_is_not_judged_before_it_has_had_time() -> None:
    assert spoken(monitors(), PROBLEMS["explained_variance"], 9, first=1) == []


def test_a_repetition_that_was_there_from_the_start_is_no_failure() -> None:
    watched = monitors(repetition={"window": 1})
    watched.look({**START, "seq_rep_4": 0.1}, NOBODY)
    assert watched.look({**START, "iteration": 1, "seq_rep_4": 0.29}, NOBODY) == []
    assert [a.monitor for a in watched.look({**START, "iteration": 2, "seq_rep_4": 0.31}, NOBODY)] == ["repetition"]


def test_without_a_budget_kl_has_none() -> None:
    watched = Monitors(MonitorsGroup().rules())
    assert spoken(watched, PROBLEMS["kl_budget_far"], 5) == []


def test_gold_is_judged_only_where_it_was_measured() -> None:
    watched = monitors(gold_drop={"window": 2})
    watched.look(START, NOBODY)
    between = {name: value for name, value in START.items() if not name.startswith("gold")}
    rows = [{**START, "gold_drop": 4.0}, between, {**START, "gold_drop": 4.0}]
    said = [[a.monitor for a in watched.look({**row, "iteration": i + 1}, NOBODY)] for i, row in enumerate(rows)]
    assert said == [[], [], ["gold_drop"]]


def test_an_alert_says_all_of_it() -> None:
    samples = Samples(["p"] * 4, list("abcd"), {"score": [1.0, 2.0, 3.0, 4.0], "mismatch": [0.3, 0.1, 0.4, 0.2]})
    watched = monitors(sampler={"threshold": 1.5, "action": "stop"}, sampler_far={"action": "off"})
    watched.look(START, samples)
    (alert,) = watched.look({**START, "iteration": 7, "sampler_mismatch": 1.625}, samples)
    assert (alert.iteration, alert.monitor, alert.metric) == (7, "sampler", "sampler_mismatch")
    assert (alert.value, alert.threshold, alert.window, alert.action) == (1.625, 1.5, 1, "stop")
    assert [each["completion"] for each in alert.worst] == ["c", "a", "d"]
    assert alert.worst[0] == {"prompt": "p", "completion": "c", "score": 3.0, "mismatch": 0.4}
    assert alert.line() == (
        "stopped in iteration 7: sampler: sampler and training disagree on log-probs: mean exp |difference| is 1.625 "
        "(above 1.5)"
    )


def test_a_phrase_is_named_and_cannot_speak_to_the_terminal() -> None:
    watched = monitors(phrase={"window": 1})
    watched.look(START, NOBODY)
    (alert,) = watched.look({**START, "iteration": 1, "phrase_growth": 0.9}, Samples([], [], phrase="so \x1b[2J wise"))
    assert alert.line().endswith("(above 0.6): 'so \\x1b[2J wise'")


def test_the_worst_are_the_lowest_where_a_minus_says_so_and_the_highest_scores_where_the_measure_is_absent() -> None:
    samples = Samples(["p"] * 4, list("abcd"), {"score": [1.0, 2.0, 3.0, 4.0], "kl": [5.0, -1.0, 0.0, 7.0]})
    assert [each["completion"] for each in worst_completions(samples, "-kl")] == ["b", "c", "a"]
    assert [each["completion"] for each in worst_completions(samples, "distance")] == ["d", "c", "b"]


def test_rolling_back_is_stronger_than_stopping() -> None:
    alerts = [Alert(0, name, "m", 1.0, 0.0, 1, action, "") for name, action in (("a", "warn"), ("b", "stop"))]
    back = Alert(0, "c", "m", 1.0, 0.0, 1, "roll_back", "")
    assert strongest(alerts[:1]) is None
    assert strongest(alerts) is alerts[1]
    assert strongest([*alerts, back]) is back


def test_a_restored_state_goes_on_counting() -> None:
    whole, cut = monitors(), monitors()
    rows = [{**START, "iteration": i, "clip_fraction": 0.5, "phrase_growth": 0.9 * (i > 1)} for i in range(6)]
    expected = [[a.monitor for a in whole.look(row, NOBODY)] for row in rows]
    assert expected == [[], [], ["clip_fraction"], ["phrase"], [], []]
    got = []
    for row in rows:
        again = monitors()
        if row["iteration"]:
            again.restore(cut.state())
        got.append([a.monitor for a in again.look(row, NOBODY)])
        cut = again
    assert got == expected


def test_a_rule_keeps_the_defaults_of_what_is_not_given() -> None:
    group = Config.model_validate({"monitors": {"kl_blow_up": {"action": "roll_back"}}}).monitors
    assert group.kl_blow_up == Rule(threshold=1.0, window=2, action="roll_back")
    assert group.kl_budget == MonitorsGroup().kl_budget


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"kl_blow_up": {"acton": "stop"}}, "acton"),
        ({"kl_blowup": {"action": "stop"}}, "kl_blowup"),
        ({"phrase": {"window": 0}}, "greater than or equal to 1"),
        ({"phrase": {"action": "halt"}}, "'off', 'warn', 'stop' or 'roll_back'"),
        ({"phrase": 0.5}, "phrase"),
    ],
)
def test_settings_that_are_none_are_refused(given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Config.model_validate({"monitors": given})


def test_a_monitor_that_is_off_says_nothing() -> None:
    assert spoken(monitors(phrase={"action": "off"}), PROBLEMS["phrase"], 5) == []
