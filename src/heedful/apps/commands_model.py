"""heed try, heed export, heed push, heed serve-reward."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from heedful.errors import DataError

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")]


def try_(
    run: RunFolder,
    prompt: Annotated[str | None, typer.Option(help="Answer this one prompt and leave.")] = None,
) -> None:
    """Type a prompt, and see the answers of the model before and after, side by side."""
    if prompt is not None:
        _answer(run, prompt)
        return
    typer.echo("Type a prompt; an empty line or Ctrl-D ends.", err=True)
    while True:
        try:
            text = input("prompt> ")
        except (EOFError, KeyboardInterrupt):
            return
        if not text.strip():
            return
        try:
            _answer(run, text)
        except DataError as error:  # a prompt that is too long, say: the next one may do
            typer.echo(f"heed: {error}", err=True)


def export(run: RunFolder, folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to.")]) -> None:
    """Write the aligned model as a plain folder: merged weights, tokenizer, generation config, model card."""
    from heedful.engines.exporting import export as write_model

    typer.echo(f"{write_model(run, folder)}")


def push(run: RunFolder, repo: Annotated[str, typer.Argument(metavar="REPO", help="Such as name/model.")]) -> None:
    """Export the aligned model and send it to a model hub; print its address there."""
    from heedful.engines.exporting import push as send_model

    typer.echo(send_model(run, repo))


def serve_reward(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A reward artifact, or the folder of a reward model.")],
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Its port; 0 takes a free one.")] = 8500,
    batch_rows: Annotated[
        int, typer.Option("--batch-rows", min=1, help="Requests that wait are scored together up to so many texts.")
    ] = 64,
    token: Annotated[
        str | None, typer.Option(metavar="NAME", help="The environment variable that holds a token callers must show.")
    ] = None,
    behind_tls: Annotated[
        bool, typer.Option("--behind-tls", help="A TLS proxy stands in front; needed for any host but this machine.")
    ] = False,
) -> None:
    """Serve a reward model over HTTP, for a run elsewhere that names it as a service."""
    from heedful.apps.scoring_service import serve_reward as serve

    serve(model, host, port, batch_rows=batch_rows, token_variable=token, behind_tls=behind_tls, say=typer.echo)


def _answer(run: Path, prompt: str) -> None:
    from heedful.apps.tables import print_pair
    from heedful.engines.chat import side_by_side

    for pair in side_by_side(run, prompt):
        print_pair(("before", pair["before"]), ("after", pair["after"]))
