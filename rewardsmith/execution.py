"""Run jobs in worker processes: plain data in, plain data out.

A `Job` names a function and gives it a JSON payload. It runs in a fresh interpreter
(`rewardsmith.worker`) whose environment holds no keys, and answers with JSON lines: progress, then
its result. A worker that dies takes only its own job down; one whose files cannot be written or
read stops everything, since a full disk is no fault of a job. Nothing else in the program knows
where work runs.
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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rewardsmith.errors import ResultsError, StorageError, WorkerError
from rewardsmith.files import writing

STOPS = {kind.__name__: kind for kind in (ResultsError, StorageError)}
"""Errors of a worker that are not its job's fault: they are raised here."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Job:
    """One piece of work.

    Attributes:
        name: unique among the jobs that run together.
        target: ``package.module:function``; called with the payload and a progress function.
        payload: JSON-ready arguments.
        log: file that takes what the worker prints.
        timeout_s: wall time after which it is killed; None for no limit.
    """

    name: str
    target: str
    payload: dict[str, Any]
    log: Path
    timeout_s: float | None = None


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
    """Runs jobs on this machine, at most `workers` at once.

    Attributes:
        workers: processes at once.
        environment: environment variables of the workers, without keys.
    """

    workers: int
    environment: Mapping[str, str]
    _running: list[_Running] = field(default_factory=list, init=False)

    def run(
        self,
        jobs: Sequence[Job],
        on_progress: Progress = lambda name, data: None,
        on_done: Done = lambda name, outcome: None,
    ) -> dict[str, Outcome]:
        """Run all jobs; a failed one does not stop the others.

        Args:
            jobs: in the order in which they start.
            on_progress: told the job's name and what its function reported.
            on_done: told the job's name and its outcome, as soon as there is one.

        Returns:
            Outcomes by job name.

        Raises:
            ResultsError: a file of a job is damaged, or cannot be written.
        """
        waiting = deque(jobs)
        outcomes: dict[str, Outcome] = {}
        selector = selectors.DefaultSelector()
        try:
            while waiting or self._running:
                while waiting and len(self._running) < self.workers:
                    running = self._start(waiting.popleft())
                    selector.register(running.pipe, selectors.EVENT_READ, running)
                self._pump(selector, on_progress)
                for running in [item for item in self._running if item.ended]:
                    self._running.remove(running)
                    outcomes[running.job.name] = running.outcome  # type: ignore[assignment]
                    on_done(running.job.name, running.outcome)  # type: ignore[arg-type]
        finally:
            self._kill_all()
            selector.close()
        return outcomes

    def _start(self, job: Job) -> _Running:
        with writing(job.log):
            job.log.parent.mkdir(parents=True, exist_ok=True)
            job.log.touch()
        read, write = os.pipe()
        variables = dict.fromkeys(THREAD_VARIABLES, "1")
        path = os.pathsep.join(dict.fromkeys([_package_root(), *filter(None, sys.path)]))
        with job.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "rewardsmith.worker", str(write), str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**self.environment, **variables, "PYTHONPATH": path},
                pass_fds=(write,),
                start_new_session=True,  # Ctrl-C reaches only us; we stop the workers
            )
        os.close(write)
        running = _Running(job, process, read, time.monotonic())
        self._running.append(running)
        text = json.dumps({"target": job.target, "payload": job.payload}).encode()
        with contextlib.suppress(BrokenPipeError):  # died already: seen when its pipe ends
            process.stdin.write(text)  # type: ignore[union-attr]
            process.stdin.close()  # type: ignore[union-attr]
        return running

    def _pump(self, selector: selectors.BaseSelector, on_progress: Progress) -> None:
        for key, _ in selector.select(timeout=0.5):
            running: _Running = key.data
            data = os.read(running.pipe, 1 << 16)
            if data:
                running.buffer += data
                *lines, running.buffer = running.buffer.split(b"\n")
                for line in lines:
                    self._message(running, json.loads(line), on_progress)
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
    def _message(running: _Running, message: dict[str, Any], on_progress: Progress) -> None:
        if "progress" in message:
            on_progress(running.job.name, message["progress"])
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


def _package_root() -> str:
    return str(Path(__file__).resolve().parents[1])


def _exit_reason(code: int, log: Path) -> str:
    if code < 0:
        return f"the worker was killed by {signal.Signals(-code).name}"
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    last = f": {lines[-1][:300]}" if lines else ""
    return f"the worker ended with code {code}{last}"
