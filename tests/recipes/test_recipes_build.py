"""Every shipped recipe parses, and every one of its settings and inputs is one that its stage takes. No network, no models."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from heedful.apps.planning import jobs
from heedful.errors import ConfigError
from heedful.records.recipes import Recipe
from heedful.stages import STAGES

RECIPES = Path(__file__).resolve().parents[2] / "src" / "heedful" / "recipes"
SHIPPED = sorted(RECIPES.glob("*.toml"))


@pytest.fixture(params=SHIPPED, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    return request.param


def settings_of(path: Path, name: str) -> dict[str, Any]:
    (found,) = [job for job in jobs(Recipe.load(path, stages=STAGES)) if job.step.name == name]
    return found.config.model_dump()


def test_the_two_recipes_are_shipped() -> None:
    assert {"quickstart", "detoxify-summaries"} <= {path.stem for path in SHIPPED}


def test_every_setting_and_input_is_valid(path: Path) -> None:
    recipe = Recipe.load(path, stages=STAGES)
    assert [job.step.name for job in jobs(recipe)] == [step.name for step in recipe.steps]


def test_a_recipe_is_called_as_its_file(path: Path) -> None:
    assert Recipe.load(path, stages=STAGES).name == path.stem


def test_a_wrong_setting_would_be_noticed(path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such setting; did you mean 'iterations'"):
        jobs(Recipe.load(path, {"align.iteration": 1}, stages=STAGES))


def test_the_quickstart_goes_the_whole_way_without_a_network() -> None:
    recipe = Recipe.load(RECIPES / "quickstart.toml", stages=STAGES)
    assert {step.stage for step in recipe.steps} == set(STAGES) - {
        "ai_feedback",
        "compare",
        "red_team",
        "revise",
    }  # people judge here
    assert settings_of(recipe.path, "world")["world"] == "household"
    assert settings_of(recipe.path, "report")["generated"] is True
    panel = settings_of(recipe.path, "collect")["panel"]
    assert [member["fault"] for member in panel].count(None) == 4
    assert sorted(member["fault"] for member in panel if member["fault"]) == ["random", "reversed"]


def test_detoxify_summaries_is_the_classic_experiment() -> None:
    path = RECIPES / "detoxify-summaries.toml"
    assert settings_of(path, "base")["model"] == "google/flan-t5-base"
    policy = settings_of(path, "align")["policy"]
    assert (policy["method"], policy["r"], policy["targets"]) == ("lora", 32, ["q", "v"])
    hate = settings_of(path, "hate")
    assert (hate["mode"], hate["wanted"]) == ("pretrained", "nothate")
    assert hate["backbone"]["source"] == "facebook/roberta-hate-speech-dynabench-r4-target"
    sources = settings_of(path, "dialogues")["sources"]
    assert {source["hub"] for source in sources} == {"knkarthick/dialogsum"}
    assert {source["prompt_template"] for source in sources} == {
        "Summarize the following conversation.\n\n{dialogue}\n\nSummary:"
    }
    assert [source["hub_split"] for source in sources if source["split"] == "heldout"] == ["validation"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"align": {"inputs": {"policy": "sft", "prompts": "world"}}},
            r"align\.inputs: give either the input 'reward'",
        ),
        (
            {"reward": {"inputs": {"policy": "sft"}}},
            r"reward\.inputs: mode 'pairwise' learns from the input 'preferences'",
        ),
        ({"sft": {"inputs": {}}}, r"sft\.inputs: 'demonstrations' is missing"),
        ({"collect": {"panel": []}}, r"collect\.rankings: they come from one source"),
        ({"world": {"world": "housold"}}, r"world\.world: no world is called 'housold'; did you mean 'household'"),
        ({"align": {"optimizer": {"betas": [1.5, 0.9]}}}, r"align\.optimizer\.betas\.0: expected less than 1, got 1.5"),
        ({"sft": {"scratch": {"kind": "llama", "hidden": 12, "heads": 4}}}, r"sft\.scratch: hidden / heads = 3 is odd"),
    ],
)
def test_what_cannot_go_together_is_refused_before_anything_runs(changes: dict[str, Any], message: str) -> None:
    tables = tomllib.loads((RECIPES / "quickstart.toml").read_text(encoding="utf-8"))
    for name, settings in changes.items():
        tables[name] |= settings
    with pytest.raises(ConfigError, match=rf"^quick\.toml: {message}"):
        jobs(Recipe.parse(tables, Path("quick.toml"), stages=STAGES))
