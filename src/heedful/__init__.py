"""Heedful: align a language model with people. Rankings, a reward model, PPO with a KL leash, and a report.

    import heedful

    run = heedful.run("recipe.toml", set={"align.kl.coef": 0.1})
    print(run.report)
    rewards = run["reward"].metrics

Everything that the command `heed` does can be done from here. Importing this module imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from heedful import cpu_settings as cpu_settings  # before torch computes anything

if TYPE_CHECKING:
    from heedful.apps.cleaning import find_rubbish, remove_rubbish
    from heedful.apps.doctor import examine
    from heedful.apps.lineage import lineage
    from heedful.apps.rerendering import render_again
    from heedful.apps.runner import Run, StepResult, dry_run, run, run_seeds, run_stage
    from heedful.apps.shipped import copy_out
    from heedful.engines.chat import side_by_side
    from heedful.engines.exporting import export, push
    from heedful.errors import (
        ArtifactError,
        CheckpointError,
        ConfigError,
        DataError,
        HealthError,
        HeedError,
        ModelError,
        ShapeError,
        WaitingForPeople,
    )
    from heedful.records.artifacts import Artifact, Workspace
    from heedful.records.jsonl import read_records, write_records
    from heedful.records.recipes import Recipe, Step
    from heedful.stages import STAGES

_HOMES = {
    "Artifact": "heedful.records.artifacts",
    "ArtifactError": "heedful.errors",
    "CheckpointError": "heedful.errors",
    "ConfigError": "heedful.errors",
    "DataError": "heedful.errors",
    "HealthError": "heedful.errors",
    "HeedError": "heedful.errors",
    "ModelError": "heedful.errors",
    "Recipe": "heedful.records.recipes",
    "Run": "heedful.apps.runner",
    "STAGES": "heedful.stages",
    "ShapeError": "heedful.errors",
    "Step": "heedful.records.recipes",
    "StepResult": "heedful.apps.runner",
    "WaitingForPeople": "heedful.errors",
    "Workspace": "heedful.records.artifacts",
    "copy_out": "heedful.apps.shipped",
    "dry_run": "heedful.apps.runner",
    "examine": "heedful.apps.doctor",
    "export": "heedful.engines.exporting",
    "find_rubbish": "heedful.apps.cleaning",
    "lineage": "heedful.apps.lineage",
    "push": "heedful.engines.exporting",
    "read_records": "heedful.records.jsonl",
    "remove_rubbish": "heedful.apps.cleaning",
    "render_again": "heedful.apps.rerendering",
    "run": "heedful.apps.runner",
    "run_seeds": "heedful.apps.runner",
    "run_stage": "heedful.apps.runner",
    "side_by_side": "heedful.engines.chat",
    "write_records": "heedful.records.jsonl",
}
"""Public name to the module it lives in; that module is imported when the name is first used."""

__all__ = [
    "STAGES",
    "Artifact",
    "ArtifactError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "HealthError",
    "HeedError",
    "ModelError",
    "Recipe",
    "Run",
    "ShapeError",
    "Step",
    "StepResult",
    "WaitingForPeople",
    "Workspace",
    "__version__",
    "copy_out",
    "dry_run",
    "examine",
    "export",
    "find_rubbish",
    "lineage",
    "load_artifact",
    "push",
    "read_records",
    "remove_rubbish",
    "render_again",
    "run",
    "run_seeds",
    "run_stage",
    "side_by_side",
    "write_records",
]


def load_artifact(path: str) -> Artifact:
    """Return a finished artifact by its folder, or by a link in a run's folder; ArtifactError where there is none."""
    from heedful.records.artifacts import Artifact

    return Artifact.open(path)


def __getattr__(name: str) -> Any:
    import importlib
    from importlib.metadata import version

    if name == "__version__":
        return version("heedful")
    if name not in _HOMES:
        raise AttributeError(f"module 'heedful' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
