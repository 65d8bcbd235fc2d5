import dataclasses
import re

from heedful.rendering import charts, curves, svg
from heedful.rendering.content import Estimate, LabelerFigures, LabelFigures, RewardFigures
from heedful.testing.reports import made_up_report

REPORT = made_up_report()


def test_a_chart_has_the_same_bytes_every_time():
    assert charts.distribution(REPORT.lead) == charts.distribution(REPORT.lead)
    assert curves.run_curves(REPORT.run) == curves.run_curves(REPORT.run)


def test_a_chart_does_not_depend_on_the_users_matplotlib_settings():
    import matplotlib

    ours = charts.labelers(REPORT.labels)
    with matplotlib.rc_context({"font.size": 30, "axes.grid": True, "lines.linewidth": 9}):
        assert charts.labelers(REPORT.labels) == ours


def test_all_charts_of_a_page_have_different_ids_and_every_reference_has_its_target():
    drawn = [*curves.run_curves(REPORT.run), charts.calibration(REPORT.reward), charts.reward_accuracy(REPORT.reward)]
    text = "".join(chart.svg for chart in drawn)
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]*)', text)) <= set(ids)


def test_colours_are_variables_so_that_a_chart_fits_light_and_dark_paper():
    for chart in (charts.distribution(REPORT.lead), charts.labelers(REPORT.labels), *curves.run_curves(REPORT.run)):
        assert "var(--" in chart.svg
        assert not re.search(r"(?:fill|stroke): #", chart.svg)
        assert "<style" not in chart.svg


def test_a_labelers_name_is_text_and_nothing_else():
    hostile = '</text><script>alert("1")</script> $\\frac{1}{0}$ 中文'
    labels = LabelFigures((LabelerFigures(hostile, agreement=Estimate(0.7)),))
    picture = charts.labelers(labels).svg
    assert "<script" not in picture
    assert "&lt;/text&gt;&lt;script" in picture


def test_a_description_cannot_leave_its_attribute():
    picture = svg.draw("x", '"><script>', (10, 10), lambda figure: None)
    assert "<script" not in picture


def test_what_was_not_measured_is_not_drawn():
    assert charts.distribution(dataclasses.replace(REPORT.lead, before_values=())) is None
    assert charts.reward_accuracy(RewardFigures("pairwise")) is None
    assert charts.calibration(RewardFigures("pairwise")) is None
    assert charts.labelers(LabelFigures((LabelerFigures("ana"),))) is None


def test_shares_are_drawn_from_zero():
    # The axis of the distribution carries "0 %"; a cut axis would begin higher.
    assert ">0 %<" in charts.distribution(REPORT.lead).svg
    assert ">0 %<" in charts.calibration(REPORT.reward).svg
    assert ">0 %<" in charts.reward_accuracy(REPORT.reward).svg
