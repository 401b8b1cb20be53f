"""Run jobs on a Slurm cluster through submitit; the run's folder must be one that all nodes see.

A job that Slurm starts does what this machine would do: it starts a worker, with an environment
that holds no keys. What the worker reports goes into a file, which is followed from here.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rewardsmith.errors import ConfigurationError, ResultsError, WorkerError
from rewardsmith.execution.base import Done, Job, Outcome, Progress
from rewardsmith.execution.local import LocalExecutor, import_path
from rewardsmith.llm.keys import without_secrets
from rewardsmith.settings import Settings, SlurmSettings

LOOK_S = 0.5
"""Seconds between two looks at what the jobs say."""


@dataclass
class SlurmExecutor:
    """Implements `rewardsmith.execution.base.Executor` on a Slurm cluster.

    Attributes:
        settings: of the cluster.
        environment: of the workers of jobs that run here, because they belong to no run yet.
    """

    settings: SlurmSettings
    environment: Mapping[str, str]
    _running: list[_Task] = field(default_factory=list, init=False)

    @classmethod
    def connect(cls, settings: Settings, environment: Mapping[str, str]) -> SlurmExecutor:
        """Find submitit, and Slurm.

        Args:
            settings: of the run.
            environment: of workers on this machine, without keys.

        Raises:
            ConfigurationError: one of them is missing.
        """
        _find(settings.slurm.cluster)
        return cls(settings.slurm, environment)

    @property
    def workers(self) -> int:
        """Processors of each job."""
        return self.settings.cores

    @property
    def place(self) -> str:
        """In words."""
        cluster = (
            "a Slurm cluster" if self.settings.cluster == "slurm" else "this machine, as Slurm"
        )
        return f"{cluster}, processors of each job: {self.workers}"

    def run(
        self,
        jobs: Sequence[Job],
        on_progress: Progress = lambda name, data: None,
        on_done: Done = lambda name, outcome: None,
    ) -> dict[str, Outcome]:
        """Run all jobs; see `rewardsmith.execution.base.Executor.run`.

        Those without a folder are small, and run on this machine: they are not worth a place in a
        queue.
        """
        here = [job for job in jobs if job.folder is None]
        outcomes = LocalExecutor(1, self.environment).run(here, on_progress, on_done)
        try:
            self._start([_Task(job) for job in jobs if job.folder is not None])
            while self._running:
                for task in list(self._running):
                    ended = task.handle.done()
                    for data in task.said():
                        on_progress(task.job.name, data)
                    outcome = self._outcome(task) if ended else None
                    if outcome is not None:
                        self._running.remove(task)
                        outcomes[task.job.name] = outcome
                        on_done(task.job.name, outcome)
                time.sleep(LOOK_S if self._running else 0)
        finally:
            self._cancel_all()
        return outcomes

    # -- inside -----------------------------------------------------------------------------

    def _start(self, tasks: Sequence[_Task]) -> None:
        """Hand tasks in, all at once, so that Slurm sees one array."""
        groups: dict[tuple[Path, int], list[_Task]] = {}
        for task in tasks:
            groups.setdefault((task.folder, task.job.cores), []).append(task)
        for (folder, cores), group in groups.items():
            executor = self._executor(folder, cores)
            with _findable(), executor.batch():
                for task in group:
                    task.begin(executor)
            self._running += group

    def _executor(self, folder: Path, cores: int) -> Any:
        import submitit

        settings = self.settings
        executor = submitit.AutoExecutor(folder, cluster=settings.cluster)
        memory = {} if settings.memory_gib is None else {"mem_gb": settings.memory_gib}
        partition = {} if settings.partition is None else {"slurm_partition": settings.partition}
        executor.update_parameters(
            name="rewardsmith",
            timeout_min=max(1, round(60 * settings.hours)),
            cpus_per_task=cores,
            **memory,
            **partition,
            **settings.parameters,
        )
        return executor

    def _outcome(self, task: _Task) -> Outcome | None:
        """What became of a task that is over; one that came to nothing is handed in again."""
        try:
            value: Outcome | ResultsError = task.handle.result()
        except Exception as error:  # submitit's own, or what the job died of before it began
            if task.starts <= self.settings.retries:
                self._running.remove(task)
                self._start([task])
                return None
            reason = f"Slurm lost it {task.starts} times, at last: {_gist(error)}"
            return Outcome(error=WorkerError(reason))
        if isinstance(value, ResultsError):
            raise value
        return value

    def _cancel_all(self) -> None:
        for task in self._running:
            with contextlib.suppress(Exception):  # it may have ended meanwhile
                task.handle.cancel()
        self._running.clear()


@dataclass
class _Task:
    """A job on its way.

    Attributes:
        job: what to do.
        handle: of submitit.
        starts: how often it was handed in.
    """

    job: Job
    handle: Any = None
    starts: int = 0
    _read: int = 0

    @property
    def folder(self) -> Path:
        """Where submitit keeps its own files, and the workers what they report."""
        assert self.job.folder is not None
        return self.job.folder.resolve() / "logs" / "slurm"

    @property
    def _messages(self) -> Path:
        name = self.job.name.replace("/", "_")
        return self.folder / f"{name}_{os.getpid()}_{self.starts}.jsonl"

    def begin(self, executor: Any) -> None:
        """Hand the job in."""
        self.starts += 1
        self._read = 0
        self._messages.parent.mkdir(parents=True, exist_ok=True)
        self._messages.write_bytes(b"")
        self.handle = executor.submit(_work, _absolute(self.job), self._messages)

    def said(self) -> Iterator[dict[str, Any]]:
        """What the worker has reported since the last look."""
        with self._messages.open("rb") as stream:
            stream.seek(self._read)
            whole, separator, _ = stream.read().rpartition(b"\n")
        self._read += len(whole) + len(separator)
        for line in whole.splitlines():
            yield json.loads(line)


def _find(cluster: str) -> None:
    """See whether jobs can be handed in.

    Raises:
        ConfigurationError: they cannot.
    """
    import shutil

    try:
        import submitit  # noqa: F401
    except ImportError:
        raise ConfigurationError(
            "executor=slurm needs the package submitit: pip install 'rewardsmith[slurm]'."
        ) from None
    if cluster == "slurm" and shutil.which("sbatch") is None:
        raise ConfigurationError(
            "executor=slurm needs Slurm, but there is no sbatch on this machine: start the run on "
            "a login node, or try slurm.cluster=local."
        )


def _absolute(job: Job) -> Job:
    """The job with paths that do not depend on where it is looked at."""
    payload = json.loads(job.text(lambda path: str(path.resolve())))["payload"]
    return replace(job, payload=payload, log=job.log.resolve(), folder=None, reads=())


@contextlib.contextmanager
def _findable() -> Iterator[None]:
    """Let what is handed in find this package, which may be a clone; Slurm passes variables on."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = import_path()
    try:
        yield
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before


def _gist(error: BaseException) -> str:
    """What submitit says in a line: the last of a traceback, where there is one, else its first."""
    said = re.split(r"-{10,}", str(error))
    trace = said[1] if "trace" in said[0] and len(said) > 1 else ""
    lines = [line.strip(" -") for line in (trace or said[0]).splitlines() if line.strip(" -")]
    return lines[-1 if trace else 0].rstrip(".:") if lines else type(error).__name__


# -- on the node ----------------------------------------------------------------------------------


def _work(job: Job, messages: Path) -> Outcome | ResultsError:
    """Do a job in a process that Slurm has started; say what is wrong with the disk, if it is."""
    executor = LocalExecutor(job.cores, without_secrets(dict(os.environ)))
    with messages.open("ab", buffering=0) as stream:

        def told(_: str, data: dict[str, Any]) -> None:
            stream.write(json.dumps(data).encode() + b"\n")

        try:
            return executor.run([job], told)[job.name]
        except ResultsError as error:
            return error
