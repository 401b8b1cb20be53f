"""The commands of ``rewardsmith``: ``run`` is ``python gen.py``, the others look things up."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rewardsmith import config as configuration
from rewardsmith.errors import ConfigurationError, RewardsmithError
from rewardsmith.results import RunDirectory
from rewardsmith.settings import Settings

app = typer.Typer(
    help="Reward functions for Gymnasium environments, written by a language model.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
WIDE = 110
"""Columns of a terminal that the whole list of tasks needs."""
COMMANDS = ("run", "tasks", "check")


def main() -> None:
    """Run a command; ends the process with the exit code."""
    app(prog_name="rewardsmith")


@contextmanager
def _one_sentence() -> Iterator[None]:
    """Say what went wrong, and end the process."""
    try:
        yield
    except RewardsmithError as error:
        Console(stderr=True).print(escape(str(error)), soft_wrap=True, highlight=False)
        raise typer.Exit(error.exit_code) from None


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def run(context: typer.Context) -> None:
    """Design a reward (rewardsmith run env=push), like gen.py."""
    from rewardsmith import cli

    sys.argv = ["rewardsmith run", *context.args]
    cli.main()


@app.command()
def tasks(
    name: Annotated[str | None, typer.Argument(help="a task, to see its fields")] = None,
) -> None:
    """List the tasks, or show one with its fields."""
    with _one_sentence():
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
        ids = [escape(_short(env.id))] if wide else []
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
        (name, _short(env.id)),
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


def _short(env_id: str) -> str:
    """An id without the module that registers it."""
    return env_id.rpartition(":")[2]


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="a .py file, or Markdown with a block of Python")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="KEY=VALUE of the configuration")
    ] = None,
    env: Annotated[
        str | None, typer.Option(help="task; default: that of the run, or reach")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="a run whose episodes and rewards are compared with")
    ] = None,
) -> None:
    """Say whether a reward would be trained: 0 if so, 1 with the reason if not."""
    with _one_sentence():
        from rewardsmith.inspection import inspect_reward

        known = None if run is None else RunDirectory.open(run, "--run")
        settings = _settings(env, known, overrides or [])
        findings = inspect_reward(file, settings, known)
    console = Console(highlight=False, soft_wrap=True)
    for finding in findings:
        style = "bold red" if finding.stops else None
        console.print(f"{finding.stage:<12}{escape(finding.text)}", style=style)
    stopped = any(finding.stops for finding in findings)
    console.print("It would not be trained." if stopped else "It would be trained.", style="bold")
    if stopped:
        raise typer.Exit(1)


def _settings(env: str | None, run: RunDirectory | None, overrides: list[str]) -> Settings:
    """The configuration of a run, or the shipped one; `env` chooses the task in the latter.

    Raises:
        ConfigurationError: the run is of another task.
    """
    if run is None:
        return configuration.composed(["llm=builtin", f"env={env or 'reach'}", *overrides])
    settings = configuration.resumed(run.config_file, [*run.earlier_overrides(), *overrides])
    if env is not None and settings.env != configuration.composed([f"env={env}"]).env:
        raise ConfigurationError(
            f"--env is {env!r}, but the run is of {settings.env.name!r}; leave --env out."
        )
    return settings
