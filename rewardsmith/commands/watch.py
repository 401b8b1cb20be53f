"""``rewardsmith watch``: a page that shows a run as it happens."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from rewardsmith.commands.shared import one_sentence
from rewardsmith.results import RunDirectory


def watch(
    run: Annotated[
        Path | None, typer.Argument(help="a run's folder; default: the newest in results")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            help="default: 8765, or the next that is free", min=1, max=65535, show_default=False
        ),
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="open it in the browser")] = False,
) -> None:
    """Show a run as it happens on a page, for this machine alone."""
    try:
        with one_sentence():
            _serve(run, port, open_page)
    except KeyboardInterrupt:
        return


def _serve(path: Path | None, port: int | None, open_page: bool) -> None:
    from rewardsmith.page.server import open_server

    run = RunDirectory.newest(Path("results")) if path is None else RunDirectory.open(path, "RUN")
    with open_server(run, port) as server:
        console = Console(highlight=False, soft_wrap=True)
        console.print(f"{escape(str(run.root))} is shown on [bold]{server.url}[/] (Ctrl-C ends it)")
        if open_page:
            webbrowser.open(server.url)
        server.serve_forever(poll_interval=0.1)
