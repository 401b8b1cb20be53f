"""``rewardsmith replay``: does a run come to the same from its record, for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console as RichConsole
from rich.markup import escape
from rich.table import Table

from rewardsmith.commands.shared import RunArgument, one_sentence
from rewardsmith.errors import Interrupted, ResultsError
from rewardsmith.replaying import Difference
from rewardsmith.results import RunDirectory

SHOWN = 20
"""Differences that are listed."""


def replay(run: RunArgument) -> None:
    """Run again from the record, at no cost, and compare.

    The new run lands beside the old one. The exit code is 0 if the ranking and all numbers are the
    same, and 1, with the differences, if not.
    """
    with one_sentence():
        from rewardsmith.replaying import ORDER, WINNER, changed_versions, differences

        recorded = RunDirectory.open(_named(run), "RUN")
        replayed = _run_again(recorded)
        found = differences(recorded, replayed)
        versions = changed_versions(recorded, replayed)
    console = RichConsole(highlight=False, soft_wrap=True)
    if not found:
        console.print(
            f"The same: {escape(str(replayed.root))} ranks all candidates as "
            f"{escape(str(recorded.root))} did, with equal numbers.",
            style="bold",
        )
        return
    ranked = any(item.what in (ORDER, WINNER) for item in found)
    verdict = "The ranking is different." if ranked else "The same ranking, but other numbers."
    console.print(verdict, style="bold red")
    console.print(_table(found))
    if len(found) > SHOWN:
        console.print(f"and {len(found) - SHOWN} more")
    console.print(escape(_reason(versions)))
    raise typer.Exit(1)


def _named(path: Path) -> Path:
    """A path with a folder above it, in which the new run lands."""
    return path if path.name not in ("", "..") else path.resolve()


def _run_again(recorded: RunDirectory) -> RunDirectory:
    """Make the new run, beside the old one.

    Raises:
        Interrupted: by Ctrl-C.
        ResultsError: it made no run.
        RewardsmithError: whatever else ends a run.
    """
    from rewardsmith import config as configuration
    from rewardsmith.assembly import Beginning, carry_out
    from rewardsmith.console import Console
    from rewardsmith.llm.keys import take_environment
    from rewardsmith.replaying import replay_settings

    settings, console = replay_settings(recorded), Console()
    planned = configuration.planned_iterations(recorded.config_file)
    environment = take_environment(Path.cwd())
    try:
        carry_out(Beginning(settings, environment, "from its record", planned=planned), console)
    except KeyboardInterrupt:
        raise Interrupted("stopped; nothing was compared.") from None
    if console.run is None:
        raise ResultsError("The replay made no run.")
    return console.run


def _table(found: Sequence[Difference]) -> Table:
    table = Table("", "recorded", "replayed", box=SIMPLE_HEAD)
    for item in found[:SHOWN]:
        table.add_row(*(escape(text) for text in (item.what, item.recorded, item.replayed)))
    return table


def _reason(versions: Sequence[str]) -> str:
    if versions:
        return f"Perhaps because of other versions: {', '.join(versions)}."
    return (
        "The versions are those of the record: it was changed, or the machine computes otherwise."
    )
