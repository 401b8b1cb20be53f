"""``rewardsmith check``: would a reward from a file be trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from rewardsmith import config as configuration
from rewardsmith.commands.shared import complete_run, complete_task, one_sentence
from rewardsmith.errors import ConfigurationError
from rewardsmith.results import RunDirectory
from rewardsmith.settings import Settings


def check(
    file: Annotated[Path, typer.Argument(help="a .py file, or Markdown with a block of Python")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="KEY=VALUE of the configuration")
    ] = None,
    env: Annotated[
        str | None,
        typer.Option(help="task; default: that of the run, or reach", autocompletion=complete_task),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            help="a run whose episodes and rewards are compared with", autocompletion=complete_run
        ),
    ] = None,
) -> None:
    """Say whether a reward would be trained.

    The exit code is 0 if so, and 1, with the reason, if not.
    """
    with one_sentence():
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
