"""``rewardsmith export``: the best of a run as a folder for the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from rewardsmith.commands.shared import RunArgument, one_sentence
from rewardsmith.errors import ConfigurationError
from rewardsmith.results import RunDirectory


def export(
    run: RunArgument,
    output: Annotated[
        Path | None, typer.Option(help="new or empty folder; default: RUN/hub")
    ] = None,
    push: Annotated[
        str | None, typer.Option(metavar="USER/MODEL", help="push it to the Hugging Face Hub")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="a new model is private")] = False,
) -> None:
    """Write the best reward and its policy into a folder.

    The layout is that of the Hugging Face Hub, with a model card. Nothing is contacted without
    --push; that needs HF_TOKEN or hf auth login.
    """
    console = Console(highlight=False, soft_wrap=True)
    with one_sentence():
        from rewardsmith.export import Hub, export_best
        from rewardsmith.llm.keys import take_environment

        if private and push is None:
            raise ConfigurationError("--private says how to push: give --push USER/MODEL as well.")
        found = RunDirectory.open(run, "RUN")
        environment = take_environment(Path.cwd())
        hub = None if push is None else Hub(push, environment)
        folder = output or found.hub_folder
        names = export_best(found, folder, push or "USER/MODEL", environment)
        console.print(f"{escape(str(folder))}: {', '.join(names)}")
        if hub is not None:
            console.print(f"Pushed to {hub.push(folder, private)}")
