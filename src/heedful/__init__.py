"""Heedful: align a language model with people. Rankings, a reward model, PPO with a KL leash, and a report.

    import heedful

    run = heedful.run("recipe.toml", set={"align.kl.coef": 0.1})
    print(run.report)
    rewards = run["reward"].metrics

Everything that the command `heed` does can be done from here. Importing this module imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heedful.apps.runner import Run, StepResult, dry_run, run, run_seeds
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
    "ShapeError": "heedful.errors",
    "Step": "heedful.records.recipes",
    "StepResult": "heedful.apps.runner",
    "WaitingForPeople": "heedful.errors",
    "Workspace": "heedful.records.artifacts",
    "dry_run": "heedful.apps.runner",
    "read_records": "heedful.records.jsonl",
    "run": "heedful.apps.runner",
    "run_seeds": "heedful.apps.runner",
    "write_records": "heedful.records.jsonl",
}
"""Public name to the module it lives in; that module is imported when the name is first used."""

__all__ = [
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
    "dry_run",
    "load_artifact",
    "read_records",
    "run",
    "run_seeds",
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
