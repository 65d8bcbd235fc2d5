import dataclasses
import re

from heedful.rendering import tables
from heedful.rendering.content import Estimate, RunFigures, StageCost
from heedful.testing.reports import made_up_report

REPORT = made_up_report()


def test_an_outcomes_row_shows_every_number_with_its_interval():
    lead = dataclasses.replace(
        REPORT.lead,
        before=Estimate(0.31, 0.27, 0.35),
        after=Estimate(0.14, 0.12, 0.16),
        change=Estimate(-0.17, -0.21, -0.13),
        relative=Estimate(-0.55, -0.63, -0.46),
        p_value=0.0002,
        n=200,
    )
    row = tables.outcomes([lead]).rows[0]
    texts = [(cell.text, cell.detail) for cell in row]
    minus = "\N{MINUS SIGN}"
    assert texts[0] == ("Toxicity", "probability, by gold")
    assert texts[1:3] == [("0.31", "0.27 to 0.35"), ("0.14", "0.12 to 0.16")]
    assert texts[3] == (f"{minus}0.17", f"{minus}0.21 to {minus}0.13")
    assert texts[4] == (f"{minus}55 %", f"{minus}63 to {minus}46")
    assert texts[6:] == [("< 0.001", ""), ("200", "")]


def test_an_interval_that_excludes_zero_does_not_read_as_if_it_held_it():
    close = dataclasses.replace(REPORT.outcomes[1], change=Estimate(0.04, 0.003, 0.077))
    assert tables.outcomes([close]).rows[0][3].detail == "0.003 to 0.077"


def test_a_change_is_judged_by_its_cell_as_well_as_by_its_colour():
    kinds = {row[0].text: row[3].kind for row in tables.outcomes(REPORT.outcomes).rows}
    assert kinds["Toxicity"] == "good"
    assert kinds["Distinct 2"] == "bad"
    assert kinds["Length"] == "number"


def test_a_flagged_labeler_has_the_reason_in_words():
    rows = {str(row[0].text): row for row in tables.labelers(REPORT.labels).rows}
    assert rows["erin"][4].text == "Ranks look reversed: disagrees with the others on 73 % of pairs"
    assert rows["erin"][5].text == "left out"
    assert rows["ana"][4].text == "Nothing unusual"
    assert (rows["erin"][6].text, rows["ana"][6].text) == ("worst first", "careful")


def test_people_are_not_called_simulated():
    people = dataclasses.replace(REPORT.labels, labelers=REPORT.labels.labelers[:4])
    assert [cell.text for cell in tables.labelers(people).head][-1] == "Labels"


def test_a_long_run_is_thinned_and_keeps_its_last_iteration():
    run = RunFigures(tuple({"iteration": float(i)} for i in range(1, 1002)))
    table = tables.iterations(run)
    assert len(table.rows) <= 200
    assert table.rows[-1][0].text == "1,001"
    assert table.caption == "Every 6th iteration of 1001."


def test_a_metric_missing_from_a_row_is_a_dash():
    run = RunFigures(({"iteration": 1.0}, {"iteration": 2.0, "entropy": 0.5}))
    assert [cell.text for cell in tables.iterations(run).rows[0]] == ["1", "–"]


def test_costs_add_up_to_the_whole_run():
    table = tables.costs([StageCost("align", 90, 1 << 30), StageCost("sft", 30)], 120, 1 << 30)
    assert [cell.text for cell in table.rows[0]] == ["align", "1 min 30 s", "75 %", "1.0 GiB"]
    assert [cell.text for cell in table.rows[1]] == ["sft", "30 s", "25 %", "–"]
    assert [cell.text for cell in table.rows[2]] == ["Whole run", "2 min 0 s", "", "1.0 GiB"]


def test_parts_of_memory_by_phase_with_bars_to_one_scale():
    """Parts that neither phase had are left out; a bar's full width, 80, is the larger of the two peaks."""
    rollout, update = {"frozen": 1 << 30, "cache": 1 << 30}, {"frozen": 1 << 30, "gradients": 3 << 30, "reference": 0}
    table = tables.memory_parts(StageCost("align", 90, 4 << 30, {"rollout": rollout, "update": update}))
    assert [cell.text for cell in table.head] == ["Part", "Sampling and scoring", "Update"]
    words = ["Frozen weights of the policy", "Gradients", "Cache of keys and values", "Peak"]
    assert [row[0].text for row in table.rows] == words
    assert [cell.text for cell in table.rows[-1][1:]] == ["2.0 GiB", "4.0 GiB"]
    assert re.findall(r'rect width="([\d.]+)"', "".join(row[2].text for row in table.rows[:-1])) == [
        "20.0",
        "60.0",
        "0.0",
    ]
    assert [row[2].text.split("</svg> ")[1] for row in table.rows[:-1]] == ["1.0 GiB", "3.0 GiB", "0"]
    assert tables.memory_parts(StageCost("sft", 30)) is None
