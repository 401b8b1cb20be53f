"""What the commands share: an error is one sentence and an exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
