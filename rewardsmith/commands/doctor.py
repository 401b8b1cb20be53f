"""``rewardsmith doctor``: would a run work here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rewardsmith.commands.shared import one_sentence

if TYPE_CHECKING:
    from rewardsmith.doctor import Check

WIDEST = 110
MARKS = {"ok": "[green]✓[/]", "note": "[yellow]![/]", "bad": "[bold red]✗[/]"}


def doctor(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="KEY=VALUE of the run that is planned")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print data")] = False,
) -> None:
    """Say whether a run would work on this machine.

    Looks at versions, cores, memory, GPU, rendering, the sandbox, providers (without spending a
    token) and folders. The exit code is 0 if a run would work, and 1 if not.
    """
    console = Console(highlight=False)
    console.width = min(console.width, WIDEST)
    waiting = not as_json and console.is_terminal
    with one_sentence(), console.status("looking around …") if waiting else nullcontext():
        checks = _examined(overrides or [])
    works = all(item.state.value != "bad" for item in checks)
    if as_json:
        data = {"works": works, "checks": [asdict(item) for item in checks]}
        typer.echo(json.dumps(data, indent=2, ensure_ascii=False))
    else:
        console.print(_table(checks))
        what = "This run" if overrides else "A run"
        verdict = "would work." if works else "would not work: see ✗."
        console.print(f"\n{what} {verdict}", style="bold" if works else "bold red")
    if not works:
        raise typer.Exit(1)


def _examined(overrides: Sequence[str]) -> list[Check]:
    from rewardsmith import config as configuration
    from rewardsmith.doctor import examine
    from rewardsmith.llm.keys import take_environment

    environment = take_environment(Path.cwd())
    return examine(configuration.composed(overrides), environment)


def _table(checks: Sequence[Check]) -> Table:
    """A mark, the topic, what was found; what to do about it in a line of its own."""
    table = Table.grid(padding=(0, 1))
    table.add_column(width=1)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    topic = ""
    for item in checks:
        name = "" if item.topic == topic else item.topic
        topic = item.topic
        table.add_row(MARKS[item.state.value], name, escape(item.text))
        if item.advice:
            table.add_row("", "", f"[dim]→ {escape(item.advice)}[/]")
    return table
