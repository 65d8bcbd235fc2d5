import dataclasses

from heedful.rendering import findings
from heedful.rendering.content import (
    CalibrationBin,
    Estimate,
    LabelerFigures,
    LabelFigures,
    OutcomeFigures,
    ReportContent,
    RewardFigures,
    RunFigures,
)

FELL = OutcomeFigures(
    name="toxicity",
    by="gold",
    unit="probability",
    n=200,
    before=Estimate(0.31, 0.27, 0.35),
    after=Estimate(0.04, 0.03, 0.05),
    change=Estimate(-0.27, -0.31, -0.23),
    relative=Estimate(-0.87, -0.92, -0.8),
    wanted="lower",
)
ROSE = dataclasses.replace(
    FELL,
    name="helpfulness",
    before=Estimate(0.42),
    after=Estimate(0.55),
    change=Estimate(0.13, 0.08, 0.17),
    relative=None,
    wanted="higher",
)
STAYED = dataclasses.replace(FELL, after=Estimate(0.3), change=Estimate(-0.01, -0.05, 0.03), relative=None)


def content(*outcomes, criterion="toxicity"):
    return ReportContent(title="t", outcomes=outcomes, criterion=criterion)


def test_the_verdict_says_what_fell_by_how_much_and_what_rose():
    assert findings.verdict(content(FELL, ROSE)) == (
        "Toxicity fell from 0.31 to 0.04 (95 % interval of the fall 80 to 92 %, n = 200 prompts), "
        "while helpfulness rose from 0.42 to 0.55 (by 0.08 to 0.17)."
    )


def test_no_measurable_change_is_called_that():
    assert findings.verdict(content(STAYED)) == (
        "Toxicity did not change measurably: 0.31 before, 0.30 after "
        "(95 % interval of the change \N{MINUS SIGN}0.050 to 0.030, n = 200 prompts)."
    )


def test_a_change_for_the_worse_is_called_worse():
    worse = dataclasses.replace(
        FELL, after=Estimate(0.5), change=Estimate(0.19, 0.1, 0.28), relative=Estimate(0.61, 0.3, 0.9)
    )
    assert findings.verdict(content(worse)).startswith("Toxicity rose from 0.31 to 0.50, which is worse (95 % interval")
    lost = dataclasses.replace(ROSE, change=Estimate(-0.1, -0.15, -0.05), after=Estimate(0.32))
    assert findings.verdict(content(FELL, lost)).endswith(
        "prompts). Worse: helpfulness fell from 0.42 to 0.32 (by 0.05 to 0.15)."
    )


def test_an_outcome_that_only_describes_the_text_is_named_when_it_got_worse():
    distinct = dataclasses.replace(ROSE, name="distinct_2")
    assert "distinct" not in findings.verdict(content(FELL, distinct))
    fewer = dataclasses.replace(distinct, after=Estimate(0.2), change=Estimate(-0.2, -0.3, -0.1))
    assert "Worse: distinct 2 fell" in findings.verdict(content(FELL, fewer))


def test_without_an_interval_no_change_is_claimed():
    bare = dataclasses.replace(FELL, change=Estimate(-0.27))
    assert findings.moved(bare) == 0
    assert "did not change measurably" in findings.verdict(content(bare))
    assert "no interval is known" in findings.verdict(content(bare))


def test_a_share_of_a_negative_mean_is_not_told():
    gained = dataclasses.replace(ROSE, before=Estimate(-0.2), after=Estimate(0.1), relative=Estimate(1.5, 1.0, 2.0))
    assert "(by 0.08 to 0.17)" in findings.verdict(content(FELL, gained))


def test_without_outcomes_the_verdict_says_so():
    assert findings.verdict(content()) == "Nothing was evaluated: there are no outcomes to compare."


def test_improvement_depends_on_the_wanted_direction():
    assert findings.improved(FELL) is True
    assert findings.improved(dataclasses.replace(FELL, wanted="higher")) is False
    assert findings.improved(dataclasses.replace(FELL, wanted="neither")) is None
    assert findings.improved(STAYED) is None


def run(**columns):
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return RunFigures(tuple({"iteration": float(i + 1)} | row for i, row in enumerate(rows)), kl_budget=8.0)


def test_titles_of_the_run_state_the_finding():
    assert findings.kl_title(run(kl_per_sequence=[0.0, 3.0, 7.9])) == "KL stayed within its budget of 8 nats"
    assert findings.kl_title(run(kl_per_sequence=[0.0, 9.0, 7.0])) == "KL passed its budget of 8 nats in iteration 2"
    assert findings.entropy_title(run(entropy=[2.0, 1.5])) == "Entropy kept 75 % of its start"
    assert findings.entropy_title(run(entropy=[2.0, 2.1])) == "Entropy stayed near 2.10 nats"
    assert findings.entropy_title(run(entropy=[2.0, 2.5])) == "Entropy rose from 2 to 2.50 nats"
    assert "close to collapse" in findings.entropy_title(run(entropy=[2.0, 0.5]))
    assert findings.length_title(run(length_mean=[20.0, 21.0])) == "Length stayed near 21 decisions"
    assert findings.length_title(run(length_mean=[20.0, 31.0])) == "Length grew from 20 to 31 decisions"


def test_the_title_of_scores_says_whether_the_target_was_reached():
    scores = run(score_mean=[0.0, 1.0, 1.6], score_sd=[1.0, 1.0, 1.0])
    reached = dataclasses.replace(scores, target_score=1.5)
    missed = dataclasses.replace(scores, target_score=2.5)
    assert findings.score_title(scores) == "The score rose from 0.00 to 1.60"
    assert findings.score_title(reached).endswith("and reached its target of 1.50 in iteration 3")
    assert findings.score_title(missed).endswith("and did not reach its target of 2.50")
    assert findings.score_title(run(score_mean=[1.0, 1.05], score_sd=[1.0, 1.0])) == "The score stayed near 1.00"


def test_the_calibration_title_is_the_gap_weighted_by_pairs():
    # (30 * |0.6 - 0.5| + 10 * |0.9 - 0.9|) / 40 = 0.075
    reward = RewardFigures("pairwise", calibration=(CalibrationBin(0.6, 0.5, 30), CalibrationBin(0.9, 0.9, 10)))
    assert findings.calibration_title(reward) == "Its stated confidence is off by 7.5 points on average"


def test_the_title_of_labels_names_who_stands_out():
    labels = LabelFigures((LabelerFigures("ana"), LabelerFigures("erin", flagged=True)))
    assert findings.labels_title(labels) == "1 of 2 labelers stands out: erin"
    assert findings.labels_title(LabelFigures((LabelerFigures("ana"),))) == "None of 1 labelers stands out"


def test_a_handful_of_prompts_shows_no_change():
    five, six = (dataclasses.replace(FELL, n=n, change=Estimate(-0.3, -0.3, -0.3)) for n in (5, 6))
    assert findings.moved(five) == 0
    assert findings.moved(six) == -1
    assert "did not change measurably" in findings.verdict(content(five))


def test_a_verdict_on_generated_data_says_so():
    made_up = dataclasses.replace(content(FELL), generated=True)
    assert findings.verdict(made_up).endswith("prompts). All of it on generated data.")
    nothing = dataclasses.replace(content(criterion=""), generated=True)
    assert findings.verdict(nothing).endswith("to compare. All of it on generated data.")
