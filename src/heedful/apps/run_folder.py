"""A run's folder: links to its artifacts, the recipe as resolved, `run.json`, the report. What it holds can be made again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from heedful.errors import ArtifactError
from heedful.records.artifacts import Artifact
from heedful.records.files import whole_file, write_json
from heedful.records.recipes import Recipe, to_toml
from heedful.records.workspace import TIMINGS

RUN, RECIPE, REPORT, SUMMARY = "run.json", "recipe.toml", "report.html", "summary.json"


class RunFolder:
    """The folder of one run.

    Args:
        path: made where it is absent.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._same_recipe = False

    @property
    def report(self) -> Path | None:
        """The report's page, where there is one."""
        page = self.path / REPORT
        return page if page.is_file() else None

    def begin(self, recipe: Recipe) -> None:
        """Write the recipe as it was resolved; links of stages that it no longer has go."""
        if self.path.exists() and not self.path.is_dir():
            raise ArtifactError(f"{self.path}: a file is in the way of the run's folder")
        self.path.mkdir(parents=True, exist_ok=True)
        note = f"# As `heed run` resolved it. Relative paths start at {recipe.path.parent.absolute()}\n"
        resolved = (note + to_toml(recipe.tables())).encode()
        known = self.path / RECIPE
        self._same_recipe = known.is_file() and known.read_bytes() == resolved
        with whole_file(known) as stream:
            stream.write(resolved)
        names = {step.name for step in recipe.steps}
        for entry in self.path.iterdir():
            if entry.is_symlink() and entry.name not in names:
                entry.unlink()

    def forget_report(self) -> None:
        """Remove report and figures: something is made anew, so they are of another run."""
        for name in (RUN, REPORT, SUMMARY):
            (self.path / name).unlink(missing_ok=True)

    def link(self, name: str, artifact: Artifact) -> None:
        """Link `name` to an artifact, relatively, so that folder and store can move together."""
        path = self.path / name
        if path.exists() and not path.is_symlink():
            raise ArtifactError(f"{path}: in the way of a link to the artifact; move it, or choose another folder")
        beside = path.with_name(path.name + ".tmp")
        beside.unlink(missing_ok=True)
        beside.symlink_to(os.path.relpath(artifact.path, self.path.resolve()), target_is_directory=True)
        beside.replace(path)

    def end(self, recipe: Recipe, finished: Mapping[str, Artifact]) -> None:
        """Write `run.json`, which says what each stage gave, and bring report and figures here, with time and memory in them."""
        steps: list[JsonValue] = [
            {"name": step.name, "stage": step.stage, "digest": finished[step.name].digest}
            for step in recipe.steps
            if step.name in finished
        ]
        head: dict[str, JsonValue] = {"name": recipe.name, "title": recipe.title, "seed": recipe.seed}
        head["base"] = str(recipe.path.parent.absolute())
        run = head | {"steps": steps}
        reports = [artifact for artifact in finished.values() if artifact.stage == "report"]
        if self._same_recipe and self.report is not None and _extends(_read(self.path / RUN), run):
            return  # all of this was done before, and more: a run `--until` an early stage takes nothing away
        self.forget_report()
        if reports:
            publish(reports[-1].path, self.path, finished)
        write_json(self.path / RUN, run)


def publish(source: Path, target: Path, finished: Mapping[str, Artifact]) -> None:
    """Copy report and figures from `source` to a run's folder, stamped with the time and memory of its stages."""
    from heedful.rendering.content import StageCost
    from heedful.rendering.report import stamp, stamp_summary

    costs = {name: cost for name, artifact in finished.items() if (cost := _cost(artifact)) is not None}
    seconds = sum(cost["seconds"] for cost in costs.values())
    peak = max((cost["peak_memory_bytes"] for cost in costs.values()), default=None)
    stages = [
        StageCost(name, cost["seconds"], cost["peak_memory_bytes"], cost["memory"]) for name, cost in costs.items()
    ]
    page = stamp((source / REPORT).read_text(encoding="utf-8"), seconds, peak, stages)
    with whole_file(target / REPORT) as stream:
        stream.write(page.encode())
    write_json(target / SUMMARY, stamp_summary(json.loads((source / SUMMARY).read_text()), seconds, peak))


def _cost(artifact: Artifact) -> dict[str, Any] | None:
    """The stage's own row of timings: seconds, those of killed tries included, peak memory of the process at its end, and what a
    training run's memory was made of (`memory`)."""
    path = artifact.path / TIMINGS
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    last = next((row for row in reversed(rows) if "peak_memory_bytes" in row), None)
    lost = sum(row.get("lost_seconds", 0.0) for row in rows)
    made_of: dict[str, Any] = next((row["memory"] for row in reversed(rows) if "memory" in row), {})
    return None if last is None else last | {"seconds": last["seconds"] + lost, "memory": made_of}


def _extends(known: Any, run: Mapping[str, Any]) -> bool:
    """Is `run` what `known` says, or its beginning."""
    if not isinstance(known, dict) or {**known, "steps": []} != {**run, "steps": []}:
        return False
    return bool(known["steps"][: len(run["steps"])] == run["steps"])


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def artifacts_of(path: Path) -> dict[str, Artifact]:
    """Return the artifacts that a run's folder links to, by stage name, in the order in which they were made.

    Raises:
        ArtifactError: it is not a run's folder, or an artifact is gone.
    """
    known = _read(path / RUN)
    if known is None:
        raise ArtifactError(
            f"{path}: not a finished run's folder, it has no {RUN}; give the folder that `heed run` made"
        )
    return {step["name"]: Artifact.open(path / step["name"]) for step in known["steps"]}
