"""heed constitution check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

constitution_app = typer.Typer(help="Principles that models criticise, revise and compare by.", no_args_is_help=True)


@constitution_app.command("check")
def check(
    file: Annotated[Path, typer.Argument(help="A constitution's TOML file, or the name of a shipped one.")],
    model: Annotated[
        str | None, typer.Option(help="A model folder or hub name: also say which prompts leave its context.")
    ] = None,
    room: Annotated[int, typer.Option(min=1, help="Tokens kept free for each answer, critique and revision.")] = 128,
) -> None:
    """Point out duplicates, empty requests, turn markers inside texts, and with a model what leaves its context.

    Exit code 2 where the constitution cannot be used as it is.
    """
    from heedful.records.constitution import constitution_path, read_constitution
    from heedful.records.constitution_checks import findings, too_long

    constitution = read_constitution(constitution_path(str(file), Path()))
    found = findings(constitution)
    if model is not None:
        from heedful.engines.judges.judge_text import token_counter

        count, context = token_counter(model)
        found += [] if context is None else too_long(constitution, count, context, room=room)
    for each in found:
        typer.echo(f"{'wrong' if each.wrong else 'look'}: {each}")
    uses = {use: sum(p.serves(use) for p in constitution.principles) for use in ("revision", "comparison")}
    typer.echo(
        f"{constitution.name} {constitution.digest}: {uses['revision']} principles to revise by, "
        f"{uses['comparison']} to compare by; {sum(each.wrong for each in found)} wrong, "
        f"{sum(not each.wrong for each in found)} to look at"
    )
    if any(each.wrong for each in found):
        raise typer.Exit(2)
