"""Run jobs in worker processes of this machine.

A job runs in a fresh interpreter (`rewardsmith.worker`) whose environment holds no keys, and
answers with JSON lines: progress, then its result. A worker that dies takes only its own job down;
one whose files cannot be written or read stops everything, since a full disk is no fault of a job.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rewardsmith.errors import ResultsError, StorageError, WorkerError
from rewardsmith.execution.base import Done, Job, Outcome, Progress
from rewardsmith.files import writing
from rewardsmith.settings import Settings

STOPS = {kind.__name__: kind for kind in (ResultsError, StorageError)}
"""Errors of a worker that are not its job's fault: they are raised here."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

Event = tuple[str, Any]
"""A job's name, and what it reported, or at the end its `Outcome`."""


@dataclass
class _Running:
    job: Job
    process: subprocess.Popen[bytes]
    pipe: int
    started: float
    buffer: bytes = b""
    outcome: Outcome | None = None
    timed_out: bool = False
    ended: bool = False


@dataclass
class LocalExecutor:
    """Implements `rewardsmith.execution.base.Executor` on this machine.

    Attributes:
        workers: processors to use: so many jobs of one core each run at once.
        environment: environment variables of the workers, without keys.
        place: none but this machine.
    """

    workers: int
    environment: Mapping[str, str]
    place: str = ""
    _running: list[_Running] = field(default_factory=list, init=False)

    @classmethod
    def connect(cls, settings: Settings, environment: Mapping[str, str]) -> LocalExecutor:
        """Use the processors that the run may have.

        Args:
            settings: of the run.
            environment: of the workers, without keys.
        """
        return cls(settings.training.workers or cores(), environment)

    def run(
        self,
        jobs: Sequence[Job],
        on_progress: Progress = lambda name, data: None,
        on_done: Done = lambda name, outcome: None,
    ) -> dict[str, Outcome]:
        """Run all jobs; see `Executor.run`."""
        outcomes: dict[str, Outcome] = {}
        with contextlib.closing(self.events(jobs)) as events:
            for name, event in events:
                if isinstance(event, Outcome):
                    outcomes[name] = event
                    on_done(name, event)
                else:
                    on_progress(name, event)
        return outcomes

    def events(self, jobs: Sequence[Job]) -> Generator[Event, None, None]:
        """Run all jobs, and tell what happens as it does; closed early, it kills their workers.

        Args:
            jobs: in the order in which they start.

        Raises:
            ResultsError: a file of a job is damaged, or cannot be written.
        """
        waiting = deque(jobs)
        selector = selectors.DefaultSelector()
        try:
            while waiting or self._running:
                while waiting and self._has_room(waiting[0]):
                    running = self._start(waiting.popleft())
                    selector.register(running.pipe, selectors.EVENT_READ, running)
                yield from self._pump(selector)
                for running in [item for item in self._running if item.ended]:
                    self._running.remove(running)
                    yield running.job.name, running.outcome
        finally:
            self._kill_all()
            selector.close()

    def _has_room(self, job: Job) -> bool:
        busy = sum(running.job.cores for running in self._running)
        return not self._running or busy + job.cores <= self.workers

    def _start(self, job: Job) -> _Running:
        with writing(job.log):
            job.log.parent.mkdir(parents=True, exist_ok=True)
            job.log.touch()
        read, write = os.pipe()
        variables = dict.fromkeys(THREAD_VARIABLES, "1")
        with job.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "rewardsmith.worker", str(write), str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**self.environment, **variables, "PYTHONPATH": import_path()},
                pass_fds=(write,),
                start_new_session=True,  # Ctrl-C reaches only us; we stop the workers
            )
        os.close(write)
        running = _Running(job, process, read, time.monotonic())
        self._running.append(running)
        with contextlib.suppress(BrokenPipeError):  # died already: seen when its pipe ends
            process.stdin.write(job.text().encode())  # type: ignore[union-attr]
            process.stdin.close()  # type: ignore[union-attr]
        return running

    def _pump(self, selector: selectors.BaseSelector) -> Iterator[Event]:
        for key, _ in selector.select(timeout=0.5):
            running: _Running = key.data
            data = os.read(running.pipe, 1 << 16)
            if data:
                running.buffer += data
                *lines, running.buffer = running.buffer.split(b"\n")
                for line in lines:
                    yield from self._message(running, json.loads(line))
            else:
                selector.unregister(running.pipe)
                self._finish(running)
        for running in self._running:
            limit = running.job.timeout_s
            late = limit is not None and time.monotonic() - running.started > limit
            if late and not running.timed_out:
                running.timed_out = True
                running.process.kill()

    @staticmethod
    def _message(running: _Running, message: dict[str, Any]) -> Iterator[Event]:
        if "progress" in message:
            yield running.job.name, message["progress"]
        elif "value" in message:
            running.outcome = Outcome(value=message["value"])
        elif "stop" in message:
            raise STOPS[message["stop"]](message["error"])
        else:
            error = WorkerError(message["error"], message.get("traceback", ""))
            running.outcome = Outcome(error=error)

    @staticmethod
    def _finish(running: _Running) -> None:
        """The pipe has ended: so has the worker, or it is about to."""
        os.close(running.pipe)
        code = running.process.wait()
        running.ended = True
        if running.outcome is None:
            reason = _exit_reason(code, running.job.log)
            if running.timed_out:
                reason = f"the worker was stopped after {running.job.timeout_s:g} s"
            running.outcome = Outcome(error=WorkerError(reason), timed_out=running.timed_out)

    def _kill_all(self) -> None:
        for running in self._running:
            running.process.kill()
        for running in self._running:
            running.process.wait()
            with contextlib.suppress(OSError):
                os.close(running.pipe)
        self._running.clear()


def cores() -> int:
    """Processors of this machine that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def import_path() -> str:
    """Where a process that is started finds what this one does, the package itself included."""
    root = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join(dict.fromkeys([root, *filter(None, sys.path)]))


def _exit_reason(code: int, log: Path) -> str:
    if code < 0:
        return f"the worker was killed by {signal.Signals(-code).name}"
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    last = f": {lines[-1][:300]}" if lines else ""
    return f"the worker ended with code {code}{last}"
