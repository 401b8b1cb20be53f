"""The commands of ``rewardsmith``, one module each: ``run`` is ``python gen.py``."""

from __future__ import annotations

import typer

from rewardsmith.commands.check import check
from rewardsmith.commands.compare import compare
from rewardsmith.commands.doctor import doctor
from rewardsmith.commands.export import export
from rewardsmith.commands.play import play
from rewardsmith.commands.replay import replay
from rewardsmith.commands.report import report
from rewardsmith.commands.run import run
from rewardsmith.commands.tasks import tasks
from rewardsmith.commands.watch import watch
from rewardsmith.notices import kept_off

app = typer.Typer(
    help="Reward functions for Gymnasium environments, written by a language model.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
# what follows a run's name is Hydra's
app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)(run)
for _command in (tasks, check, report, compare, watch, play, replay, export, doctor):
    app.command()(_command)
COMMANDS = tuple(item.callback.__name__ for item in app.registered_commands if item.callback)


def main() -> None:
    """Run a command; ends the process with the exit code."""
    with kept_off():
        app(prog_name="rewardsmith")
