"""``rewardsmith compare``: several runs on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rewardsmith.commands.shared import one_sentence
from rewardsmith.errors import ConfigurationError
from rewardsmith.results import RunDirectory


def compare(
    runs: Annotated[list[Path], typer.Argument(help="folders of two or more runs")],
    output: Annotated[
        Path | None,
        typer.Option(help="file to write; default: comparison.html beside the first run"),
    ] = None,
) -> None:
    """Set runs side by side on one page: what won, and what it took."""
    with one_sentence():
        from rewardsmith.page.write import write_comparison

        found = [RunDirectory.open(run, "RUN") for run in runs]
        if len({run.root.resolve() for run in found}) < max(2, len(found)):
            raise ConfigurationError(
                f"RUN is {', '.join(str(run) for run in runs)}, but it must be two or more "
                "different runs."
            )
        file = write_comparison(found, output or found[0].root.parent / "comparison.html")
    typer.echo(file)
