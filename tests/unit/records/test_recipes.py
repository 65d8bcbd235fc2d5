"""Recipes: what they say is what is run, and whatever is wrong is named with its place and the nearest right name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from heedful.errors import ConfigError
from heedful.records.recipes import Recipe, nearest, parse_assignment, read_toml, to_toml

STAGES = ("data", "sft", "align")
TEXT = """
name = "small"
title = "A small run"
seed = 3
stages = ["world", "sft", "align"]

[world]
stage = "data"
world = "household"

[sft]
inputs = { demonstrations = "world" }
epochs = 2

[align]
inputs = { policy = "sft", prompts = ["world"] }

[align.kl]
coef = 0.05
"""


def recipe(tmp_path: Path, text: str = TEXT, overrides: dict[str, Any] | None = None) -> Recipe:
    path = tmp_path / "small.toml"
    path.write_text(text)
    return Recipe.load(path, overrides, stages=STAGES)


def refusal(tmp_path: Path, text: str, overrides: dict[str, Any] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        recipe(tmp_path, text, overrides)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "small.toml"))
    return str(caught.value).removeprefix(str(tmp_path / "small.toml"))


def test_a_recipe_is_read(tmp_path: Path) -> None:
    read = recipe(tmp_path)
    assert (read.name, read.title, read.seed, [step.name for step in read.steps]) == (
        "small",
        "A small run",
        3,
        ["world", "sft", "align"],
    )
    world, sft, align = read.steps
    assert (world.stage, sft.stage) == ("data", "sft")
    assert align.inputs == {"policy": ("sft",), "prompts": ("world",)}
    assert align.settings == {"kl": {"coef": 0.05}}


def test_title_and_seed_have_defaults(tmp_path: Path) -> None:
    read = recipe(tmp_path, 'name = "n"\nstages = ["data"]\n[data]\n')
    assert (read.title, read.seed) == ("n", 0)


def test_overrides_reach_settings_seeds_and_groups_that_are_not_written_out(tmp_path: Path) -> None:
    read = recipe(tmp_path, TEXT, {"seed": 9, "align.kl.coef": 0.1, "align.ppo.clip_range": 0.3, "sft.epochs": 4})
    assert read.seed == 9
    assert read.step("align").settings == {"kl": {"coef": 0.1}, "ppo": {"clip_range": 0.3}}
    assert read.step("sft").settings == {"epochs": 4}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a.b=0.1", 0.1),
        ("a.b=3", 3),
        ("a.b=true", True),
        ("a.b=household", "household"),
        ('a.b="0.1"', "0.1"),
        ("a.b=[1, 2]", [1, 2]),
        ("a.b={ x = 1 }", {"x": 1}),
        ("a.b=runs/x=y", "runs/x=y"),
    ],
)
def test_assignments(text: str, value: object) -> None:
    assert parse_assignment(text) == ("a.b", value)


def test_an_assignment_without_a_value() -> None:
    with pytest.raises(ConfigError, match="path=value was expected"):
        parse_assignment("align.kl.coef")


def test_what_is_written_down_reads_back_the_same(tmp_path: Path) -> None:
    tables = {
        "name": "x",
        "ratio": 0.1,
        "big": 1e-05,
        "flag": True,
        "text": 'quotes " and \\ and ü and\nlines\x7f',
        "list": [{"path": "a.csv", "columns": {"prompt": "my column", "b.c": "d"}, "none": None}, {"empty": {}}],
        "table": {"inner": {"n": -3}, "odd key": 1},
        "bare": {},
    }
    path = tmp_path / "x.toml"
    path.write_text(to_toml(tables), encoding="utf-8")
    expected = {**tables, "list": [{k: v for k, v in tables["list"][0].items() if v is not None}, tables["list"][1]]}  # type: ignore[index]
    assert read_toml(path) == expected


def test_a_recipe_writes_itself_down(tmp_path: Path) -> None:
    read = recipe(tmp_path, TEXT, {"align.kl.coef": 0.1})
    again = recipe(tmp_path, to_toml(read.tables()))
    assert again == read


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[sft]", "[sfft]"), ": [sfft]: not in the list of stages; did you mean 'sft'?"),
        (('"sft", "align"]', '"sft", "align", "report"]'), ": stages: 'report' has no table [report]"),
        (('stage = "data"', 'stage = "date"'), ": world.stage: no stage is called 'date'; did you mean 'data'?"),
        (('"sft", "align"]', '"align", "sft"]'), ": align.inputs.policy: 'sft' comes later"),
        (('policy = "sft"', 'policy = "align"'), ": align.inputs.policy: a cycle: align needs align; "),
        (('policy = "sft"', 'policy = "sftt"'), ": align.inputs.policy: there is no stage 'sftt'; did you mean 'sft'?"),
        (('policy = "sft"', "policy = 3"), ": align.inputs.policy: the name of a stage was expected, got 3"),
        (("seed = 3", 'seed = "three"'), ': seed: a whole number from 0 was expected, got "three"'),
        (("seed = 3", "seed = true"), ": seed: a whole number from 0 was expected, got true"),
        (("seed = 3", "sead = 3"), ": sead: no such setting; did you mean 'seed'?"),
        (('name = "small"', "name = 1"), ": name: text was expected, got 1"),
        (('name = "small"', 'name = "a/b"'), ': name: "a/b" cannot be a folder\'s name'),
        (('name = "small"', ""), ": name: text was expected, got nothing"),
        (('["world", "sft", "align"]', '["world", "world"]'), ": stages: 'world' stands twice"),
        (('["world", "sft", "align"]', "[]"), ": stages: a list of names was expected"),
        (("seed = 3", "seed = = 3"), ":4: not valid TOML: "),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    said = refusal(tmp_path, TEXT.replace(*change))
    assert said.startswith(message) or re.sub(r"^:\d+", "", said).startswith(message)


def test_the_line_is_that_of_the_setting(tmp_path: Path) -> None:
    change = ("epochs = 2", 'inputs.policy = "sftt"')
    text = TEXT.replace("inputs = { demonstrations", "inputs.demonstrations").replace('"world" }', '"world"', 1)
    assert refusal(tmp_path, text.replace(*change)).startswith(":13: sft.inputs.policy: there is no stage 'sftt'")
    assert refusal(tmp_path, TEXT.replace("seed = 3", "seed = nan")).startswith(":4: seed: ")
    assert refusal(tmp_path, TEXT.replace("[align.kl]", "[algin]")).startswith(":18: [algin]: not in the list")


def test_there_is_no_line_where_the_file_does_not_say_it(tmp_path: Path) -> None:
    for overrides in ({"seed": -1}, {"sft.inputs.policy": "sftt"}, {"align.inputs": {"policy": "sftt"}}):
        assert refusal(tmp_path, TEXT, overrides).startswith(": ")
    assert refusal(tmp_path, TEXT.replace('name = "small"', "")).startswith(": name: text was expected, got nothing")
    with pytest.raises(ConfigError, match=r"^absent\.toml: seed: "):
        Recipe.parse({"seed": -1, "name": "x", "stages": ["data"], "data": {}}, Path("absent.toml"))


def test_a_cycle_is_told_as_a_chain(tmp_path: Path) -> None:
    text = TEXT.replace('demonstrations = "world"', 'demonstrations = "align"')
    said = ":12: sft.inputs.demonstrations: a cycle: sft needs align, align needs sft; "
    assert refusal(tmp_path, text).startswith(said)
    longer = TEXT.replace("[world]\n", '[world]\ninputs = { x = ["align", "sft"] }\n')
    said = ":8: world.inputs.x: a cycle: world needs align, align needs sft, sft needs world; "
    assert refusal(tmp_path, longer).startswith(said)


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_bytes(TEXT.encode("utf-8-sig"))
    assert Recipe.load(tmp_path / "small.toml", stages=STAGES) == recipe(tmp_path)
    (tmp_path / "small.toml").write_bytes(TEXT.replace("seed = 3", "seed = -3").encode("utf-8-sig"))
    with pytest.raises(ConfigError, match=r"small\.toml:4: seed: "):
        Recipe.load(tmp_path / "small.toml")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("algin.kl.coef", "there is no stage's table 'algin'; did you mean 'align'?"),
        ("sed", "there is no setting 'sed'; did you mean 'seed'?"),
        ("sft.epochs.x", "'sft.epochs' is a value, not a table"),
    ],
)
def test_an_override_to_nowhere(tmp_path: Path, place: str, message: str) -> None:
    assert message in refusal(tmp_path, TEXT, {place: 1})


def test_files_that_are_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such recipe"):
        Recipe.load(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="a folder"):
        Recipe.load(tmp_path)
    (tmp_path / "x.toml").write_bytes(b'name = "a"\ntitle = "\xff"\n')
    with pytest.raises(ConfigError, match=r"x\.toml:2: not valid UTF-8"):
        Recipe.load(tmp_path / "x.toml")


def test_an_unknown_step_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'align'"):
        recipe(tmp_path).step("alin")


def test_nothing_near_lists_what_is_known() -> None:
    assert nearest("zzz", ["b", "a"]) == "; known: a, b"
    assert nearest("zzz", []) == ""
