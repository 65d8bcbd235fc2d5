"""The command: what it prints, and that a person's mistake gives one line and exit code 2."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from heedful.apps import cli
from heedful.apps.commands_run import parse_seeds
from heedful.errors import ConfigError
from heedful.records.artifacts import Artifact
from tests.alignment import run_folder


@pytest.fixture
def heed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """Call the command in this process; returns (exit code, stdout, stderr)."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["heed", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_a_run_ends_with_a_table_and_where_the_report_is(recipe_path: Path, heed) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = heed("run", "small.toml")
    assert code == 0
    lines = out.splitlines()
    assert [line.split()[:2] for line in lines[1:4]] == [["letters", "run"], ["count", "run"], ["report", "run"]]
    assert lines[2].endswith("count 3")
    assert lines[-1] == "report: runs/small/report.html"


def test_set_until_out_seeds_and_dry_run(recipe_path: Path, heed) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = heed("run", "small.toml", "--dry-run", "--set", "count.step=2")
    assert code == 0
    assert "unknown until letters" in out
    assert not Path("runs").exists()
    code, out, _ = heed("run", "small.toml", "--dry-run", "--seeds", "3-4")
    assert code == 0
    assert [line for line in out.splitlines() if line.startswith("seed")] == ["seed 3", "seed 4"]
    assert heed("run", "small.toml", "--dry-run", "--seeds", "x")[0] == 2
    options = ("--set", "count.step=0.5", "--until", "count", "--out", "mine/a", "--seeds", "0-1")
    assert heed("run", "small.toml", *options)[0] == 0
    assert Artifact.open("mine/a/seed-1/count").metrics == {"count": 1.5}


def test_a_device_that_is_not_there_stops_a_run_before_it_begins(  # type: ignore[no-untyped-def]
    recipe_path: Path, heed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEED_DEVICE", "gpu")
    code, _, err = heed("run", "small.toml")
    assert code == 2
    assert err.strip().splitlines() == ["heed: HEED_DEVICE=gpu: cpu, cuda or cuda:N was expected"]


@pytest.mark.parametrize(("text", "seeds"), [("0-3", [0, 1, 2, 3]), ("7", [7]), ("1,3,5-6", [1, 3, 5, 6])])
def test_seeds(text: str, seeds: list[int]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "3-1", "1,1", "-1", "1-"])
def test_seeds_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match="--seeds"):
        parse_seeds(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "absent.toml"), "absent.toml: no such recipe"),
        (
            ("run", "quickstrat"),
            "no recipe is called 'quickstrat', and there is no such file; did you mean 'quickstart'?",
        ),
        (("run", "small.toml", "--set", "count.stepp=1"), "count.stepp: no such setting; did you mean 'step'?"),
        (("run", "small.toml", "--set", "count"), "--set count: path=value was expected"),
        (("run", "small.toml", "--seeds", "x"), "--seeds x: numbers were expected"),
        (("show", "absent"), "absent: no such artifact"),
        (("gc", "absent"), "absent: has no folder 'artifacts'"),
        (("report", "absent"), "absent: not a finished run's folder"),
        (("init", "quickstrat"), "did you mean 'quickstart'?"),
        (("count", "--out", "x", "--input", "letters"), "--input letters: role=ARTIFACT was expected"),
        (
            ("count", "--out", "x"),
            "heed: count.inputs: 'letters' is missing; the artifact of 'letters' was expected, such as --input letters=DIR",
        ),
        (("letters", "--out", "x", "--set", "count=a"), 'heed: letters.count: expected a whole number, got "a"'),
        (("letters", "--out", "x", "--config", "absent.toml"), "absent.toml: no such recipe"),
    ],
)
def test_a_mistake_gives_one_line_and_exit_code_2(
    recipe_path: Path,
    heed,  # type: ignore[no-untyped-def]
    with_small_commands: None,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    code, out, err = heed(*arguments)
    assert code == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("heed: ")
    assert message in err


@pytest.fixture
def with_small_commands(small_stages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of the small stages, beside the others."""
    monkeypatch.setattr(cli.app, "registered_commands", list(cli.app.registered_commands))
    for stage in ("letters", "count"):
        cli.app.command(stage, help=cli.summary(stage))(cli.stage_command(stage))


def test_one_stage_alone(recipe_path: Path, heed, with_small_commands: None) -> None:  # type: ignore[no-untyped-def]
    Path("letters.toml").write_text("count = 4\n")
    assert heed("letters", "--config", "letters.toml", "--set", "style.upper=true", "--out", "made/letters")[0] == 0
    code, out, _ = heed("count", "--input", "letters=made/letters", "--seed", "3", "--out", "made/count")
    assert code == 0
    assert out.splitlines()[0].endswith("count 4")
    assert Artifact.open("made/count").path.parent == Path("made/artifacts").resolve()
    assert heed("count", "--input", "letters=made/letters", "--seed", "3", "--out", "made/count")[1].startswith("skip")


def test_an_input_from_another_store(recipe_path: Path, heed, with_small_commands: None) -> None:  # type: ignore[no-untyped-def]
    assert heed("letters", "--out", "one/letters")[0] == 0
    assert heed("count", "--input", "letters=one/letters", "--out", "two/count")[0] == 0
    code, out, _ = heed("show", "two/count")
    assert code == 0
    assert out.splitlines()[1].startswith(f"`- letters: letters {Artifact.open('one/letters').digest[:12]}  letters 3")


def test_show_leads_back_to_the_data(recipe_path: Path, heed) -> None:  # type: ignore[no-untyped-def]
    Path("x.txt").write_text("data")
    heed("run", "small.toml", "--set", "letters.path=x.txt")
    code, out, _ = heed("show", "runs/small")
    assert code == 0
    report, count, letters, outside = out.splitlines()
    digests = {name: Artifact.open(f"runs/small/{name}").digest[:12] for name in ("letters", "count", "report")}
    assert report == f"report {digests['report']}  3.0 letters"
    assert count == f"`- count: count {digests['count']}  count 3"
    assert letters == f"   `- letters: letters {digests['letters']}  letters 3"
    # sha256 of "data", as coreutils' sha256sum gives it
    assert outside == "      `- x.txt  sha256 3a6eb0790f39"
    assert heed("show", "runs/small/letters")[1].splitlines()[0].startswith("letters ")


def test_gc_removes_what_no_run_needs(recipe_path: Path, heed) -> None:  # type: ignore[no-untyped-def]
    heed("run", "small.toml")
    kept = {path.name for path in Path("runs/artifacts").iterdir()}
    heed("run", "small.toml", "--set", "count.step=2", "--out", "runs/other")
    (Path("runs/artifacts/abc.work")).mkdir()
    old = Path("runs/artifacts/def.work")
    old.mkdir()
    long_ago = time.time() - 30 * 86_400
    os.utime(old, (long_ago, long_ago))
    heed("run", "small.toml", "--out", "runs/other")
    code, out, _ = heed("gc", "--dry-run")
    assert (code, out.splitlines()[-1].split()[0]) == (0, "3")
    assert len(list(Path("runs/artifacts").iterdir())) == len(kept) + 2 + 2
    code, out, _ = heed("gc")
    assert "3 folders" in out
    assert "freed" in out
    assert {path.name for path in Path("runs/artifacts").iterdir()} == kept | {"abc.work"}
    assert heed("run", "small.toml")[1].count("skip") == 3


def test_gc_keeps_the_inputs_of_what_is_linked(recipe_path: Path, heed) -> None:  # type: ignore[no-untyped-def]
    heed("run", "small.toml")
    for name in ("letters", "count"):
        Path("runs/small", name).unlink()
    assert "0 folders" in heed("gc")[1]
    Path("runs/small/report").unlink()
    assert "3 folders" in heed("gc")[1]


def test_report_is_rendered_again_by_the_code_as_it_is_now(recipe_path: Path, small_stages: Path, heed) -> None:  # type: ignore[no-untyped-def]
    import sys

    heed("run", "small.toml")
    page = Path("runs/small/report.html")
    old = sys.modules["small_report"].run

    def newer(config, inputs, out, *, seed):  # type: ignore[no-untyped-def]
        (out.path / "report.html").write_text("newer")
        out.write_json("summary.json", {"verdict": "newer"})
        return out.finish()

    sys.modules["small_report"].run = newer  # type: ignore[attr-defined]
    code, out, _ = heed("report", "runs/small")
    sys.modules["small_report"].run = old  # type: ignore[attr-defined]
    assert (code, out) == (0, "runs/small/report.html\n")
    assert page.read_text() == "newer"
    assert json.loads(Path("runs/small/summary.json").read_text())["seconds"] > 0


def test_init_copies_a_recipe_once(tmp_path: Path, heed, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    assert "quickstart" in heed("init")[1]
    assert heed("init", "quickstart", "mine") == (0, "mine/quickstart.toml\n", "")
    code, _, err = heed("init", "quickstart", "mine")
    assert code == 2
    assert "is there already" in err


def test_stages_and_doctor(heed) -> None:  # type: ignore[no-untyped-def]
    from heedful.stages import STAGES

    assert [line.split()[0] for line in heed("stages")[1].splitlines()[1:]] == list(STAGES)
    code, out, _ = heed("doctor")
    assert code == 0
    assert {"heedful", "torch", "device", "threads", "disk"} <= {
        line.split()[0] for line in out.splitlines() if line.split()
    }


@pytest.fixture(scope="module")
def aligned_run(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(run_folder(tmp_path_factory.mktemp("aligned")))


def test_try_shows_before_and_after(heed, aligned_run: str, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    from heedful.engines.chat import side_by_side

    pair = next(side_by_side(Path(aligned_run), "Hot?"))
    shown = f"before: {pair['before']}\nafter: {pair['after']}\n"
    assert heed("try", aligned_run, "--prompt", "Hot?") == (0, shown, "")
    # a prompt that cannot be answered is refused in one line, and the next one is asked for
    answers = iter(["Hot? " * 2000, "Hot?", ""])
    monkeypatch.setattr("builtins.input", lambda _: next(answers))
    code, out, err = heed("try", aligned_run)
    assert (code, out) == (0, shown)
    assert [line for line in err.splitlines() if "context" in line] == [err.splitlines()[-1]]


def test_two_answers_stand_side_by_side_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    import io
    import sys

    from heedful.apps.tables import print_pair

    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "60")
    print_pair(("before", "Ugh."), ("after", "Shade."))
    line = next(line for line in terminal.getvalue().splitlines() if "Ugh." in line)
    assert line.index("Ugh.") < line.index("Shade.")


def test_export_prints_where_the_model_is(heed, aligned_run: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert heed("export", aligned_run, str(tmp_path / "model")) == (0, f"{tmp_path / 'model'}\n", "")
    assert (tmp_path / "model" / "model.safetensors").is_file()


def test_push_prints_the_models_address(heed, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    import sys
    from types import SimpleNamespace

    fake = SimpleNamespace(push=lambda run, repo: f"https://hub/{repo} from {run}")  # no hub can be reached from a test
    monkeypatch.setitem(sys.modules, "heedful.engines.exporting", fake)
    assert heed("push", "runs/x", "me/model") == (0, "https://hub/me/model from runs/x\n", "")


def test_a_tracker_draws_and_changes_no_number(recipe_path: Path, heed, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    import os

    from heedful.engines.tracking import VARIABLE, tracked_by

    monkeypatch.delenv(VARIABLE, raising=False)
    with tracked_by("tensorboard"):
        assert os.environ[VARIABLE] == "tensorboard"
    assert VARIABLE not in os.environ
    assert heed("run", "small.toml")[0] == 0
    code, out, _ = heed("run", "small.toml", "--tracker", "tensorboard")
    assert code == 0
    assert all("skip" in line for line in out.splitlines() if line.startswith(("letters", "count")))


def test_a_traceback_only_where_it_is_asked_for(recipe_path: Path, heed, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("HEED_DEBUG", "1")
    with pytest.raises(ConfigError):
        heed("run", "absent.toml")
