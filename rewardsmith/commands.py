"""The commands of ``rewardsmith`` beside the run itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from rewardsmith import config as configuration
from rewardsmith.errors import ConfigurationError, RewardsmithError
from rewardsmith.settings import Settings

app = typer.Typer(
    help="Reward functions for Gymnasium environments, written by a language model.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def main_command() -> None:
    """Reward functions for Gymnasium environments, written by a language model."""


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
        from rewardsmith.inspection import inspect_reward, open_run

        known = None if run is None else open_run(run)
        settings = _settings(env, known.config_file if known else None, overrides or [])
        findings = inspect_reward(file, settings, known)
    console = Console(highlight=False, soft_wrap=True)
    for finding in findings:
        style = "bold red" if finding.stops else None
        console.print(f"{finding.stage:<12}{escape(finding.text)}", style=style)
    stopped = any(finding.stops for finding in findings)
    console.print("It would not be trained." if stopped else "It would be trained.", style="bold")
    if stopped:
        raise typer.Exit(1)


def _settings(env: str | None, config_file: Path | None, overrides: list[str]) -> Settings:
    """The configuration of a run, or the shipped one; `env` chooses the task in the latter.

    Raises:
        ConfigurationError: the run is of another task.
    """
    if config_file is None:
        return configuration.composed(["llm=builtin", f"env={env or 'reach'}", *overrides])
    settings = configuration.resumed(config_file, overrides)
    if env is not None and settings.env != configuration.composed([f"env={env}"]).env:
        raise ConfigurationError(
            f"--env is {env!r}, but the run is of {settings.env.name!r}; leave --env out."
        )
    return settings
