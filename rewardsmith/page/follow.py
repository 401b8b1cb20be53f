"""Collect a run's data again and again: what cannot have changed is not read a second time."""

from __future__ import annotations

import os
from typing import Any

from rewardsmith.page.data import collect
from rewardsmith.page.progress import Progress
from rewardsmith.results import RunDirectory
from rewardsmith.summary import Read


class Follower:
    """Reads one run for the live page; not for several threads at once."""

    def __init__(self, run: RunDirectory) -> None:
        """Follow a run from its beginning."""
        self._run = run
        self._forget()

    def _forget(self) -> None:
        self._progress = Progress()
        self._known = Read()
        self._file = (0, 0)
        self._read = 0
        self._torn = b""

    def __call__(self) -> dict[str, Any]:
        """What `rewardsmith.page.data.collect` says now.

        Raises:
            RewardsmithError: a file is damaged, or gone.
        """
        self._catch_up()
        return collect(self._run, full=False, progress=self._progress, known=self._known)

    def _catch_up(self) -> None:
        """Read on; a line whose end is not written yet waits for it."""
        try:
            stream = self._run.metrics_file.open("rb")
        except FileNotFoundError:
            self._forget()
            return
        with stream:
            found = os.fstat(stream.fileno())
            if (found.st_dev, found.st_ino) != self._file or found.st_size < self._read:
                self._forget()  # another file: a run that was copied here, or mended by hand
                self._file = (found.st_dev, found.st_ino)
            stream.seek(self._read)
            added = stream.read()
        self._read += len(added)
        *lines, self._torn = (self._torn + added).split(b"\n")
        self._progress.add(line.decode(errors="replace") for line in lines)
