"""One alignment run with or without a planted failure: what every iteration measured, and every alert."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.monitors import scorers
from benchmarks.monitors.failures import Variant
from benchmarks.monitors.starts import HERE, WORK, start

from heedful.engines.aligning import AlignmentRun
from heedful.errors import HeedError
from heedful.records.artifacts import Artifact, Identity, Workspace
from heedful.stages import align

ITERATIONS = 30
BASE: dict[str, Any] = {
    "iterations": ITERATIONS,
    "checkpoint_every": 1000,
    "policy": {"method": "full"},
    "rollout": {"rows": 64, "max_new_tokens": 64},
    "ppo": {"num_epochs": 2, "minibatch_rows": 32, "microbatch_tokens": 8192, "vf_coef": 0.5, "value_clip_range": 1.0},
    "optimizer": {"lr": 7e-4},
    "kl": {"coef": 0.1},
    "reward": {"function": "scorers.py:gold"},
}
Row = dict[str, Any]


class EnoughError(Exception):
    """The run has said all that is asked of it."""


def run_trial(seed: int, variant: Variant, *, enough: tuple[str, ...] = (), **more: Any) -> Row:
    """Run until the end, or until a monitor of `enough` has spoken; return rows, alerts and the failure's symptom."""
    inputs: dict[str, Artifact] = dict(start(seed))
    settings = {**_merged(BASE, variant.settings), **more}
    if variant.reward is not None:
        inputs["reward"] = variant.reward(seed)
        settings["reward"] = variant.settings.get("reward", {})
    config = align.Config(**settings)
    align.check(config, inputs)
    began = time.perf_counter()
    with _workspace(config, inputs, seed) as out:
        run = AlignmentRun(config, inputs, out, seed=seed)
        run.restore()
        trace = Trace(run, variant, enough)
        variant.plant(run)
        with _patched(run), contextlib.suppress(EnoughError, HeedError):
            run.loop()
        return {**trace.found(), "seconds": round(time.perf_counter() - began, 1)}


class Trace:
    """Follows a run: gold and the symptom of each rollout, and the alerts so far."""

    def __init__(self, run: AlignmentRun, variant: Variant, enough: tuple[str, ...]) -> None:
        self._run, self._variant, self._enough = run, variant, enough
        self._gold: list[float] = []
        self._symptom: list[float] = []
        self._after = run.watch.after_update
        run.watch.after_update = self._update  # type: ignore[method-assign]

    def _update(self, row: Any) -> Any:
        answers = self._run.rollout.answers
        gold = scorers.gold(answers.prompts, answers.completions)
        self._gold.append(sum(gold) / len(gold))
        if self._variant.symptom is not None:
            self._symptom.append(self._variant.symptom(answers.completions))
        ending = self._after(row)
        if self._enough and any(alert["monitor"] in self._enough for alert in self._run.watch._log.rows()):
            raise EnoughError
        return ending

    def found(self) -> Row:
        """Return what was seen."""
        rows = self._run.out.rows()
        kept = ("monitor", "iteration", "value", "action")
        alerts = [{name: alert[name] for name in kept} for alert in self._run.watch._log.rows()]
        found = {"rows": rows, "alerts": alerts, "gold": self._gold, "symptom": self._symptom}
        watched = self._run.watch.gold
        return found if watched is None else {**found, "measured": watched.state()}


@contextlib.contextmanager
def _workspace(config: Any, inputs: dict[str, Artifact], seed: int) -> Iterator[Workspace]:
    identity = Identity("align", align.VERSION, config.model_dump(mode="json"), seed, inputs)
    folder = WORK / "trials" / str(os.getpid())  # failures that differ in their plant alone have one digest
    shutil.rmtree(folder / f"{identity.digest}.work", ignore_errors=True)
    with Workspace(folder, identity.manifest(), base=HERE) as out:
        yield out
    shutil.rmtree(Path(out.path), ignore_errors=True)


@contextlib.contextmanager
def _patched(run: AlignmentRun) -> Iterator[None]:
    """Put what a failure changes in a module in place, and take it out again."""
    patches = getattr(run, "patches", [])
    before = [(module, name, getattr(module, name)) for module, name, _ in patches]
    try:
        for module, name, value in patches:
            setattr(module, name, value)
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {
        **base,
        **{
            name: {**base.get(name, {}), **value} if isinstance(value, dict) else value
            for name, value in changes.items()
        },
    }
