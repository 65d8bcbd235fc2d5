"""heed label, heed label export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from heedful.feedback.setup.projects import Project

DATABASE = "runs/labels.sqlite"

label_app = typer.Typer(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
"""The command and what can be done beside serving."""


@label_app.callback()
def label(
    context: typer.Context,
    database: Annotated[
        str, typer.Option(metavar="URL", help="A file, sqlite:///FILE or postgresql://...; made where there is none.")
    ] = DATABASE,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Its port.")] = 8400,
    behind_tls: Annotated[
        bool, typer.Option("--behind-tls", help="A TLS proxy stands in front; needed for any host but this machine.")
    ] = False,
) -> None:
    """Serve the site where people label; print a one-time link for its manager."""
    if context.invoked_subcommand is not None:
        return
    from heedful.apps.web.serve import check_host, serve

    check_host(host, behind_tls=behind_tls)
    if "://" not in database:
        Path(database).expanduser().parent.mkdir(parents=True, exist_ok=True)
    serve(database, host, port, behind_tls=behind_tls, say=typer.echo)


@label_app.command("export")
def export_labels(
    project: Annotated[str | None, typer.Argument(help="The project's name; needed where there are several.")] = None,
    database: Annotated[str, typer.Option(metavar="URL", help="As for `heed label`.")] = DATABASE,
    kind: Annotated[
        str,
        typer.Option(
            help="rankings, revisions, table, preferences, labels, texts, demonstrations or parquet.",
        ),
    ] = "rankings",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PROJECT-KIND with its ending by default; replaced whole.")
    ] = None,
    every_revision: Annotated[bool, typer.Option("--every-revision", help="Also what was corrected later.")] = False,
    include_excluded: Annotated[
        bool, typer.Option("--include-excluded", help="Also answers of labelers who are excluded.")
    ] = False,
    include_surplus: Annotated[
        bool, typer.Option("--include-surplus", help="Also answers that came when a task had all it wanted.")
    ] = False,
    threshold: Annotated[
        int | None, typer.Option(help="Ratings as labels: the rating from which a text is good.")
    ] = None,
) -> None:
    """Write what people said in a project to a file."""
    from heedful.feedback.exchange.downloads import EXPORTS, Chosen, check_export, write_export
    from heedful.feedback.setup.projects import all_projects
    from heedful.feedback.store.database import Database
    from heedful.records.files import whole_file

    _check_kind(kind, tuple(EXPORTS))
    store = Database.open(_existing(database))
    try:
        about = _project(store.read(all_projects), project)
        check_export(about.mode, kind, threshold)
        chosen = Chosen(include_excluded, include_surplus, every_revision, threshold)
        if kind == "revisions":
            chosen = EXPORTS[kind].chosen
        path = out or Path(f"{about.name}-{kind}.{EXPORTS[kind].suffix}")
        with whole_file(path) as stream:
            rows = store.read(lambda s: write_export(s, about.id, kind, stream, chosen))
    finally:
        store.close()
    typer.echo(f"{path}: {rows} rows")


def _check_kind(kind: str, kinds: tuple[str, ...]) -> None:
    from heedful.errors import ConfigError
    from heedful.records.recipes import nearest

    if kind not in kinds:
        raise ConfigError(f"--kind {kind}: no such kind{nearest(kind, kinds)}; expected {', '.join(kinds)}")


def _existing(database: str) -> str:
    """Return the address of a database that is there; a command that only reads makes none."""
    from heedful.errors import DataError
    from heedful.feedback.store.database import parse_url

    url = parse_url(database)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        raise DataError("no such database", path=url.database, fix="say --database with the one that was labeled in")
    return database


def _project(found: list[Project], name: str | None) -> Project:
    from heedful.errors import ConfigError
    from heedful.records.recipes import nearest

    names = [each.name for each in found]
    if name is None:
        if len(found) == 1:
            return found[0]
        raise ConfigError(f"PROJECT: say which; there are {', '.join(names) or 'none'}")
    if name not in names:
        raise ConfigError(f"{name}: no project is called so{nearest(name, names)}")
    return found[names.index(name)]
