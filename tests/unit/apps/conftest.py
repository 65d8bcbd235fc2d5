"""Three small stages to run recipes with: letters, a count of them that can be interrupted, and a report."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

from heedful.stages import STAGES

LETTERS = '''
"""letters: some letters."""
from pydantic import Field
from heedful.records.types import PromptRecord
from heedful.stages.spec import InputSpec, StageConfig
VERSION = 1
USES_TORCH = False
INPUTS = {}
class Group(StageConfig):
    upper: bool = False
    """Capital letters."""
class Config(StageConfig):
    count: int = Field(default=3, ge=1, le=26)
    """How many."""
    path: str | None = None
    """A file outside."""
    style: Group = Group()
def external(config, base):
    import hashlib
    return {} if config.path is None else {config.path: hashlib.sha256((base / config.path).read_bytes()).hexdigest()}
def run(config, inputs, out, *, seed):
    first = ord("A" if config.style.upper else "a")
    out.write("letters", [PromptRecord(id=str(i), prompt=chr(first + i)) for i in range(config.count)])
    return out.finish(metrics={"letters": config.count})
'''
COUNT = '''
"""count: counts letters, one by one; stops half-way while the file `stop` lies beside the recipe."""
import os, signal
from heedful.errors import HealthError
from heedful.records.types import PromptRecord
from heedful.stages.spec import InputSpec, StageConfig
VERSION = 1
USES_TORCH = False
INPUTS = {"letters": InputSpec(stages=("letters",)), "more": InputSpec(stages=("letters",), required=False, many=True)}
class Config(StageConfig):
    step: float = 1.0
    """What a letter counts."""
def run(config, inputs, out, *, seed):
    rows = [row for artifact in inputs.values() for row in artifact.records("letters", PromptRecord)]
    out.folder("checkpoints")
    for i in range(len(out.rows()), len(rows)):
        out.log({"iteration": i, "letter": rows[i].prompt})
        if i == 0 and (out.base / "stop").exists():
            match (out.base / "stop").read_text():
                case "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                case "interrupt":
                    raise KeyboardInterrupt
                case _:
                    raise HealthError("stopped half-way")
    out.write_json("count.json", {"count": len(out.rows()) * config.step, "seed": seed})
    return out.finish(metrics={"count": len(out.rows()) * config.step})
'''
PAGE = '''
"""report: a page."""
from heedful.stages.spec import InputSpec, StageConfig
VERSION = 1
USES_TORCH = False
INPUTS = {"count": InputSpec(stages=("count",))}
class Config(StageConfig):
    title: str = "Letters"
    """Headline."""
def run(config, inputs, out, *, seed):
    count = inputs["count"].metrics["count"]
    (out.path / "report.html").write_text(f"<h1>{config.title}: {count}</h1>")
    out.write_json("summary.json", {"verdict": f"{count} letters"})
    return out.finish(metrics={"verdict": f"{count} letters"})
'''
RECIPE = """
name = "small"
title = "Letters"
seed = 1
stages = ["letters", "count", "report"]

[letters]
count = 3

[count]
inputs = { letters = "letters" }

[report]
inputs = { count = "count" }
"""


@pytest.fixture
def small_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the three stages in the place of ours; return the folder of their modules."""
    folder = tmp_path / "modules"
    folder.mkdir()
    for name, text in (("small_letters", LETTERS), ("small_count", COUNT), ("small_report", PAGE)):
        (folder / f"{name}.py").write_text(textwrap.dedent(text).lstrip())
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(folder)
    for stage in list(STAGES):
        monkeypatch.delitem(STAGES, stage)
    for stage in ("letters", "count", "report"):
        monkeypatch.setitem(STAGES, stage, f"small_{stage}")
    return folder


@pytest.fixture
def recipe_path(tmp_path: Path, small_stages: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe of the three stages, in the current folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "small.toml"
    path.write_text(RECIPE)
    return path
