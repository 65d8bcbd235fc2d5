"""Stages that run in a process of their own, which a server (or a scorer) ends with kill -9 in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heedful.records.artifacts import Artifact
from tests.judge_server import Reply, as_json

CHILD = """
import json, sys
from importlib import import_module
from pathlib import Path
from heedful.apps.verbs import load_verb, parse_settings
from heedful.records.artifacts import Artifact
from heedful.testing.artifacts import run_stage

stage, base, seed, roles, settings, patches = json.loads(sys.argv[1])
for place, value in patches.items():
    module, _, name = place.rpartition(".")
    setattr(import_module(module), name, value)
config = parse_settings(load_verb(stage), settings, stage)
inputs = {role: Artifact.open(path) for role, path in roles.items()}
run_stage(import_module(f"heedful.stages.{stage}"), config, inputs, Path(base) / "store", seed=seed, base=Path(base))
"""


@dataclass
class Process:
    """One run of a stage, with the settings and inputs that the test's own runs have; its store is `base/store`.

    Args:
        patches: module and constant to another value, "heedful.engines.attacks.harming.SHARD_SCORED".
    """

    stage: str
    base: Path
    roles: Mapping[str, Artifact]
    settings: Mapping[str, Any]
    seed: int = 3
    patches: Mapping[str, Any] = field(default_factory=dict)
    child: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def run(self) -> int:
        """Run to the end, and return how it ended: 0, or minus the number of the signal."""
        folders = {role: str(artifact.path) for role, artifact in self.roles.items()}
        told = json.dumps([self.stage, str(self.base), self.seed, folders, dict(self.settings), dict(self.patches)])
        command = [sys.executable, "-c", CHILD, told]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return self.child.wait()

    def kill(self) -> None:
        """Kill it, and return when it is gone."""
        assert self.child is not None
        self.child.send_signal(signal.SIGKILL)
        self.child.wait()


@dataclass
class Killer:
    """A server's `trouble` that kills whoever asks, at requests of these numbers, before it answers them.

    Args:
        at: numbers from 1, over all runs.
        otherwise: says the rest.
    """

    at: set[int]
    otherwise: Callable[[int, dict[str, Any]], Reply | None] = lambda number, body: None
    process: Process | None = None
    unanswered: list[str] = field(default_factory=list)

    def __call__(self, number: int, body: dict[str, Any]) -> Reply | None:
        if number not in self.at:
            return self.otherwise(number, body)
        assert self.process is not None
        self.process.kill()
        self.unanswered.append(as_text(body))
        return as_json({}, 503)  # nobody hears it


def as_text(body: dict[str, Any]) -> str:
    """Return a request as a text that is equal for equal requests."""
    return json.dumps(body, sort_keys=True)
