"""The runner: takes a recipe through its stages, skips what is complete, and keeps the run's folder in order."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from heedful.apps.attending import Door, attend
from heedful.apps.planning import Job, Planned, complete, identity, inputs_of, jobs, plan, single_job, with_seed
from heedful.apps.run_folder import RunFolder
from heedful.apps.shipped import find
from heedful.engines.progress import say
from heedful.engines.seeding import num_threads, pin, told_device
from heedful.engines.tracking import tracked_by
from heedful.errors import ArtifactError, WaitingForPeople
from heedful.records.artifacts import Artifact, Workspace
from heedful.records.peak_memory import peak_memory_bytes
from heedful.records.recipes import Recipe
from heedful.stages import STAGES

State = Literal["run", "skip"]


@dataclass(frozen=True)
class StepResult:
    """What became of one stage.

    Args:
        name: its name in the recipe.
        state: "run" where it worked, "skip" where its artifact was complete already.
        seconds: wall-clock time of this call.
        artifact: what it made.
    """

    name: str
    state: State
    seconds: float
    artifact: Artifact


@dataclass(frozen=True)
class Run:
    """A finished run.

    Args:
        folder: holds links to all artifacts, `recipe.toml` as it was resolved, `run.json`, and the report where there is one.
        steps: in the order of the recipe.
        report: `report.html`, where the recipe has a report stage.
    """

    folder: Path
    steps: tuple[StepResult, ...]
    report: Path | None

    def __getitem__(self, name: str) -> Artifact:
        """Return the artifact of a stage by its name in the recipe."""
        return next(step.artifact for step in self.steps if step.name == name)


def run(
    recipe: Recipe | Path | str,
    *,
    set: Mapping[str, Any] | None = None,  # the command's word
    until: str | None = None,
    out: Path | str | None = None,
    tracker: str | None = None,
    wait: bool = True,
    port: int | None = None,
) -> Run:
    """Run a recipe; what is complete is skipped, what was interrupted goes on.

    Args:
        recipe: a recipe, its path, or the name of a shipped one.
        set: path to value, such as `{"align.kl.coef": 0.1}`.
        until: the last stage to run.
        out: the run's folder, by default `runs/<name>`; artifacts go to `artifacts` beside it.
        tracker: "tensorboard" or "wandb" draw curves of what is trained now, beside metrics.jsonl; by default what
            HEED_TRACKER says. It changes no number and makes nothing run again.
        wait: whether a stage that needs people's answers is waited for, with the labeling site open meanwhile.
        port: of that site; by default 8400, or a free one where that is taken.

    Raises:
        WaitingForPeople: `wait` is False, and answers are missing.
        HeedError: what a person can put right, in one line.
    """
    recipe = load(recipe, set)
    folder, store = _places(recipe, out)
    with tracked_by(tracker):
        return _run(recipe, folder, store, until, Door(wait, port))


def run_seeds(
    recipe: Recipe | Path | str,
    seeds: Iterable[int],
    *,
    set: Mapping[str, Any] | None = None,
    until: str | None = None,
    out: Path | str | None = None,
    tracker: str | None = None,
    wait: bool = True,
    port: int | None = None,
) -> list[Run]:
    """Run a recipe once per seed, into `<out>/seed-N`; all share one store. The rest is as in `run`."""
    recipe = load(recipe, set)
    folder, store = _places(recipe, out)
    door = Door(wait, port)
    with tracked_by(tracker):
        return [_run(with_seed(recipe, seed), folder / f"seed-{seed}", store, until, door) for seed in seeds]


def dry_run(
    recipe: Recipe | Path | str,
    *,
    set: Mapping[str, Any] | None = None,
    seed: int | None = None,
    until: str | None = None,
    out: Path | str | None = None,
) -> list[Planned]:
    """Return what `run` would do; with `seed`, what `run_seeds` would do for it."""
    recipe = load(recipe, set)
    if seed is not None:
        recipe = with_seed(recipe, seed)
    return plan(jobs(recipe, until=until), _places(recipe, out)[1], recipe.path.parent)


def _places(recipe: Recipe, out: Path | str | None) -> tuple[Path, Path]:
    """Return the run's folder and the store of its artifacts."""
    folder = Path(out) if out is not None else Path("runs") / recipe.name
    return folder, folder.absolute().parent / "artifacts"


def load(recipe: Recipe | Path | str, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Return a recipe; a path, or the name of a shipped one, is read, and its stages' names are checked."""
    if isinstance(recipe, Recipe):
        return Recipe.parse(recipe.tables(), recipe.path, overrides, stages=STAGES) if overrides else recipe
    return Recipe.load(find(recipe) if isinstance(recipe, str) else recipe, overrides, stages=STAGES)


def run_job(
    job: Job, inputs: Mapping[str, Artifact], store: Path, base: Path, door: Door | None = None
) -> tuple[Artifact, State]:
    """Return the job's artifact, made now or long ago; `door` is how people come in where the stage waits for them."""
    who = identity(job, inputs, base)
    finished = _complete_or_set_aside(store, who.digest)
    if finished is not None:
        return finished, "skip"
    threads = num_threads()
    with Workspace(store, who.manifest(store), base=base, facts={"threads": threads}) as workspace:
        # Another process may have finished it while this one came to the lock.
        finished = complete(store, who.digest) or workspace.recover()
        if finished is not None:
            return finished, "skip"
        if job.verb.uses_torch:
            pin(threads)
            _tell_device(threads)
        return _work(job, inputs, workspace, door or Door()), "run"


@functools.cache
def _tell_device(threads: int) -> None:
    """Say once where models run."""
    say(told_device(threads))


def run_stage(
    stage: str,
    out: Path | str,
    *,
    inputs: Mapping[str, Path | str] | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    base: Path | str | None = None,
    wait: bool = True,
    port: int | None = None,
) -> StepResult:
    """Run one stage outside any recipe, as `heed STAGE` does.

    Args:
        stage: such as "sample".
        out: becomes a link to the artifact, which lies in `artifacts` beside it.
        inputs: role to the folder of a finished artifact.
        settings: the stage's settings, tables as dicts.
        seed: every random draw derives from it.
        base: where relative paths in settings start; by default the working folder.
        wait: as in `run`.
        port: as in `run`.

    Raises:
        HeedError: what a person can put right, in one line.
    """
    given = {role: [Artifact.open(path)] for role, path in (inputs or {}).items()}
    job, found = single_job(stage, settings or {}, given, seed, place=stage)
    return single(job, found, Path(out), Path(base) if base is not None else Path.cwd(), Door(wait, port))


def single(job: Job, inputs: Mapping[str, Artifact], out: Path, base: Path, door: Door | None = None) -> StepResult:
    """Run one stage outside any recipe; `out` becomes a link to its artifact in `artifacts` beside it."""
    started = time.perf_counter()
    artifact, state = run_job(job, inputs, out.absolute().parent / "artifacts", base, door)
    _tell_news(job, artifact, state, base, "")
    RunFolder(out.absolute().parent).link(out.name, artifact)
    return StepResult(job.step.name, state, time.perf_counter() - started, artifact)


def _run(recipe: Recipe, path: Path, store: Path, until: str | None, door: Door) -> Run:
    todo = jobs(recipe, until=until)
    folder = RunFolder(path)
    folder.begin(recipe)
    finished: dict[str, Artifact] = {}
    results = []
    for job in todo:
        started = time.perf_counter()
        inputs = inputs_of(job.step, finished, job.verb)
        artifact, state = run_job(job, inputs, store, recipe.path.parent, door)
        _tell_news(job, artifact, state, recipe.path.parent, f"{job.step.name}.")
        finished[job.step.name] = artifact
        folder.link(job.step.name, artifact)
        if state == "run":
            folder.forget_report()
        results.append(StepResult(job.step.name, state, time.perf_counter() - started, artifact))
    folder.end(recipe, finished)
    return Run(path, tuple(results), folder.report)


def _tell_news(job: Job, artifact: Artifact, state: State, base: Path, place: str) -> None:
    """Say what has come in from outside since the artifact was made; `place` is what its settings begin with in `--set`."""
    news = job.verb.news(job.config, artifact, base, place) if state == "skip" and job.verb.news else None
    if news is not None:
        say(f"{job.step.name}: {news}")


def _work(job: Job, inputs: Mapping[str, Artifact], workspace: Workspace, door: Door) -> Artifact:
    say(f"{job.step.name}: {job.verb.summary}")
    workspace.begin()
    seconds = 0.0
    artifact = None
    while artifact is None:
        started = time.perf_counter()
        try:
            artifact = job.verb.run(job.config, inputs, workspace, seed=job.seed)
            seconds += time.perf_counter() - started
        except WaitingForPeople as waiting:
            seconds += time.perf_counter() - started
            seconds += attend(waiting, door, job.step.name)
    workspace.time({"stage": job.verb.name, "seconds": seconds, "peak_memory_bytes": peak_memory_bytes()})
    return artifact


def _complete_or_set_aside(store: Path, digest: str) -> Artifact | None:
    try:
        return complete(store, digest)
    except ArtifactError as error:
        path = store / digest
        aside = _free(lambda n: store / f"{digest}.damaged-{n}")
        path.rename(aside)
        say(f"{error}; it was set aside as {aside.name} and is made again")
        return None


def _free(name: Callable[[int], Path]) -> Path:
    number = 1
    while name(number).exists():
        number += 1
    return name(number)
