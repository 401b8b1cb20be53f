"""``rewardsmith tasks``: list the tasks, or show one with its fields."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rewardsmith import config as configuration
from rewardsmith.commands.shared import complete_task, one_sentence

WIDE = 110
"""Columns of a terminal that the whole list of tasks needs."""


def tasks(
    name: Annotated[
        str | None,
        typer.Argument(help="a task, to see its fields", autocompletion=complete_task),
    ] = None,
) -> None:
    """List the tasks, or show one with its fields."""
    with one_sentence():
        if name is None:
            _list_tasks()
        else:
            _show_task(name)


def _list_tasks() -> None:
    console = Console()
    wide = console.width >= WIDE  # or the ids would leave no room for the rest
    table = Table(box=None, pad_edge=False)
    for title in ("task", *(["environment"] if wide else []), "what is wanted"):
        table.add_column(title, no_wrap=title != "what is wanted")
    names = configuration.task_names()
    for name, env in zip(names, configuration.task_settings(names), strict=True):
        ids = [escape(env.short_id)] if wide else []
        table.add_row(name, *ids, escape(env.description.strip()))
    console.print(table)
    console.print(
        "\nThe fields of a task: rewardsmith tasks NAME"
        "\nA reward for it: rewardsmith run env=NAME"
        "\nAny other environment: rewardsmith run env=gym env.id=ID "
        "'env.description=\"What I want.\"'",
        highlight=False,
        soft_wrap=True,
    )


def _show_task(name: str) -> None:
    from rewardsmith.tasks.task import build_task

    [env] = configuration.task_settings([name])
    task = build_task(env)
    console = Console()
    for title, text in (
        (name, env.short_id),
        ("wanted", env.description.strip()),
        ("success", (env.success or "as the environment reports it").strip()),
        ("action", task.action),
    ):
        console.print(f"[bold]{escape(title)}[/]: {escape(text)}", highlight=False)
    table = Table("field", "shape", "unit", "meaning", box=None, pad_edge=False)
    for column in table.columns[:3]:
        column.no_wrap = True
    for item in task.layout.fields:
        table.add_row(item.name, item.shape, escape(item.unit or "–"), escape(item.meaning))
    console.print()
    console.print(table)
