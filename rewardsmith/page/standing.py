"""How a run stands: it may be going on, be finished, have stopped, or have been left unfinished."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from rewardsmith.files import read_text
from rewardsmith.page import words
from rewardsmith.page.progress import Progress
from rewardsmith.results import RunDirectory

LOG_BYTES = 12_000
"""Of the end of ``log.txt``."""
LOG_LINES = 60
QUIET_S = 180
"""Without an event for so long, a run that should be going on is said to be quiet."""


def standing(
    run: RunDirectory,
    record: dict[str, Any],
    summary: dict[str, Any],
    progress: Progress,
    log: Sequence[str],
) -> dict[str, Any]:
    """Whether a run is going on, finished, stopped or unfinished, and since when.

    Args:
        run: where it is.
        record: of ``run.json``.
        summary: the result, empty if there is none.
        progress: what its events say.
        log: its last lines.
    """
    error = _error(log)
    told = progress.last is not None
    over = progress.finished if told else bool(summary or record.get("finished"))
    if over:
        stopped = summary.get("stopped") or progress.stopped
        name, reason = ("stopped", stopped) if stopped else ("finished", None)
    elif error is not None:
        name, reason = "stopped", error
    elif not told and time.time() - (_modified(run) or 0.0) > QUIET_S:
        name, reason = "unfinished", None
    else:
        name, reason = "running", None
    last = progress.last or _modified(run)
    state = {
        "name": name,
        "reason": reason,
        "phase": progress.phase if name == "running" else "",
        "started": record.get("started"),
        "finished": record.get("finished") if over else None,
        "last": last,
        "now": round(time.time(), 3),
        "quiet_after": QUIET_S,
    }
    state["text"] = words.state(state)
    return state


def _modified(run: RunDirectory) -> float | None:
    """When the run last wrote to its log, or began."""
    for file in (run.log_file, run.record_file, run.config_file):
        if file.exists():
            return file.stat().st_mtime
    return None


def _error(log: Sequence[str]) -> str | None:
    """Why a run ended, if that is the last that it said."""
    last = log[-1] if log else ""
    _, mark, text = last.partition(" error: ")
    text = text.removeprefix("stopped; ")
    return text if mark and last[:8].replace(":", "").isdigit() else None


def log_lines(run: RunDirectory) -> list[str]:
    """The last lines of the log."""
    lines = read_text(run.log_file, LOG_BYTES).splitlines()
    return [line.rstrip() for line in lines if line.strip()][-LOG_LINES:]
