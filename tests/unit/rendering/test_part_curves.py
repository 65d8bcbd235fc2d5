"""The chart of a score's parts; contributions are worked out by hand."""

import dataclasses

import numpy as np

from heedful.rendering.content import RunFigures
from heedful.rendering.part_curves import contributions, part_curves
from heedful.rendering.report import render_report
from heedful.testing.reports import made_up_report

ROWS = tuple(
    {"iteration": float(i), "score_mean.kind": 1.0 + i, "score_mean.brief": -4.0 * i, "score_mean.watched": 9.0}
    for i in range(3)
)
WEIGHTS = (("kind", 0.5), ("brief", 0.25), ("watched", 0.0), ("never_logged", 1.0))


def test_weight_times_mean_of_the_parts_that_count() -> None:
    found = {name: y.tolist() for name, _, y in contributions(RunFigures(ROWS, weights=WEIGHTS))}
    assert found == {"kind": [0.5, 1.0, 1.5], "brief": [0.0, -1.0, -2.0]}


def test_the_title_names_what_moved_the_score_and_the_note_what_is_only_watched() -> None:
    (chart,) = part_curves(RunFigures(ROWS, weights=WEIGHTS))
    assert chart.title == "Most of what moved the score is brief: \N{MINUS SIGN}2"
    assert "Only logged, with weight 0: watched." in chart.note
    assert ">kind<" in chart.svg and ">brief<" in chart.svg


def test_without_parts_there_is_no_chart() -> None:
    assert part_curves(RunFigures(ROWS)) == ()


def test_one_iteration_and_many_parts_are_drawn() -> None:
    weights = tuple((f"part_{i}", 1.0) for i in range(9))
    row = {"iteration": 0.0} | {f"score_mean.part_{i}": float(i) for i in range(9)}
    (chart,) = part_curves(RunFigures((row,), weights=weights))
    assert chart.title == "No part of the score moved"
    assert all(f">part {i}<" in chart.svg for i in range(9))


def test_it_stands_in_the_report() -> None:

    content = made_up_report()
    assert content.run is not None
    rows = tuple({**row, "score_mean.kind": float(np.sqrt(row["iteration"]))} for row in content.run.rows)
    run = dataclasses.replace(content.run, rows=rows, weights=(("kind", 1.0),))
    page = render_report(dataclasses.replace(content, run=run))
    assert "Most of what moved the score is kind" in page
    assert "Most of what moved the score" not in render_report(content)
