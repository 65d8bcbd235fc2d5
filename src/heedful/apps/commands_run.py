"""heed run, heed init, heed report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from heedful.apps.runner import Run
    from heedful.records.recipes import Recipe

Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Change one setting, such as align.kl.coef=0.1.")
]


def run(
    recipe: Annotated[str, typer.Argument(help="A recipe's file, or the name of a shipped one (see `heed init`).")],
    set_: Assignments = None,
    until: Annotated[str | None, typer.Option(metavar="STAGE", help="Stop after this stage.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="The run's folder; runs/NAME by default.")] = None,
    seeds: Annotated[str | None, typer.Option(metavar="0-9", help="Run once per seed, into DIR/seed-N.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run, and do nothing.")] = False,
    tracker: Annotated[
        str | None, typer.Option(metavar="NAME", help="Draw curves with tensorboard or wandb too; changes no number.")
    ] = None,
    wait: Annotated[
        bool,
        typer.Option("--wait/--no-wait", help="Whether to serve the labeling site while people's answers are missing."),
    ] = True,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="That site's port; 8400, or a free one, by default.")
    ] = None,
) -> None:
    """Run a recipe; what is complete is skipped, what was interrupted goes on."""
    from heedful.apps import runner

    loaded = runner.load(recipe, overrides(set_))
    several = None if seeds is None else parse_seeds(seeds)
    if dry_run:
        _show_plans(loaded, several, until, out)
        return
    try:
        if several is None:
            runs = [runner.run(loaded, until=until, out=out, tracker=tracker, wait=wait, port=port)]
        else:
            runs = runner.run_seeds(loaded, several, until=until, out=out, tracker=tracker, wait=wait, port=port)
    except KeyboardInterrupt:
        stopped()
    _show_runs(runs)


def init(
    name: Annotated[str | None, typer.Argument(help="The recipe to copy; without it, they are listed.")] = None,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to.")] = Path(),
) -> None:
    """Copy a shipped recipe out, to be changed; without a name, list them."""
    from heedful.apps import shipped
    from heedful.apps.tables import print_table

    if name is None:
        print_table(("recipe", "title"), shipped.titles())
    else:
        typer.echo(f"{shipped.copy_out(name, folder)}")


def report(run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")]) -> None:
    """Render the report of a run again, from its artifacts; print its path."""
    from heedful.apps.rerendering import render_again

    typer.echo(f"{render_again(run)}")


def overrides(assignments: list[str] | None) -> dict[str, Any]:
    """Return path to value of all `--set` options; ConfigError where one is not PATH=VALUE."""
    from heedful.records.recipes import parse_assignment

    return dict(parse_assignment(text) for text in assignments or [])


def parse_seeds(text: str) -> list[int]:
    """Return the seeds that "0-9" or "1,3,5-7" means; ConfigError where it means none."""
    from heedful.errors import ConfigError

    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ConfigError(f"--seeds {text}: numbers were expected, such as 0-9 or 1,3,5")
        seeds += range(int(first), int(last if dash else first) + 1)
    if not seeds or len(seeds) != len(set(seeds)):
        raise ConfigError(f"--seeds {text}: rising, different numbers were expected, such as 0-9")
    return seeds


def stopped() -> None:
    """Say how to go on after Ctrl-C, and leave with exit code 130."""
    typer.echo("heed: stopped; nothing is lost, the same command goes on from the last checkpoint", err=True)
    raise typer.Exit(130)


def _show_plans(recipe: Recipe, seeds: list[int] | None, until: str | None, out: Path | None) -> None:
    from heedful.apps.runner import dry_run
    from heedful.apps.tables import print_table

    for seed in [None] if seeds is None else seeds:
        if seed is not None:
            typer.echo(f"seed {seed}")
        planned = dry_run(recipe, seed=seed, until=until, out=out)
        rows = [(each.name, each.stage, each.state, (each.digest or "")[:12]) for each in planned]
        print_table(("name", "stage", "would", "digest"), rows)


def _show_runs(runs: list[Run]) -> None:
    from heedful.apps.headlines import headline
    from heedful.apps.tables import print_table
    from heedful.engines.progress import duration

    for run in runs:
        rows = [(step.name, step.state, duration(step.seconds), headline(step.artifact)) for step in run.steps]
        print_table(("stage", "", "time", "figures"), rows)
        typer.echo("")
        verdicts = [step.artifact.metrics.get("verdict") for step in run.steps]
        for verdict in filter(None, verdicts):
            typer.echo(f"{verdict}\n")
        typer.echo(f"run: {run.folder}")
        if run.report is not None:
            typer.echo(f"report: {run.report}")
