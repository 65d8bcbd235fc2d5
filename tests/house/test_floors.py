"""The floors of the house hold: import-linter's contracts, and no stage imports torch when it is imported itself."""

from __future__ import annotations

import ast
import configparser
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from heedful.stages import STAGES

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "transformers", "peft", "safetensors", "tokenizers", "datasets", "pyarrow", "matplotlib", "scipy"}
WITHOUT_TORCH = ("records", "feedback", "worlds")


def top_level_imports(path: Path) -> Iterator[str]:
    """Modules that a file imports when it is imported: not those inside functions, nor those for type checkers only."""
    ahead: list[ast.stmt] = list(ast.parse(path.read_text(encoding="utf-8")).body)
    while ahead:
        node = ahead.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            ahead += node.orelse
        elif isinstance(node, ast.Try | ast.With | ast.If | ast.ClassDef):
            ahead += [child for child in ast.walk(node) if isinstance(child, ast.Import | ast.ImportFrom)]


@pytest.fixture(scope="module")
def linted() -> str:
    command = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip("import-linter is not installed")
    done = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=300)
    return f"{done.stdout}\n{done.stderr}\nexit code {done.returncode}"


def test_the_contracts_are_kept(linted: str) -> None:
    assert linted.endswith("exit code 0"), linted


def test_the_contracts_name_every_stage() -> None:
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    named = contracts["importlinter:contract:stages"]["modules"].split()
    assert set(named) == set(STAGES.values())


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_imports_torch_only_when_it_runs(stage: str) -> None:
    spec = find_spec(STAGES[stage])
    assert spec is not None and spec.origin is not None
    assert {name.split(".")[0] for name in top_level_imports(Path(spec.origin))} & HEAVY == set()


@pytest.mark.parametrize("room", WITHOUT_TORCH)
def test_these_rooms_never_import_torch_not_even_later(room: str) -> None:
    files = sorted((ROOT / "src" / "heedful" / room).rglob("*.py"))
    assert files, f"no files in {room}"
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            assert not {name.split(".")[0] for name in names} & {"torch", "transformers", "peft"}, path
