"""What the commands share: an error is one sentence and an exit code; what a shell completes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from rewardsmith.errors import RewardsmithError


@contextmanager
def one_sentence() -> Iterator[None]:
    """Say what went wrong, and end the process."""
    try:
        yield
    except RewardsmithError as error:
        Console(stderr=True).print(escape(str(error)), soft_wrap=True, highlight=False)
        raise typer.Exit(error.exit_code) from None


def complete_task(incomplete: str) -> list[str]:
    """Names of tasks that begin so."""
    from rewardsmith.config import task_names

    return [name for name in task_names() if name.startswith(incomplete)]


def complete_run(incomplete: str) -> list[str]:
    """Folders of runs that begin so, and of ``results`` before anything is typed.

    A folder with runs below it is offered with a slash behind it, to go on from.
    """
    folder = incomplete.rpartition("/")[0] + "/" if "/" in incomplete else ""
    found: list[str] = []
    try:
        for entry in sorted(os.scandir(folder or "."), key=lambda item: item.name):
            path = folder + entry.name
            if not entry.is_dir() or not path.startswith(incomplete):
                continue
            if _holds_run(Path(path)):
                found.append(path)
            elif any(_holds_run(Path(inner)) for inner in os.scandir(path)):
                found += complete_run(path + "/")
    except OSError:
        return found
    return found


def _holds_run(folder: Path) -> bool:
    return (folder / "config.yaml").is_file()


RunArgument = Annotated[
    Path, typer.Argument(help="folder of a run, as results/reach", autocompletion=complete_run)
]
