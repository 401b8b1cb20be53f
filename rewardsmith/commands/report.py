"""``rewardsmith report``: the result of a run as one page."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from rewardsmith.commands.shared import one_sentence
from rewardsmith.results import RunDirectory


def report(
    run: Annotated[Path, typer.Argument(help="folder of a run, finished or not")],
    show: Annotated[bool, typer.Option("--open", help="open it in the browser")] = False,
) -> None:
    """Write report.html of a run anew: one file that needs no network."""
    with one_sentence():
        from rewardsmith.page.write import write_report

        file = write_report(RunDirectory.open(run, "RUN"))
    typer.echo(file)
    if show:
        webbrowser.open(file.resolve().as_uri())
