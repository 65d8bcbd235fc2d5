"""The aligned model of a run's folder, the model it started from, and how both were asked to write."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heedful.errors import ArtifactError
from heedful.records.artifacts import Artifact

STAGE = "align"


@dataclass(frozen=True)
class Aligned:
    """An `align` artifact and the artifact that its policy came from."""

    after: Artifact
    before: Artifact

    @property
    def rollout(self) -> dict[str, Any]:
        """The settings it was trained with: `temperature`, `max_new_tokens` and the rest of `align.rollout`."""
        return dict(self.after.manifest["config"]["rollout"])

    def lineage(self) -> list[Artifact]:
        """Return every artifact behind the aligned one, itself first, each once."""
        found: dict[str, Artifact] = {}
        waiting = [self.after]
        while waiting:
            artifact = waiting.pop(0)
            if artifact.digest not in found:
                found[artifact.digest] = artifact
                waiting += [_input(artifact, role) for role in sorted(artifact.inputs)]
        return list(found.values())


def aligned_in(run: Path) -> Aligned:
    """Return the aligned model of a run's folder (its last `align` step), or of an `align` artifact itself.

    Raises:
        ArtifactError: no such folder, or nothing in it was aligned.
    """
    if not run.is_dir():
        raise ArtifactError(f"{run}: no such folder; give the folder that `heed run` made, such as runs/quickstart")
    places = [run] if (run / "manifest.json").is_file() else _steps(run)
    artifacts = [Artifact.open(place) for place in places]
    after = next((artifact for artifact in reversed(artifacts) if artifact.stage == STAGE), None)
    if after is None:
        there = ", ".join(artifact.stage for artifact in artifacts) or "no artifacts"
        raise ArtifactError(f"{run}: nothing was aligned here, it has {there}; run its recipe up to '{STAGE}'")
    return Aligned(after, _input(after, "policy"))


def _steps(run: Path) -> list[Path]:
    """Return the run's links in the order in which they were made, where `run.json` says it."""
    try:
        names = [step["name"] for step in json.loads((run / "run.json").read_text(encoding="utf-8"))["steps"]]
    except (OSError, ValueError, KeyError, TypeError):
        names = sorted(entry.name for entry in run.iterdir() if (entry / "manifest.json").is_file())
    return [run / name for name in names]


def _input(artifact: Artifact, role: str) -> Artifact:
    return Artifact.open(artifact.path.parent / artifact.inputs[role]["path"])
