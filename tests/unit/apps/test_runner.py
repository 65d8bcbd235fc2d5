"""The runner: what is complete is skipped, what changed runs again with what depends on it, what was stopped goes on."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from heedful.apps.runner import dry_run, load, run, run_seeds, run_stage
from heedful.errors import ArtifactError, ConfigError, HealthError
from heedful.records.artifacts import Artifact
from heedful.records.jsonl import iter_rows
from heedful.records.recipes import Recipe
from heedful.records.seeds import derive_seed


def states(recipe: Path, **given: object) -> list[str]:
    return [step.state for step in run(recipe, **given).steps]  # type: ignore[arg-type]


def test_a_run_leaves_links_recipe_report_and_figures(recipe_path: Path) -> None:
    done = run(recipe_path)
    folder = Path("runs/small")
    assert done.folder == folder
    assert done["count"].metrics == {"count": 3.0}
    for step in done.steps:
        link = folder / step.name
        assert not link.readlink().is_absolute()
        assert link.resolve() == step.artifact.path == Path("runs/artifacts", step.artifact.digest).resolve()
    assert done.report == folder / "report.html"
    assert done.report.read_text() == "<h1>Letters: 3.0</h1>"
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["verdict"] == "3.0 letters"
    assert 0 < summary["seconds"] < 60
    assert summary["peak_memory_bytes"] > 2**20
    known = json.loads((folder / "run.json").read_text())
    assert [step["name"] for step in known["steps"]] == ["letters", "count", "report"]
    assert (folder / "recipe.toml").read_text().startswith("# As `heed run` resolved it.")


def test_a_shipped_recipe_goes_by_its_name() -> None:
    assert load("quickstart", {"seed": 7}).seed == 7
    with pytest.raises(ConfigError, match="did you mean 'quickstart'"):
        load("quickstrat")


def test_a_second_run_skips_everything(recipe_path: Path) -> None:
    assert states(recipe_path) == ["run"] * 3
    before = (Path("runs/small/summary.json")).read_bytes()
    assert states(recipe_path) == ["skip"] * 3
    assert (Path("runs/small/summary.json")).read_bytes() == before


def test_a_changed_setting_runs_what_depends_on_it(recipe_path: Path) -> None:
    run(recipe_path)
    assert states(recipe_path, set={"report.title": "More"}) == ["skip", "skip", "run"]
    assert Path("runs/small/report.html").read_text() == "<h1>More: 3.0</h1>"
    assert states(recipe_path, set={"count.step": 2.0}) == ["skip", "run", "run"]
    assert states(recipe_path, set={"letters.style.upper": True}) == ["run", "run", "run"]
    assert states(recipe_path) == ["skip"] * 3
    assert Path("runs/small/report.html").read_text() == "<h1>Letters: 3.0</h1>"


def test_a_changed_file_outside_or_a_raised_version_runs_again(recipe_path: Path, small_stages: Path) -> None:
    (recipe_path.parent / "x.txt").write_text("1")
    settings = {"letters.path": "x.txt"}
    assert states(recipe_path, set=settings)[0] == "run"
    assert states(recipe_path, set=settings)[0] == "skip"
    (recipe_path.parent / "x.txt").write_text("2")
    assert states(recipe_path, set=settings)[0] == "run"
    sys.modules["small_count"].VERSION = 2  # type: ignore[attr-defined]
    assert states(recipe_path, set=settings) == ["skip", "run", "run"]


def test_a_stages_seed_comes_from_the_recipes_seed_and_its_name(recipe_path: Path) -> None:
    done = run(recipe_path, set={"seed": 4})
    assert json.loads(done["count"].file("count.json").read_text())["seed"] == derive_seed(4, "count")


def test_until_stops_early(recipe_path: Path) -> None:
    done = run(recipe_path, until="count")
    assert [step.name for step in done.steps] == ["letters", "count"]
    assert done.report is None
    assert states(recipe_path) == ["skip", "skip", "run"]
    with pytest.raises(ConfigError, match="no stage is called 'cuont'; did you mean 'count'"):
        run(recipe_path, until="cuont")


def test_until_takes_nothing_from_a_finished_run(recipe_path: Path) -> None:
    folder = run(recipe_path).folder
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert {"report.html", "run.json"} <= set(before)
    assert run(recipe_path, until="letters").steps[0].state == "skip"
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    # with another setting further on, the report is of another run, also where nothing was made anew
    run(recipe_path, set={"count.step": 2}, until="letters")
    assert not (folder / "report.html").exists()


def test_a_stage_by_itself(recipe_path: Path, tmp_path: Path) -> None:
    letters = run(recipe_path)["letters"]
    found = run_stage("count", tmp_path / "alone", inputs={"letters": letters.path}, settings={"step": 0.5}, seed=3)
    assert (found.state, found.artifact.metrics) == ("run", {"count": 1.5})
    assert Artifact.open(tmp_path / "alone").digest == found.artifact.digest
    with pytest.raises(ConfigError, match=r"count\.inputs: 'letters' is missing"):
        run_stage("count", tmp_path / "none")


def test_seeds_share_a_store(recipe_path: Path) -> None:
    runs = run_seeds(load(recipe_path), [0, 1])
    assert [done.folder for done in runs] == [Path("runs/small/seed-0"), Path("runs/small/seed-1")]
    assert len(list(Path("runs/artifacts").iterdir())) == 6
    assert all(step.state == "skip" for step in run_seeds(load(recipe_path), [1])[0].steps)


def test_out_takes_the_store_with_it(recipe_path: Path, tmp_path: Path) -> None:
    done = run(recipe_path, out=tmp_path / "elsewhere" / "mine")
    assert done.steps[0].artifact.path.parent == tmp_path / "elsewhere" / "artifacts"


def test_a_dry_run_says_run_skip_or_unknown_and_does_nothing(recipe_path: Path) -> None:
    assert [each.state for each in dry_run(load(recipe_path))] == [
        "run",
        "unknown until letters",
        "unknown until count",
    ]
    assert not Path("runs").exists()
    run(recipe_path, until="count")
    planned = dry_run(load(recipe_path))
    assert [each.state for each in planned] == ["skip", "skip", "run"]
    assert planned[2].digest == run(recipe_path)["report"].digest


def test_an_altered_artifact_is_set_aside_and_made_again(recipe_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = run(recipe_path)["count"]
    (first.path / "count.json").write_text("{}")
    assert [each.state for each in dry_run(load(recipe_path))][1] == "run"
    assert states(recipe_path) == ["skip", "run", "skip"]
    assert "count.json: altered" in capsys.readouterr().err
    assert (first.path.parent / f"{first.digest}.damaged-1").is_dir()
    Artifact.open(first.path).verify()


def test_several_inputs_of_one_role(recipe_path: Path) -> None:
    text = recipe_path.read_text().replace('"count", "report"]', '"extra", "count", "report"]')
    text = text.replace('letters = "letters"', 'letters = "letters", more = ["extra", "letters"]')
    recipe_path.write_text(text + '\n[extra]\nstage = "letters"\ncount = 5\n')
    assert run(recipe_path)["count"].metrics == {"count": 3.0 + 5 + 3}


def test_a_failure_half_way_goes_on_where_it_stopped(recipe_path: Path) -> None:
    calm = run(recipe_path, out="calm/small")["count"]
    (recipe_path.parent / "stop").write_text("fail")
    with pytest.raises(HealthError):
        run(recipe_path)
    (work,) = Path("runs/artifacts").glob("*.work")
    assert len((work / "metrics.jsonl").read_text().splitlines()) == 1
    (recipe_path.parent / "stop").unlink()
    again = run(recipe_path)["count"]
    assert (again.path / "manifest.json").read_bytes() == (calm.path / "manifest.json").read_bytes()
    assert not list(Path("runs/artifacts").glob("*.work"))


DRIVER = """
import sys
from heedful.stages import STAGES
STAGES.clear()
STAGES.update({name: f"small_{name}" for name in ("letters", "count", "report")})
sys.path.insert(0, "modules")
from heedful.apps.cli import main
sys.argv = ["heed", *sys.argv[1:]]
main()
"""


def heed(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", DRIVER, *arguments], capture_output=True, text=True, timeout=60)


def test_killed_with_9_it_goes_on_and_ends_the_same(recipe_path: Path) -> None:
    calm = run(recipe_path, out="calm/small")["count"]
    (recipe_path.parent / "stop").write_text("kill")
    assert heed("run", "small.toml").returncode == -9
    (recipe_path.parent / "stop").unlink()
    assert heed("run", "small.toml").returncode == 0
    again = Artifact.open("runs/small/count")
    assert (again.path / "manifest.json").read_bytes() == (calm.path / "manifest.json").read_bytes()
    # the killed try's time is counted, up to its last sign of life
    first, second = [row for _, row in iter_rows(again.path / "timings.jsonl") if "began" in row]
    assert first["lost_seconds"] == 0
    assert 0 < second["lost_seconds"] <= second["began"] - first["began"]


def test_interrupted_it_says_how_to_go_on(recipe_path: Path) -> None:
    (recipe_path.parent / "stop").write_text("interrupt")
    done = heed("run", "small.toml")
    assert done.returncode == 130
    assert (
        done.stderr.splitlines()[-1]
        == "heed: stopped; nothing is lost, the same command goes on from the last checkpoint"
    )


FAST_SECONDS = 2.0


def test_a_finished_recipe_is_seen_to_be_finished_in_two_seconds(recipe_path: Path) -> None:
    assert heed("run", "small.toml").returncode == 0
    seconds = []
    for _ in range(3):
        # Processor time: the wall clock of a busy machine says nothing about us.
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert heed("run", "small.toml").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < FAST_SECONDS


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"count.stepp": 1}, "small.toml: count.stepp: no such setting; did you mean 'step'?"),
        ({"count.step": "x"}, 'small.toml: count.step: expected a number, got "x"'),
        ({"letters.count": 0.5}, "small.toml: letters.count: expected a whole number, got 0.5"),
        ({"letters.count": "3"}, 'small.toml: letters.count: expected a whole number, got "3"'),
        ({"letters.count": 99}, "small.toml: letters.count: expected less than or equal to 26, got 99"),
        ({"letters.style.uper": True}, "small.toml: letters.style.uper: no such setting; did you mean 'upper'?"),
        ({"letters.style": 3}, "small.toml: letters.style: expected a table, got 3"),
        ({"count.step": float("nan")}, "small.toml: count.step: expected a finite number, got nan"),
        (
            {"count.inputs": {}},
            "small.toml: count.inputs: 'letters' is missing; the artifact of 'letters' was expected",
        ),
        ({"count.inputs.leters": "letters"}, "count.inputs.leters: 'count' has no such input; did you mean 'letters'?"),
        (
            {"report.inputs.count": "letters"},
            "report.inputs.count: 'count' was expected, got the artifact of 'letters'",
        ),
        ({"count.inputs.letters": ["letters", "letters"]}, "count.inputs.letters: one input was expected, got 2"),
    ],
)
def test_a_wrong_recipe_is_refused_before_anything_runs(
    recipe_path: Path, setting: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        run(recipe_path, set=setting)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not Path("runs").exists()


def test_something_in_the_way(recipe_path: Path) -> None:
    Path("runs/small").mkdir(parents=True)
    Path("runs/small/letters").write_text("mine")
    with pytest.raises(ArtifactError, match="in the way of a link"):
        run(recipe_path)
    assert Path("runs/small/letters").read_text() == "mine"
    Path("file").write_text("")
    with pytest.raises(ArtifactError, match="a file is in the way"):
        run(recipe_path, out="file")


def test_links_of_stages_that_are_no_more_go(recipe_path: Path) -> None:
    run(recipe_path)
    text = recipe_path.read_text().replace(', "report"]', "]").split("[report]")[0]
    recipe_path.write_text(text)
    run(recipe_path)
    assert sorted(path.name for path in Path("runs/small").iterdir()) == ["count", "letters", "recipe.toml", "run.json"]


def test_a_recipe_can_be_given_as_an_object(recipe_path: Path) -> None:
    recipe = load(recipe_path)
    assert isinstance(recipe, Recipe)
    assert run(recipe, set={"count.step": 2})["count"].metrics == {"count": 6.0}
