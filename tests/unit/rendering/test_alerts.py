"""Alerts stand in the report: on the curve they belong to, in a table, with the completions that show them."""

import dataclasses
import json

import pytest

from heedful.rendering import curves, findings, tables
from heedful.rendering.content import Alert, BadCompletion, RunFigures
from heedful.rendering.reading import run_figures
from heedful.rendering.report import render_report
from heedful.testing.reports import made_up_report

ROWS = tuple(
    {
        "iteration": float(i),
        "score_mean": 0.1 * i,
        "entropy": 2.0 - 0.1 * i,
        "kl_per_sequence": 1.0 * i,
        "seq_rep_4": 0.02 * i,
    }
    for i in range(10)
)


def charts(*alerts: Alert) -> dict[str, str]:
    return {chart.title: chart.note for chart in curves.run_curves(RunFigures(ROWS, alerts=alerts))}


def test_an_alert_stands_on_the_curve_of_its_metric() -> None:
    (note,) = (note for title, note in charts(Alert(3, "score_mean", "odd")).items() if title.startswith("The score"))
    assert note.endswith("Triangles: iteration 3: odd.")


def test_what_tells_the_same_stands_on_one_curve() -> None:
    notes = charts(Alert(3, "rollout_entropy", "low"), Alert(4, "kl_per_token", "far"))
    assert [title.split()[0] for title, note in notes.items() if "Triangles" in note] == ["The", "Entropy"]
    assert len(notes) == 3


def test_a_metric_that_a_monitor_spoke_of_gets_a_curve() -> None:
    assert not any(title.startswith("Seq rep 4") for title in charts())
    notes = charts(Alert(5, "seq_rep_4", "again"))
    assert "iteration 5: again" in notes["Seq rep 4 went from 0 to 0.18"]


@pytest.mark.parametrize(
    ("gold", "title"),
    [
        ([0.5, 1.0, 1.5], "Gold rose from 0.50 to 1.50"),
        ([0.5, 1.5, 1.0], "Gold was highest in iteration 1, at 1.50, and ended at 1"),
    ],
)
def test_gold_says_where_it_was_highest(gold: list[float], title: str) -> None:
    rows = tuple({"iteration": float(i), "gold_mean": value} for i, value in enumerate(gold))
    assert findings.gold_title(RunFigures(rows)) == title


def test_the_peak_is_that_of_gold_where_gold_was_measured() -> None:
    rows = tuple({**row, "gold_mean": 1.0} if i % 2 else row for i, row in enumerate(ROWS * 2))
    chart = curves.score_against_kl(RunFigures(rows))
    assert chart is not None
    assert "gold" in chart.title
    assert chart.note.startswith("One dot per measurement of gold")


def test_the_table_names_monitor_value_threshold_and_what_was_done() -> None:
    alert = Alert(7, "kl_per_token", "far out", "kl_blow_up", "roll_back", 1.25, 1.0)
    table = tables.alerts(RunFigures(ROWS, alerts=(alert,)))
    assert [cell.text for cell in table.rows[0]] == ["7", "kl blow up", "1.25", "1", "Far out", "rolled back"]


def test_alerts_are_read_with_their_completions_and_without_what_is_none() -> None:
    raw = {
        "iteration": 2,
        "monitor": "phrase",
        "metric": "phrase_growth",
        "value": 0.7,
        "threshold": 0.6,
        "action": "stop",
        "message": "so wise",
        "worst": [
            {"prompt": [{"role": "user", "content": "hi"}], "completion": "so wise", "score": 2.5, "phrase": 1},
            3,
        ],
    }
    run = run_figures([{"iteration": 2}], {"alerts": json.loads(json.dumps([raw, {"metric": "no iteration"}]))})
    assert run is not None
    worst = BadCompletion("user: hi", "so wise", {"score": 2.5, "phrase": 1.0})
    assert run.alerts == (Alert(2, "phrase_growth", "so wise", "phrase", "stop", 0.7, 0.6, (worst,)),)


def test_the_page_shows_them_and_what_they_quote_is_text() -> None:
    hostile = '</p><script>alert(1)</script>\u202e"'
    alert = Alert(
        3, "entropy", hostile, "entropy_low", "warn", 0.2, 0.3, (BadCompletion(hostile, hostile, {"score": 1.0}),)
    )
    content = made_up_report()
    assert content.run is not None
    html = render_report(dataclasses.replace(content, run=dataclasses.replace(content.run, alerts=(alert,))))
    assert "<script>alert" not in html
    assert "\u202e" not in html
    assert "<h3>Alerts</h3>" in html
    assert "Iteration 3, entropy low: the completions that show it most" in html
    plain = render_report(dataclasses.replace(content, run=dataclasses.replace(content.run, alerts=())))
    assert "<h3>Alerts</h3>" not in plain
