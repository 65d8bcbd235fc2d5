"""heed backup, heed restore."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DATABASE = Annotated[str, typer.Option(metavar="URL", help="The site's: a file, sqlite:///FILE or postgresql://...")]


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; an earlier backup there gives way to it.")],
    database: DATABASE = "runs/labels.sqlite",
) -> None:
    """Write a backup of the labels while people work: one file, checked, from SQLite or PostgreSQL."""
    from heedful.feedback.store.backups import back_up

    size = back_up(database, file)
    typer.echo(f"{file}: {size / 2**20:.1f} MiB, checked")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup that `heed backup` wrote.")],
    database: DATABASE = "runs/labels.sqlite",
) -> None:
    """Put a backup into an empty database, SQLite or PostgreSQL; one that holds labels is left alone."""
    from heedful.feedback.store import backups

    done = backups.restore(file, database)
    typer.echo(f"{done.name}: {'holds the same already' if done.already_there else 'restored'}")
