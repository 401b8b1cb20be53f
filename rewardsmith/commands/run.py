"""``rewardsmith run``: the same as ``python gen.py``."""

from __future__ import annotations

import sys

import typer


def run(context: typer.Context) -> None:
    """Design a reward (rewardsmith run env=push), like gen.py."""
    from rewardsmith import cli

    sys.argv = ["rewardsmith run", *context.args]
    cli.main()
