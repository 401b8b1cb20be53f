"""What a job is, and what is promised by whoever runs it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rewardsmith.errors import WorkerError


@dataclass(frozen=True)
class Job:
    """One piece of work.

    Attributes:
        name: unique among the jobs that run together.
        target: ``package.module:function``; called with the payload and a progress function.
        payload: JSON-ready arguments. A `Path` in it is a file or folder below `folder` that the
            function reads or writes; the function gets its name as text, wherever it runs.
        log: file that takes what the worker prints.
        timeout_s: wall time after which it is killed; None for no limit.
        folder: of the run; None if the payload has no paths.
        reads: files below `folder` that must be there when it starts.
        cores: processors that it keeps busy.
    """

    name: str
    target: str
    payload: dict[str, Any]
    log: Path
    timeout_s: float | None = None
    folder: Path | None = None
    reads: tuple[Path, ...] = ()
    cores: int = 1

    def text(self, spell: Callable[[Path], Any] = str) -> str:
        """The job as the worker reads it.

        Args:
            spell: makes something that JSON knows of a path.
        """
        return json.dumps({"target": self.target, "payload": self.payload}, default=spell)


@dataclass(frozen=True)
class Outcome:
    """What became of a job: a value or an error.

    Attributes:
        value: what the function returned.
        error: why there is no value.
        timed_out: it was killed because its time was up.
    """

    value: Any = None
    error: WorkerError | None = None
    timed_out: bool = False


Progress = Callable[[str, dict[str, Any]], None]
Done = Callable[[str, Outcome], None]


class Executor(Protocol):
    """Runs jobs somewhere."""

    @property
    def workers(self) -> int:
        """Processors that one job can have where it runs."""
        ...

    @property
    def place(self) -> str:
        """Where jobs run, in words; empty for this machine."""
        ...

    def run(
        self, jobs: Sequence[Job], on_progress: Progress = ..., on_done: Done = ...
    ) -> dict[str, Outcome]:
        """Run all jobs; a failed one does not stop the others.

        A job that was lost with its machine is run again; one that failed is not. An exception of
        `on_progress` or `on_done`, or of Ctrl-C, stops all of them.

        Args:
            jobs: in the order in which they start, where there is not room for all.
            on_progress: told the job's name and what its function reported.
            on_done: told the job's name and its outcome, as soon as there is one.

        Returns:
            Outcomes by job name.
        """
        ...
