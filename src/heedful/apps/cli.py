"""The command `heed`. It parses, calls and shows; bodies import what they need, so that `--help` is light."""

from __future__ import annotations

import os
import sys
import warnings

import typer

from heedful.apps.commands_backup import backup, restore
from heedful.apps.commands_constitution import constitution_app
from heedful.apps.commands_label import label_app
from heedful.apps.commands_look import doctor, gc, show, stages
from heedful.apps.commands_model import export, push, serve_reward, try_
from heedful.apps.commands_run import init, report, run
from heedful.apps.commands_stage import stage_command, summary
from heedful.stages import STAGES

RECIPES, PEOPLE, MODELS, LOOKING, ALONE = "Recipes", "People", "Models", "Looking and tidying", "One stage alone"

app = typer.Typer(
    name="heed",
    help="Align a language model with people: rankings, reward model, PPO with a KL leash, report.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run", rich_help_panel=RECIPES)(run)
app.command("init", rich_help_panel=RECIPES)(init)
app.command("report", rich_help_panel=RECIPES)(report)
app.add_typer(label_app, name="label", rich_help_panel=PEOPLE)
app.add_typer(constitution_app, name="constitution", rich_help_panel=RECIPES)
app.command("backup", rich_help_panel=PEOPLE)(backup)
app.command("restore", rich_help_panel=PEOPLE)(restore)
app.command("try", rich_help_panel=MODELS)(try_)
app.command("export", rich_help_panel=MODELS)(export)
app.command("push", rich_help_panel=MODELS)(push)
app.command("serve-reward", rich_help_panel=MODELS)(serve_reward)
app.command("show", rich_help_panel=LOOKING)(show)
app.command("gc", rich_help_panel=LOOKING)(gc)
app.command("stages", rich_help_panel=LOOKING)(stages)
app.command("doctor", rich_help_panel=LOOKING)(doctor)
for _name in STAGES:
    # `report` as a command renders a run's report; its stage runs in recipes.
    if _name != "report":
        app.command(_name, help=summary(_name), rich_help_panel=ALONE)(stage_command(_name))


def main() -> None:
    """Run the command; a person's mistake gives one line on stderr and exit code 2, never a traceback (HEED_DEBUG=1 shows it)."""
    from heedful.errors import HeedError

    # Other people's notes to other people's callers; ours are errors in the tests.
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers|peft")
    try:
        app()
    except (HeedError, OSError) as error:
        if os.environ.get("HEED_DEBUG") == "1":
            raise
        print(f"heed: {_one_line(error)}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code if isinstance(error, HeedError) else 2)


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split("\n")) or type(error).__name__


if __name__ == "__main__":
    main()
