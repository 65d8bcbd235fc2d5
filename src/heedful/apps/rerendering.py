"""`heed report`: a run's report made again by the code as it is now, from the artifacts as they are."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from heedful.apps.planning import identity, inputs_of, jobs
from heedful.apps.run_folder import RECIPE, REPORT, RUN, artifacts_of, publish
from heedful.errors import ConfigError
from heedful.records.artifacts import Workspace
from heedful.records.recipes import Recipe, read_toml
from heedful.stages import STAGES


def render_again(folder: Path) -> Path:
    """Render the report of a finished run again; return the page's path.

    Raises:
        ArtifactError: it is not a finished run's folder.
        ConfigError: its recipe has no report.
    """
    finished = artifacts_of(folder)
    base = Path(json.loads((folder / RUN).read_text())["base"])
    recipe = Recipe.parse(read_toml(folder / RECIPE), folder / RECIPE, stages=STAGES)
    job = next((job for job in jobs(recipe) if job.verb.name == "report"), None)
    if job is None or job.step.name not in finished:
        raise ConfigError(f"{folder}: this run made no report; add a stage 'report' to its recipe, and run it")
    inputs = inputs_of(job.step, finished, job.verb)
    with tempfile.TemporaryDirectory() as scratch:
        manifest = identity(job, inputs, base).manifest(Path(scratch))
        with Workspace(Path(scratch), manifest, base=base) as workspace:
            made = job.verb.run(job.config, inputs, workspace, seed=job.seed)
        publish(made.path, folder, finished)
    return folder / REPORT
