"""heed show, heed gc, heed stages, heed doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def show(path: Annotated[Path, typer.Argument(help="An artifact, a link to one, or a run's folder.")]) -> None:
    """Print the lineage of an artifact, back to its data."""
    from heedful.apps.lineage import lineage, open_any

    for line in lineage(open_any(path)):
        typer.echo(line)


def gc(
    root: Annotated[Path, typer.Argument(help="The folder that holds your runs.")] = Path("runs"),
    days: Annotated[float, typer.Option(help="Unfinished work goes when it is older than this.")] = 7.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")] = False,
) -> None:
    """Remove artifacts that no run needs, and unfinished work that nobody went on with."""
    from heedful.apps.cleaning import find_rubbish, remove_rubbish, size_text

    rubbish = find_rubbish(root, days=days)
    for each in rubbish:
        typer.echo(f"{each.path}  {size_text(each.size)}")
    freed = sum(each.size for each in rubbish) if dry_run else remove_rubbish(rubbish)
    typer.echo(f"{len(rubbish)} folders, {size_text(freed)} {'would be freed' if dry_run else 'freed'}")


def stages() -> None:
    """List the stages, one line each."""
    from heedful.apps.commands_stage import summary
    from heedful.apps.tables import print_table
    from heedful.stages import STAGES

    print_table(("stage", "what it does"), [(name, summary(name)) for name in STAGES])


def doctor() -> None:
    """Say what this machine has, and what is missing; exit code 2 where nothing works without it."""
    from heedful.apps.doctor import examine
    from heedful.apps.tables import print_table

    findings = examine(Path())
    print_table(("", "found", ""), [(each.name, each.found, each.problem) for each in findings])
    if any(each.fatal for each in findings):
        raise typer.Exit(2)
