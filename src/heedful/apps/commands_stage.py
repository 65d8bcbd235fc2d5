"""One command per stage: `heed STAGE --input role=ARTIFACT --out DIR`, made from the list of stages."""

from __future__ import annotations

import ast
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heedful.apps.commands_run import Assignments, overrides, stopped
from heedful.stages import STAGES

if TYPE_CHECKING:
    from heedful.records.artifacts import Artifact


def summary(stage: str) -> str:
    """Return the first line of a stage's module, read without importing it."""
    found = find_spec(STAGES[stage])
    if found is None or found.origin is None:
        return ""
    text = ast.get_docstring(ast.parse(Path(found.origin).read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0].removeprefix(f"{stage}: ")


def stage_command(stage: str) -> Callable[..., None]:
    """Return the command that runs one stage outside a recipe."""

    def command(
        out: Annotated[Path, typer.Option(metavar="DIR", help="Becomes a link to the artifact.")],
        input_: Annotated[
            list[str] | None, typer.Option("--input", metavar="ROLE=ARTIFACT", help="One finished input.")
        ] = None,
        config: Annotated[Path | None, typer.Option(metavar="FILE.toml", help="The stage's settings.")] = None,
        set_: Assignments = None,
        seed: Annotated[int, typer.Option(help="Every random draw derives from it.")] = 0,
    ) -> None:
        from heedful.apps.headlines import headline
        from heedful.apps.runner import single
        from heedful.engines.progress import duration

        job, inputs, base = _prepare(stage, config, overrides(set_), input_ or [], seed)
        try:
            result = single(job, inputs, out, base)
        except KeyboardInterrupt:
            stopped()
        typer.echo(f"{result.state}  {duration(result.seconds)}  {headline(result.artifact)}\n{out}")

    return command


def _prepare(
    stage: str, config: Path | None, assignments: dict[str, Any], given: list[str], seed: int
) -> tuple[Any, dict[str, Artifact], Path]:
    from heedful.apps.planning import single_job
    from heedful.records.recipes import read_toml, set_value

    settings = read_toml(config) if config is not None else {}
    place = f"{config}: {stage}" if config is not None else stage
    for path, value in assignments.items():
        set_value(settings, path, value, Path(config or stage))
    job, inputs = single_job(stage, settings, _artifacts(given), seed, place=place)
    return job, inputs, config.parent if config is not None else Path()


def _artifacts(given: list[str]) -> dict[str, list[Artifact]]:
    from heedful.errors import ConfigError
    from heedful.records.artifacts import Artifact

    found: dict[str, list[Artifact]] = {}
    for text in given:
        role, equals, path = text.partition("=")
        if not equals:
            raise ConfigError(f"--input {text}: role=ARTIFACT was expected, such as policy=runs/quickstart/sft")
        found.setdefault(role.strip(), []).append(Artifact.open(path.strip()))
    return found
