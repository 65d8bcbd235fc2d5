import dataclasses

import numpy as np

from heedful.rendering import curves
from heedful.rendering.content import RunFigures

OFFSET, ALPHA, BETA = -0.2, 1.5, 0.8


def planted(kl):
    d = np.sqrt(kl)
    return OFFSET + d * (ALPHA - BETA * np.log(d))


def run(kl, score):
    rows = [
        {"iteration": float(i), "kl_per_sequence": float(k), "score_mean": float(s)}
        for i, (k, s) in enumerate(zip(kl, score, strict=True))
    ]
    return RunFigures(tuple(rows))


def test_the_chart_says_where_the_peak_is_when_the_run_passed_it():
    kl = np.linspace(0, 20, 40)
    score = np.concatenate([[OFFSET], planted(kl[1:])])
    # exp(2 (1.5 / 0.8 - 1)) = exp(1.75) = 5.75
    assert curves.score_against_kl(run(kl, score)).title == "The fitted score peaks near 5.75 nats of KL"
    near = kl < 4
    assert "no peak yet" in curves.score_against_kl(run(kl[near], score[near])).title


def test_a_run_has_one_chart_per_metric_it_holds():
    one = run([0.0, 1.0], [0.0, 1.0])
    assert [chart.title for chart in curves.run_curves(one)] == [
        "The score rose from 0.00 to 1.00",
        "The policy moved 1 nats from its reference",
    ]


def test_limits_and_values_are_written_into_the_curves():
    limited = dataclasses.replace(run([0.0, 5.125], [0.0, 1.0]), kl_budget=8.0, target_score=1.5)
    score, kl = curves.run_curves(limited)
    assert ">target 1.50<" in score.svg
    assert ">budget 8<" in kl.svg
    assert ">5.12 nats<" in kl.svg


def test_a_single_iteration_is_drawn():
    assert "<svg" in curves.run_curves(run([0.5], [1.0]))[0].svg
    assert curves.score_against_kl(run([0.5], [1.0])) is None
