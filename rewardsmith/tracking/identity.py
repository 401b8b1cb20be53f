"""What a run is called elsewhere: the same when it goes on, another for any other run."""

from __future__ import annotations

import hashlib

from rewardsmith.results import RunDirectory


def identity(run: RunDirectory) -> tuple[str, str]:
    """Its number there (16 characters, hexadecimal), and its name."""
    name = run.root.resolve().name
    text = f"{name} {run.read_record().get('started')}"
    return hashlib.sha256(text.encode()).hexdigest()[:16], name
