"""Artifacts made from records, and stages run on them, without a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from heedful.errors import WaitingForPeople
from heedful.records.artifacts import Artifact, Identity, Workspace
from heedful.records.types import Record


def artifact_of(store: Path, stage: str, **files: Sequence[Record]) -> Artifact:
    """Return a finished artifact with one file per keyword; `train__prompts` becomes `train.prompts.jsonl`."""
    content = {name: [record.model_dump_json() for record in records] for name, records in files.items()}
    identity = Identity(stage, 1, {"files": content}, 0)
    with Workspace(store, identity.manifest()) as out:
        for name, records in files.items():
            out.write(name.replace("__", "."), records)
        return out.finish()


def run_stage(
    stage: Any, config: Any, inputs: Mapping[str, Artifact], store: Path, *, seed: int = 0, base: Path | None = None
) -> Artifact:
    """Run one stage module as the runner would, in `store`; a workspace that a killed try left is gone on with.

    Where it waits for simulated people, they come; WaitingForPeople is raised where it waits for people.
    """
    from heedful.apps.attending import Door, attend

    name = stage.__name__.rpartition(".")[2]
    if hasattr(stage, "check"):
        stage.check(config, inputs)
    identity = Identity(name, stage.VERSION, config.model_dump(mode="json"), seed, inputs)
    with Workspace(store, identity.manifest(), base=base) as out:
        while True:
            try:
                finished: Artifact = stage.run(config, inputs, out, seed=seed)
                return finished
            except WaitingForPeople as waiting:
                attend(waiting, Door(wait=False), name)
