"""From a recipe to a plan: every stage's settings checked before anything runs, and its artifact's digest where it can be known."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from heedful.apps.verbs import Verb, check_inputs, check_together, load_verb, parse_settings
from heedful.engines.seeding import device_class
from heedful.errors import ArtifactError, ConfigError
from heedful.records.artifacts import Artifact, Identity
from heedful.records.recipe_lines import with_line
from heedful.records.recipes import Recipe, Step
from heedful.records.seeds import derive_seed
from heedful.stages.spec import StageConfig

LIBRARIES = ("torch", "transformers", "peft")
"""Their versions are part of every digest: another version may give other numbers."""


@dataclass(frozen=True)
class Job:
    """A stage ready to be given its inputs.

    Args:
        step: its table in the recipe.
        verb: what it runs.
        config: its resolved settings.
        seed: its own seed.
    """

    step: Step
    verb: Verb
    config: StageConfig
    seed: int


@dataclass(frozen=True)
class Planned:
    """What a dry run says of one stage: "run", "skip", or "unknown until X"."""

    name: str
    stage: str
    state: str
    digest: str | None = None


def jobs(recipe: Recipe, *, until: str | None = None) -> list[Job]:
    """Return the jobs of a recipe in order, all of them checked, up to and including `until`.

    Raises:
        ConfigError: any stage's settings or inputs are wrong, also of stages after `until`.
    """
    stages = {step.name: step.stage for step in recipe.steps}
    found = [_job(recipe, step, stages) for step in recipe.steps]
    _check_feeds(recipe, found)
    last = len(found) if until is None else [job.step for job in found].index(recipe.step(until)) + 1
    return found[:last]


def identity(job: Job, inputs: Mapping[str, Artifact], base: Path) -> Identity:
    """Return everything that decides a job's artifact; reads the files outside that the stage reads."""
    return Identity(
        stage=job.verb.name,
        version=job.verb.version,
        config=job.config.model_dump(mode="json"),
        seed=job.seed,
        inputs=inputs,
        external=job.verb.external(job.config, base) if job.verb.external else {},
        versions={name: _version(name) for name in LIBRARIES},
        device=device_class(),
        heedful=_version("heedful"),
    )


def inputs_of(step: Step, finished: Mapping[str, Artifact], verb: Verb) -> dict[str, Artifact]:
    """Return role to artifact; a role that takes several becomes `role.0`, `role.1` and so on."""
    inputs: dict[str, Artifact] = {}
    for role, names in step.inputs.items():
        if verb.inputs[role].many:
            inputs |= {f"{role}.{i}": finished[name] for i, name in enumerate(names)}
        else:
            inputs[role] = finished[names[0]]
    return inputs


def complete(store: Path, digest: str) -> Artifact | None:
    """Return the artifact of this digest, hashes checked; None where there is none.

    Raises:
        ArtifactError: there is one, and it was damaged or altered.
    """
    path = store / digest
    if not path.is_dir():
        return None
    artifact = Artifact.open(path)
    artifact.verify(quick=True)
    return artifact


def plan(todo: Sequence[Job], store: Path, base: Path) -> list[Planned]:
    """Return what a run would do, without doing any of it."""
    finished: dict[str, Artifact] = {}
    planned = []
    for job in todo:
        missing = [name for names in job.step.inputs.values() for name in names if name not in finished]
        if missing:
            planned.append(Planned(job.step.name, job.verb.name, f"unknown until {missing[0]}"))
            continue
        digest = identity(job, inputs_of(job.step, finished, job.verb), base).digest
        try:
            artifact = complete(store, digest)
        except ArtifactError:
            artifact = None
        if artifact is not None:
            finished[job.step.name] = artifact
        planned.append(Planned(job.step.name, job.verb.name, "skip" if artifact else "run", digest))
    return planned


def with_seed(recipe: Recipe, seed: int) -> Recipe:
    """Return the same recipe with another seed."""
    return replace(recipe, seed=seed)


def single_job(
    stage: str, settings: Mapping[str, Any], given: Mapping[str, Sequence[Artifact]], seed: int, *, place: str
) -> tuple[Job, dict[str, Artifact]]:
    """Return the job of one stage outside any recipe, and its inputs.

    Raises:
        ConfigError: settings or inputs are wrong.
    """
    verb = load_verb(stage)
    filled = {role: tuple(artifact.stage for artifact in found) for role, found in given.items()}
    check_inputs(verb, filled, place, alone=True)
    names = {role: tuple(f"{role}.{i}" for i in range(len(found))) for role, found in given.items()}
    finished = {f"{role}.{i}": artifact for role, found in given.items() for i, artifact in enumerate(found)}
    step = Step(stage, stage, names, settings)
    config = parse_settings(verb, settings, place)
    check_together(verb, config, step.inputs, place, alone=True)
    job = Job(step, verb, config, derive_seed(seed, stage))
    return job, inputs_of(step, finished, verb)


def _job(recipe: Recipe, step: Step, stages: Mapping[str, str]) -> Job:
    verb = load_verb(step.stage)
    place = f"{recipe.path}: {step.name}"
    try:
        check_inputs(verb, {role: tuple(stages[n] for n in names) for role, names in step.inputs.items()}, place)
        config = parse_settings(verb, step.settings, place)
        check_together(verb, config, step.inputs, place)
    except ConfigError as error:
        raise ConfigError(with_line(str(error), recipe.path, recipe.given)) from None
    return Job(step, verb, config, derive_seed(recipe.seed, step.name))


def _check_feeds(recipe: Recipe, found: Sequence[Job]) -> None:
    """Raise ConfigError where a stage is to be given what another one's settings keep it from making."""
    made = {job.step.name: job for job in found}
    for job in found:
        for role, names in job.step.inputs.items():
            for source in (made[name] for name in names):
                if source.verb.feeds is None or role in (fills := source.verb.feeds(source.config)):
                    continue
                problem = (
                    f"'{source.step.name}', as it is set, does not give '{role}'; it gives '{_other(fills, source)}'"
                )
                place = f"{recipe.path}: {job.step.name}.inputs.{role}: {problem}"
                raise ConfigError(with_line(place, recipe.path, recipe.given))


def _other(fills: Collection[str], source: Job) -> str:
    return "', '".join(sorted(role for role in fills if role != source.verb.name))


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "absent"
