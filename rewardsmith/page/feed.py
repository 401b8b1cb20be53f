"""What the live page shows: a run's data, read again only when its folder has changed."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rewardsmith.errors import RewardsmithError
from rewardsmith.results import RunDirectory

LOOK_S = 1.0
"""Seconds between two looks at the folder, at least."""

SHARE = 0.2
"""Of its time, what reading may take: a large run is read less often."""

Collect = Callable[[], dict[str, Any]]


@dataclass(frozen=True)
class Snapshot:
    """What there was to show at some moment.

    Attributes:
        number: grows whenever something else is to be shown.
        data: of the run, None if it could not be read.
        trouble: why not, in a sentence; None if it could.
    """

    number: int
    data: dict[str, Any] | None
    trouble: str | None

    @cached_property
    def event(self) -> bytes:
        """The same as a server-sent event: ``data`` or ``trouble``, JSON on one line."""
        name, value = ("data", self.data) if self.trouble is None else ("trouble", self.trouble)
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return f"event: {name}\ndata: {text}\n\n".encode(errors="backslashreplace")


class Feed:
    """Looks at one run for any number of readers, and no more often than for one.

    Nothing runs in the background: where nobody asks, nothing is read.
    """

    def __init__(self, run: RunDirectory, collect: Collect) -> None:
        """Follow a run.

        Args:
            run: which.
            collect: reads it, e.g. a `rewardsmith.page.follow.Follower`.
        """
        self._run = run
        self._collect = collect
        self._lock = threading.Lock()
        self._due = 0.0
        self._seen: object = None
        self._snapshot = Snapshot(0, None, None)

    def latest(self) -> Snapshot:
        """What is to be shown now; no older than `LOOK_S`, or than `SHARE` allows."""
        with self._lock:
            started = time.monotonic()
            if started >= self._due:
                self._look()
                took = time.monotonic() - started
                self._due = started + max(LOOK_S, took / SHARE)
            return self._snapshot

    def _look(self) -> None:
        seen = self._signature()  # before reading: what changes meanwhile is read next time
        if seen == self._seen:
            return
        number = self._snapshot.number + 1
        try:
            if seen is None:
                raise FileNotFoundError(f"{self._run.root} is gone")
            data = self._collect()
            snapshot = Snapshot(number, data, None)
            snapshot.event  # noqa: B018 - made once for all streams, and here, where it may fail
            self._snapshot = snapshot
        except Exception as error:  # whatever is wrong with the files, the page stays and says so
            self._snapshot = Snapshot(number, None, _sentence(error))
        self._seen = seen

    def _signature(self) -> object:
        """Differs from an earlier one if anything was written: files are appended to, or renamed.

        A file that is written whole changes the folder that it is in.
        """
        try:
            with os.scandir(self._run.root) as entries:
                found = [(item.name, item.stat(follow_symlinks=False)) for item in entries]
        except OSError:
            return None
        return sorted((name, at.st_ino, at.st_size, at.st_mtime_ns) for name, at in found)


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, RewardsmithError):
        return text
    return f"The run cannot be read ({type(error).__name__}: {text[:300]})."
