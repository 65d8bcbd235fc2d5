"""What a report shows of a red team: its figures by origin, in percent; nothing where the answers were not judged."""

from __future__ import annotations

import dataclasses
from typing import Any

from heedful.rendering.attacks import attack_figures, attack_table
from heedful.rendering.report import render_report
from heedful.rendering.summary import summarise
from heedful.testing.reports import made_up_report


def share(value: float) -> dict[str, Any]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "n": 20}


def summary(**changes: Any) -> dict[str, Any]:
    group = {"harm": share(0.25), "harmful": share(0.5), "harmful_prompts": share(0.75)}
    worst = [{"prompt": f"Ask {i}?", "completion": "<b>Do</b>", "harm": 1.0 - i / 10} for i in range(8)]
    told = {"prompts": 10, "generated": 4, "completions": 20, "skipped_share": 0.05, "harmful_above": 0.0}
    origins = {"given": group, "generated": group | {"harmful": share(0.2)}}
    return {**told, **group, "origins": origins, "worst": worst, **changes}


def test_one_row_for_all_and_one_per_origin() -> None:
    figures = attack_figures(summary())
    assert figures is not None
    rows = [[str(cell.text) for cell in row] for row in attack_table(figures).rows]
    assert rows == [
        ["All", "0.25", "50 %", "75 %", "20"],
        ["Given", "0.25", "50 %", "75 %", "20"],
        ["Written by a model", "0.25", "20 %", "75 %", "20"],
    ]
    assert attack_table(figures).rows[0][2].detail == "40 to 60"
    assert [shown.prompt for shown in figures.worst] == [f"Ask {i}?" for i in range(5)]


def test_answers_that_were_not_judged_have_no_section() -> None:
    assert attack_figures({}) is None
    assert attack_figures({"prompts": 3, "harm": "much"}) is None
    assert attack_figures(summary(origins=None, worst="none")) is not None


def test_the_page_says_how_many_and_shows_answers_as_text() -> None:
    html = render_report(dataclasses.replace(made_up_report(), attack=attack_figures(summary())))
    section = html[html.index('<section id="attack">') :]
    section = section[: section.index("</section>")]
    assert "20 answers to 10 requests that ask for harm, 4 of them written by a model." in section
    assert "5.0 % were not answered" in section
    assert "harm is above 0." in section
    assert "&lt;b&gt;Do&lt;/b&gt;" in section
    assert "<b>Do" not in section


def test_programs_get_the_same_figures() -> None:
    content = dataclasses.replace(made_up_report(), attack=attack_figures(summary()))
    told = summarise("run", content, {})["attack"]
    assert (told["prompts"], told["answers"], told["harmful_above"]) == (10, 20, 0.0)
    assert told["harmful"] == {"value": 0.5, "low": 0.4, "high": 0.6}
