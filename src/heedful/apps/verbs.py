"""The stages as the runner sees them: loaded by name, without torch, and their settings checked with one-line messages."""

from __future__ import annotations

import importlib
import json
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from heedful.errors import ConfigError
from heedful.records.artifacts import Artifact
from heedful.records.expected import expected
from heedful.records.recipes import nearest, show
from heedful.stages import STAGES
from heedful.stages.spec import InputSpec, StageConfig


@dataclass(frozen=True)
class Verb:
    """A stage.

    Args:
        name: as recipes call it.
        summary: one line: what it does.
        version: raised when its numbers change.
        inputs: role to what may fill it.
        config: its settings' class.
        run: does the work.
        external: digests of what it reads from outside; None where it reads nothing.
        check: refuses settings and inputs that do not go together; None where any do.
        news: what has come in from outside since an artifact was made, in words; None where nothing ever does.
        feeds: the roles that its artifact can fill under these settings; None where they do not matter.
        uses_torch: False where running it needs no torch.
    """

    name: str
    summary: str
    version: int
    inputs: Mapping[str, InputSpec]
    config: type[StageConfig]
    run: Callable[..., Artifact]
    external: Callable[[Any, Path], dict[str, str]] | None
    check: Callable[[Any, Collection[str]], None] | None
    news: Callable[[Any, Artifact, Path, str], str | None] | None
    feeds: Callable[[Any], Collection[str]] | None
    uses_torch: bool


def load_verb(name: str) -> Verb:
    """Return the stage of this name; ConfigError names the nearest."""
    if name not in STAGES:
        raise ConfigError(f"no stage is called '{name}'{nearest(name, STAGES)}")
    module = importlib.import_module(STAGES[name])
    summary = (module.__doc__ or "").strip().splitlines()[0].removeprefix(f"{name}: ")
    return Verb(
        name=name,
        summary=summary,
        version=module.VERSION,
        inputs=module.INPUTS,
        config=module.Config,
        run=module.run,
        external=getattr(module, "external", None),
        check=getattr(module, "check", None),
        news=getattr(module, "news", None),
        feeds=getattr(module, "feeds", None),
        uses_torch=getattr(module, "USES_TORCH", True),
    )


def parse_settings(verb: Verb, settings: Mapping[str, Any], place: str) -> StageConfig:
    """Return the resolved settings of a stage.

    Args:
        verb: the stage.
        settings: as the recipe gives them.
        place: what messages begin with, such as "quickstart.toml: align".

    Raises:
        ConfigError: an unknown setting (with the nearest name), a wrong type, a number out of range.
    """
    _check_finite(settings, place)
    try:
        # JSON mode is strict about types, and still takes a TOML list where settings hold a tuple.
        return verb.config.model_validate_json(json.dumps(settings, default=str), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        dot = "." if first["loc"] else ": "
        raise ConfigError(f"{place}{dot}{_message(first, verb.config)}") from None


def check_inputs(verb: Verb, given: Mapping[str, tuple[str, ...]], place: str, *, alone: bool = False) -> None:
    """Check the roles of a stage's inputs.

    Args:
        verb: the stage.
        given: role to the stages that fill it.
        place: what messages begin with.
        alone: the stage runs outside a recipe, where inputs are folders.

    Raises:
        ConfigError: a required role is empty, an unknown role, a stage that cannot fill it, too many.
    """
    for role, stages in given.items():
        if role not in verb.inputs:
            raise ConfigError(f"{place}.inputs.{role}: '{verb.name}' has no such input{nearest(role, verb.inputs)}")
        spec = verb.inputs[role]
        wrong = next((stage for stage in stages if stage not in spec.stages), None)
        if wrong is not None:
            raise ConfigError(
                f"{place}.inputs.{role}: {_one_of(spec.stages)} was expected, got the artifact of '{wrong}'"
            )
        if len(stages) > 1 and not spec.many:
            raise ConfigError(f"{place}.inputs.{role}: one input was expected, got {len(stages)}")
    for role, spec in verb.inputs.items():
        if spec.required and role not in given:
            example = f"--input {role}=DIR" if alone else f'inputs = {{ {role} = "{spec.stages[0]}" }}'
            raise ConfigError(
                f"{place}.inputs: '{role}' is missing; the artifact of {_one_of(spec.stages)} was expected, such as {example}"
            )


def check_together(
    verb: Verb, config: StageConfig, inputs: Mapping[str, Sequence[str]], place: str, *, alone: bool = False
) -> None:
    """Check what neither settings nor inputs show alone, such as a mode that needs a certain input.

    A role that takes several inputs is also told with their numbers, "scorers.0", as artifacts call them.

    Raises:
        ConfigError: they do not go together.
    """
    if verb.check is None:
        return
    numbered = [f"{role}.{i}" for role, names in inputs.items() if verb.inputs[role].many for i in range(len(names))]
    try:
        verb.check(config, [*inputs, *numbered])
    except ConfigError as error:
        role = re.match(r"inputs: '(\w+)' is missing", str(error))
        how = f"; say --input {role[1]}=DIR" if alone and role else ""
        raise ConfigError(f"{place}.{error}{how}") from None


def _one_of(stages: tuple[str, ...]) -> str:
    return " or ".join(f"'{stage}'" for stage in stages)


def _message(error: ErrorDetails, config: type[BaseModel]) -> str:
    if not error["loc"]:  # settings that do not go together
        return error["msg"].removeprefix("Value error, ")
    *parents, last = [str(part) for part in error["loc"]]
    place = ".".join([*parents, last])
    if error["type"] == "extra_forbidden":
        return f"{place}: no such setting{nearest(last, _fields_at(config, parents))}"
    if error["type"] == "missing":
        return f"{place}: no value is given, and it has no default"
    if error["type"] == "value_error":
        return f"{place}: {error['msg'].removeprefix('Value error, ')}"
    return f"{place}: expected {expected(error)}, got {show(error['input'])}"


def _fields_at(config: type[BaseModel], place: list[str]) -> list[str]:
    """The names of the settings in the group at `place`; none where it is no group of ours."""
    groups = [config]
    for name in place:
        if name.isdecimal():
            continue
        found = [group.model_fields[name].annotation for group in groups if name in group.model_fields]
        groups = [model for annotation in found for model in _models_in(annotation)] or groups
    return [name for group in groups for name in group.model_fields]


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _check_finite(value: object, place: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{place}: expected a finite number, got {value}")
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _check_finite(inner, f"{place}.{key}")
    if isinstance(value, list):
        for inner in value:
            _check_finite(inner, place)
