"""Golden numbers say who made them: with which release, and with a command that stands in the makers' README and can be run."""

import json
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
MAKERS = TESTS / "oracle" / "make"
FILES = sorted((TESTS / "golden").glob("*.json"))
README = (MAKERS / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_command_is_whole(path: Path) -> None:
    """Interpreter, script and folder: the scripts take the folder as their one argument."""
    golden = json.loads(path.read_text(encoding="utf-8"))
    assert golden["made_by"] in README.splitlines()
    *_, script, folder = golden["made_by"].split()
    assert f'"{path.name}"' in (TESTS.parent / script).read_text(encoding="utf-8")
    assert TESTS.parent / folder == path.parent


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_release_is_the_one_that_the_readme_installs(path: Path) -> None:
    golden = json.loads(path.read_text(encoding="utf-8"))
    release = golden["source"].split(",")[0].removeprefix("trl ")
    assert f"trl=={release}" in README
    assert path.stem.startswith("trl" + release.replace(".", "")[:3])


def test_every_maker_is_in_the_readme() -> None:
    assert all(f"`{path.name}`" in README for path in MAKERS.glob("trl*.py"))
