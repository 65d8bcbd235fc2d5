from heedful.rendering import reading
from heedful.rendering.content import Alert, CalibrationBin, Estimate


def test_an_estimate_is_read_in_each_of_its_forms():
    assert reading.estimate_of({"value": 0.5, "low": 0.4, "high": 0.6, "by": "gold"}) == Estimate(0.5, 0.4, 0.6)
    assert reading.estimate_of({"mean": 0.5, "sd": 1}) == Estimate(0.5)
    assert reading.estimate_of(0.5) == Estimate(0.5)
    for absent in (None, "0.5", True, float("nan"), {}, {"low": 0.1}):
        assert reading.estimate_of(absent) is None


def test_an_outcome_without_its_three_means_is_left_out():
    whole = {
        "before": {"mean": 0.3, "sd": 0.2},
        "after": {"mean": 0.1},
        "change": {"mean": -0.2},
        "n": 20,
        "by": "text",
    }
    figures = reading.outcome_figures("toxicity", whole, [0.3], [0.1])
    assert (figures.n, figures.by, figures.before_sd, figures.wanted) == (20, "", 0.2, "lower")
    assert figures.before_values == (0.3,)
    for part in ("before", "after", "change"):
        assert reading.outcome_figures("toxicity", {k: v for k, v in whole.items() if k != part}) is None


def test_the_default_criterion_is_what_a_run_is_about():
    assert reading.criterion_of({"length": 1, "helpfulness": 1, "toxicity": 1}) == "toxicity"
    assert reading.criterion_of({"length": 1, "rouge_l": 1}) == "length"
    assert reading.criterion_of({}) == ""


def test_kl_carries_its_interval_where_it_is_known():
    raw = {"per_sequence": 5.0, "per_sequence_low": 4.0, "per_sequence_high": 6.0, "per_token": 0.2}
    assert reading.kl_estimates(raw) == (Estimate(5.0, 4.0, 6.0), Estimate(0.2))
    assert reading.kl_estimates(None) == (None, None)


def test_a_run_is_read_with_limits_and_alerts_and_without_what_is_no_number():
    facts = {
        "limits": {"kl_budget": 8, "mean_reward": None},
        "alerts": [{"iteration": 3, "metric": "entropy", "message": "low"}, {"metric": "kl"}],
    }
    run = reading.run_figures([{"iteration": 1, "entropy": 2.0, "note": "x"}, {"entropy": 1.0}], facts)
    assert run.rows == ({"iteration": 1.0, "entropy": 2.0},)
    assert (run.kl_budget, run.target_score) == (8.0, None)
    assert run.alerts == (Alert(3, "entropy", "low"),)
    assert reading.run_figures([], {}) is None


def test_the_reward_models_figures_come_from_both_stages():
    raw = {
        "mode": "pairwise",
        "accuracy": 0.8,
        "low": 0.7,
        "high": 0.9,
        "n": 100,
        "calibration": [{"confidence": 0.6, "accuracy": 0.5, "n": 10}, {"confidence": None}],
        "worst": [{"prompt": "p", "chosen": "c", "rejected": "r", "margin": -1}],
    }
    labels = reading.label_figures({"agreement": {"s2": 0.72, "low": 0.7, "high": 0.74}}, {})
    reward = reading.reward_figures(raw, {"accuracy_gold": 0.85, "low": 0.8, "high": 0.9}, labels)
    assert reward.accuracy == Estimate(0.8, 0.7, 0.9)
    assert reward.accuracy_gold == Estimate(0.85, 0.8, 0.9)
    assert reward.agreement == Estimate(0.72, 0.7, 0.74)
    assert reward.calibration == (CalibrationBin(0.6, 0.5, 10),)
    assert (reward.worst[0].margin, reward.worst[0].p) == (-1.0, None)
    assert reading.reward_figures({}, {}, None) is None


def test_the_forms_that_the_stages_write_are_read():
    raw = {
        "mode": "classifier",
        "rows": 40,
        "auc": 0.95,
        "auc_by_source": {"wiki": 0.96, "none": None},
        "accuracy_length_only": {"value": 0.55, "low": 0.5, "high": 0.6, "n": 40},
    }
    reward = reading.reward_figures(raw, {}, None)
    assert (reward.n, reward.auc_by_source) == (40, (("wiki", 0.96),))
    assert reward.length_baseline == Estimate(0.55, 0.5, 0.6)
    assert reading.reward_figures({"accuracy": {"value": 0.8, "n": 12}}, {}, None).n == 12
    consensus = {
        "labelers": [{"name": "erin", "agreement": {"value": 0.3, "low": 0.2, "high": 0.4, "n": 9}, "planted": "x"}],
        "planted": {"erin": "worst first"},
        "agreement_with_gold": {"value": 0.8, "low": 0.7, "high": 0.9},
        "agreement_s2": {"value": 0.7, "low": 0.6, "high": 0.8},
        "alpha": 0.3,
    }
    labels = reading.label_figures(consensus, {})
    assert labels.labelers[0].agreement == Estimate(0.3, 0.2, 0.4)
    assert labels.labelers[0].planted == "worst first"
    assert (labels.agreement, labels.alpha) == (Estimate(0.7, 0.6, 0.8), 0.3)
    assert labels.agreement_with_gold == Estimate(0.8, 0.7, 0.9)


def test_planted_faults_are_matched_to_labelers_by_name():
    consensus = {"labelers": [{"name": "erin", "flagged": True, "reason": "reversed"}, {"name": "ana", "tasks": 9}]}
    labels = reading.label_figures(consensus, {"planted": {"erin": "worst first"}, "agreement_with_gold": 0.83})
    assert [(each.name, each.flagged, each.planted) for each in labels.labelers] == [
        ("erin", True, "worst first"),
        ("ana", False, None),
    ]
    assert labels.agreement_with_gold == Estimate(0.83)
    assert reading.label_figures({}, {}) is None
