"""Ablations: what is run is the recipe, what is compared belongs together, and the table says what the rows say."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from benchmarks.constitution.ablation_page import page, picture
from benchmarks.constitution.ablations import AXES, HARM, HELP, PRINCIPLES, Columns, axis_rows, shortened

from heedful.apps.planning import jobs, with_seed
from heedful.apps.runner import load
from heedful.records.constitution import SHIPPED, read_constitution

ROUNDS = next(axis for axis in AXES if axis.name == "rounds")
COLUMNS: dict[str, Columns] = {
    "4": {HARM: {(100, "a", 0): 0.0, (100, "a", 1): 0.0, (100, "b", 0): 1.0}, HELP: {(100, "c", 0): 0.5}},
    "1": {HARM: {(100, "a", 0): 1.0, (100, "a", 1): 1.0, (100, "b", 0): 1.0}, HELP: {(100, "d", 0): 0.25}},
}


@pytest.mark.parametrize("axis", AXES, ids=lambda axis: axis.name)
def test_stages_that_a_choice_does_not_change_are_those_of_the_recipe(axis: object) -> None:
    """Same settings, seed and inputs, so same digests: they are shared."""
    whole = {job.step.name: job for job in jobs(with_seed(load("constitutional"), 100))}
    own = jobs(shortened(axis.steps, {}, 100))  # type: ignore[attr-defined]
    assert {job.step.name for job in own} == set(axis.steps)  # type: ignore[attr-defined]
    for job in own:
        if job.step.stage != "evaluate":
            assert (job.config, job.seed, job.step.inputs) == (
                whole[job.step.name].config,
                whole[job.step.name].seed,
                whole[job.step.name].step.inputs,
            )
        else:
            assert job.config.split == "tune"  # type: ignore[attr-defined]


@pytest.mark.parametrize("axis", AXES, ids=lambda axis: axis.name)
def test_every_arm_is_a_recipe_of_its_own(axis: object) -> None:
    configs = [
        str([job.config for job in jobs(shortened(axis.steps, changes, 100))])  # type: ignore[attr-defined]
        for changes in axis.arms.values()  # type: ignore[attr-defined]
    ]
    assert len(set(configs)) == len(configs)


def test_all_principles_are_those_of_the_household_constitution() -> None:
    known = read_constitution(SHIPPED / "household.toml").principles
    assert sorted(PRINCIPLES) == sorted(each.name for each in known)


def test_means_and_changes_by_hand() -> None:
    rows = {row["name"]: row for row in axis_rows(ROUNDS, COLUMNS, "make")}
    assert rows[f"rounds = 4: {HARM}"]["value"] == pytest.approx(1 / 3)
    assert rows[f"rounds = 1: {HARM}"]["value"] == 1.0
    assert rows[f"rounds = 1: {HARM}, change from 4"]["value"] == pytest.approx(2 / 3)
    # other prompts answered: nothing to pair
    assert f"rounds = 1: {HELP}, change from 4" not in rows
    assert rows[f"rounds = 1: {HELP}"]["n"] == 1


def test_the_page_holds_every_setting_and_marks_the_recipes_own() -> None:
    rows = [
        row
        for axis in AXES
        for row in axis_rows(
            axis, {setting: COLUMNS["4" if setting == axis.own else "1"] for setting in axis.arms}, "make"
        )
    ]
    spent = {"name": "cost: 9 stages run, 3 were there", "unit": "core-minutes", "value": 7.5, "command": "make"}
    text = page([*rows, spent], [100])
    assert "7.5 core-minutes; 9 stages run, 3 were there" in text
    for axis in AXES:
        assert f"\n| **{axis.own}** | 0.333 " in text
        for setting in axis.arms:
            assert setting == axis.own or f"\n| {setting} | 1.000 (1.000 to 1.000)<br>+0.667 " in text
    drawn = picture(rows)
    assert ElementTree.fromstring(drawn).tag == "{http://www.w3.org/2000/svg}svg"
    assert "var(--" not in drawn
