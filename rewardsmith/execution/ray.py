"""Run jobs on a Ray cluster: files and plain data go out, files and plain data come back.

A node needs the same packages, no shared folder. On it, a task makes a folder of its own and starts
the same worker as on this machine, with an environment that holds no keys.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from rewardsmith.errors import ConfigurationError, ResultsError, StorageError, WorkerError
from rewardsmith.execution.base import Done, Job, Outcome, Progress
from rewardsmith.execution.local import LocalExecutor
from rewardsmith.files import write_whole, writing
from rewardsmith.installed import everything
from rewardsmith.llm.keys import without_secrets
from rewardsmith.settings import RaySettings, Settings

KNOCK_S = 10.0
"""How long the head of a cluster may take to answer."""

_FILE = "$file"
_LOG = "$log"


@dataclass(frozen=True)
class _Node:
    """A machine of the cluster.

    Attributes:
        id: of Ray.
        address: where it is.
        cores: processors that Ray may give away.
    """

    id: str
    address: str
    cores: int


@dataclass
class RayExecutor:
    """Implements `rewardsmith.execution.base.Executor` on an existing Ray cluster.

    Attributes:
        settings: of the cluster.
        workers: processors that one job has on its node.
        place: in words.
    """

    settings: RaySettings
    workers: int
    place: str
    _running: dict[Any, _Task] = field(default_factory=dict, init=False)

    @classmethod
    def connect(cls, settings: Settings, environment: Mapping[str, str]) -> RayExecutor:
        """Join the cluster, and see whether each of its nodes can do the work.

        Args:
            settings: of the run.
            environment: not used; the nodes have their own.

        Raises:
            ConfigurationError: there is no cluster, or a node differs from this machine in a way
                that results depend on.
        """
        _join(settings.ray.address)
        nodes = _nodes()
        smallest, largest = (pick(node.cores for node in nodes) for pick in (min, max))
        place = f"a Ray cluster: {', '.join(f'{node.address} ({node.cores})' for node in nodes)}"
        executor = cls(settings.ray, settings.training.workers or smallest, place)
        if executor.workers > largest:
            raise ConfigurationError(
                f"training.workers is {executor.workers}, but no node of the Ray cluster has so "
                f"many processors; the largest has {largest}."
            )
        executor._check(nodes, settings)
        return executor

    def run(
        self,
        jobs: Sequence[Job],
        on_progress: Progress = lambda name, data: None,
        on_done: Done = lambda name, outcome: None,
    ) -> dict[str, Outcome]:
        """Run all jobs; see `rewardsmith.execution.base.Executor.run`."""
        stored = _Store()
        try:
            for job in jobs:
                self._start(_Task(job, stored))
            return self._follow(on_progress, on_done)
        finally:
            self._cancel_all()

    # -- inside -----------------------------------------------------------------------------

    def _follow(
        self,
        on_progress: Progress = lambda name, data: None,
        on_done: Done = lambda name, outcome: None,
    ) -> dict[str, Outcome]:
        """Wait for all that was started."""
        outcomes: dict[str, Outcome] = {}
        while self._running:
            for task in self._next():
                outcome = self._take(task, on_progress)
                if outcome is not None:
                    outcomes[task.job.name] = outcome
                    on_done(task.job.name, outcome)
        return outcomes

    def _start(self, task: _Task, node: str | None = None) -> None:
        """Hand a job to the cluster.

        Args:
            task: of the job.
            node: id of the only node that it may run on.
        """
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        where: Any = NodeAffinitySchedulingStrategy(node, soft=False) if node else "SPREAD"
        remote = ray.remote(_work).options(
            num_cpus=0 if node else task.job.cores,
            num_gpus=0 if node else self.settings.gpus,
            max_retries=0,  # of ours, so that what was told is told anew
            num_returns="streaming",
            scheduling_strategy=where,
            name=f"rewardsmith {task.job.name}",
        )
        job, files = task.job, [task.stored.put(file) for file in task.job.reads]
        names = [_relative(file, job.folder) for file in job.reads]
        text = job.text(lambda path: {_FILE: _relative(path, job.folder)})
        task.messages = remote.remote(text, job.timeout_s, names, *files)
        task.starts += 1
        self._running[task.messages] = task

    def _next(self) -> list[_Task]:
        """Those that have something to tell."""
        import ray

        ready, _ = ray.wait(list(self._running), num_returns=1, fetch_local=False)
        return [self._running[messages] for messages in ready]

    def _take(self, task: _Task, on_progress: Progress) -> Outcome | None:
        """Take a message of a task; its outcome if it has come to its end."""
        import ray

        try:
            kind, data = ray.get(next(task.messages))
        except StopIteration:
            del self._running[task.messages]
            return task.outcome or Outcome(error=WorkerError("the job ended without a word"))
        except ray.exceptions.RayTaskError as error:  # the task itself, not what it worked on
            del self._running[task.messages]
            return Outcome(error=WorkerError(_last_line(error), str(error)))
        except ray.exceptions.RayError as error:
            del self._running[task.messages]
            return task.outcome or self._lost(task, error)
        if kind == "progress":
            on_progress(task.job.name, data)
        elif kind == "stop":
            raise StorageError(f"On a node of the cluster: {data}")
        else:
            _keep(task.job, data["files"])
            task.outcome = _outcome(data)
        return None

    def _lost(self, task: _Task, error: Exception) -> Outcome | None:
        """Start a job again that was lost with its node, unless that happens all the time."""
        if task.starts <= self.settings.retries:
            self._start(task)
            return None
        reason = f"lost with its node {task.starts} times, at last: {_last_line(error)}"
        return Outcome(error=WorkerError(reason))

    def _cancel_all(self) -> None:
        import ray

        for messages in self._running:
            with contextlib.suppress(ray.exceptions.RayError, ValueError):
                ray.cancel(messages)
        self._running.clear()

    def _check(self, nodes: Sequence[_Node], settings: Settings) -> None:
        """See whether each node has the same packages, and can lock a reward process.

        Raises:
            ConfigurationError: one does not, or cannot.
        """
        payload = {"sandbox": settings.sandbox.model_dump()}
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "log.txt"
            tasks = [
                _Task(Job(node.id, "rewardsmith.training.node:describe", payload, log), _Store())
                for node in nodes
            ]
            for task in tasks:
                self._start(task, task.job.name)
            said = self._follow()
        for node in nodes:
            _compare(node, said[node.id])


@dataclass
class _Task:
    """A job on its way.

    Attributes:
        job: what to do.
        stored: files that are on the cluster already.
        messages: that it sends, a generator of Ray.
        starts: how often it was begun.
        outcome: once it is known.
    """

    job: Job
    stored: _Store
    messages: Any = None
    starts: int = 0
    outcome: Outcome | None = None


class _Store:
    """Files that were put on the cluster, each once."""

    def __init__(self) -> None:
        self._known: dict[Path, Any] = {}

    def put(self, file: Path) -> Any:
        """Where the cluster has a file's content."""
        import ray

        if file not in self._known:
            self._known[file] = ray.put(file.read_bytes())
        return self._known[file]


def _join(address: str | None) -> None:
    """Connect this process to the cluster.

    Raises:
        ConfigurationError: Ray is not installed, or there is no cluster.
    """
    try:
        import ray
    except ImportError:
        raise ConfigurationError(
            "executor=ray needs the package ray: pip install 'rewardsmith[ray]'."
        ) from None
    address = address or os.environ.get("RAY_ADDRESS") or "auto"
    if ray.is_initialized():
        return
    try:
        if address != "auto":
            _knock(address)
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=False,
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigurationError(
            f"There is no Ray cluster at {address} ({_last_line(error)}): start one (ray start "
            "--head), give its address as ray.address=HOST:PORT, or take executor=local."
        ) from None


def _knock(address: str) -> None:
    """See whether anybody listens; Ray itself would try for minutes.

    Raises:
        ConfigurationError: it is no address of a cluster's head.
        OSError: nobody does.
    """
    host, separator, port = address.rpartition(":")
    if not (host and port.isdigit()) or "/" in host:
        raise ConfigurationError(
            f"ray.address is {address!r}, but it should be HOST:PORT of the cluster's head, and "
            "the run be started on one of the cluster's machines."
        )
    socket.create_connection((host.strip("[]"), int(port)), KNOCK_S).close()


def _nodes() -> list[_Node]:
    """Machines of the cluster that can be given work.

    Raises:
        ConfigurationError: there is none.
    """
    import ray

    nodes = [
        _Node(node["NodeID"], node["NodeManagerAddress"], int(node["Resources"].get("CPU", 0)))
        for node in ray.nodes()
        if node["Alive"]
    ]
    nodes = [node for node in nodes if node.cores]
    if not nodes:
        raise ConfigurationError("The Ray cluster has no node with a processor to give away.")
    return nodes


def _compare(node: _Node, outcome: Outcome) -> None:
    """See whether a node is as this machine is.

    Raises:
        ConfigurationError: it is not, so results would depend on where they come from.
    """
    if outcome.error is not None:
        raise ConfigurationError(f"The Ray node {node.address} cannot be used: {outcome.error}")
    here = everything()
    for package, there in outcome.value["versions"].items():
        if there != here.get(package):
            raise ConfigurationError(
                f"The Ray node {node.address} has {package} {there}, but this machine has "
                f"{here.get(package)}, so results would depend on where they come from: install "
                "the same packages on all nodes."
            )


def _relative(path: Path, folder: Path | None) -> str:
    assert folder is not None, f"a job with the path {path} has a folder"
    return path.relative_to(folder).as_posix()


def _keep(job: Job, files: Mapping[str, bytes]) -> None:
    """Write what came back of a job into its folder.

    Raises:
        ResultsError: a file cannot be written, or would land elsewhere.
    """
    for name, content in files.items():
        place = PurePosixPath(name)
        if name == _LOG:
            with writing(job.log):
                job.log.parent.mkdir(parents=True, exist_ok=True)
                with job.log.open("ab") as log:
                    log.write(content)
        elif job.folder is None or place.is_absolute() or ".." in place.parts:
            raise ResultsError(f"The job {job.name} sent a file {name!r} from outside its folder.")
        else:
            write_whole(job.folder / place, content)


def _outcome(data: Mapping[str, Any]) -> Outcome:
    error = data["error"] and WorkerError(*data["error"])
    return Outcome(data["value"], error, data["timed_out"])


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__


# -- on the node ----------------------------------------------------------------------------------


def _work(
    text: str, timeout_s: float | None, names: Sequence[str], *contents: bytes
) -> Iterator[tuple[str, Any]]:
    """Do a job in a folder of its own; a task of Ray.

    Args:
        text: of the job.
        timeout_s: of the job.
        names: of the files that it reads.
        contents: of these.

    Yields:
        ``progress`` with what it reported; at the end ``outcome`` with the fields of `Outcome` and
        the files that it wrote, or ``stop`` with what is wrong with the node's disk.
    """
    with tempfile.TemporaryDirectory(prefix="rewardsmith-") as scratch:
        folder, log = Path(scratch) / "run", Path(scratch) / "log.txt"
        try:
            for name, content in zip(names, contents, strict=True):
                write_whole(folder / name, content)
            data = json.loads(text, object_hook=_speller(folder))
            job = Job("job", data["target"], data["payload"], log, timeout_s)
            executor = LocalExecutor(1, without_secrets(dict(os.environ)))
            with contextlib.closing(executor.events([job])) as events:
                for _, event in events:
                    if isinstance(event, Outcome):
                        yield "outcome", {**_plain(event), "files": _written(folder, names, log)}
                    else:
                        yield "progress", event
        except ResultsError as error:
            yield "stop", str(error)


def _speller(folder: Path) -> Callable[[dict[str, Any]], Any]:
    """Makes paths on this node of what stands for them."""
    return lambda item: str(folder / item[_FILE]) if set(item) == {_FILE} else item


def _written(folder: Path, read: Sequence[str], log: Path) -> dict[str, bytes]:
    """Everything that a job wrote, by its name."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    names = {file.relative_to(folder).as_posix(): file for file in files}
    content = {name: file.read_bytes() for name, file in names.items() if name not in read}
    return {**content, _LOG: log.read_bytes() if log.exists() else b""}


def _plain(outcome: Outcome) -> dict[str, Any]:
    error = outcome.error and (str(outcome.error), outcome.error.traceback)
    return {"value": outcome.value, "error": error, "timed_out": outcome.timed_out}
