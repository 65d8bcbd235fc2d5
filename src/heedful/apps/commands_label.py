"""heed label."""

from __future__ import annotations

from typing import Annotated

import typer


def label(
    database: Annotated[
        str, typer.Option(metavar="URL", help="A file, sqlite:///FILE or postgresql://...; made where there is none.")
    ] = "runs/labels.sqlite",
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Its port.")] = 8400,
    behind_tls: Annotated[
        bool, typer.Option("--behind-tls", help="A TLS proxy stands in front; needed for any host but this machine.")
    ] = False,
) -> None:
    """Serve the site where people label; print a one-time link for its manager."""
    from pathlib import Path

    from heedful.apps.web.serve import check_host, serve

    check_host(host, behind_tls=behind_tls)
    if "://" not in database:
        Path(database).expanduser().parent.mkdir(parents=True, exist_ok=True)
    serve(database, host, port, behind_tls=behind_tls, say=typer.echo)
