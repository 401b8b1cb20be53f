"""A Ray cluster of two nodes on the loopback interface, for tests and benchmarks.

Nodes are stopped by the processes that were started here, never by ``ray stop``, which would end
every Ray process of the machine.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import psutil

from tests.runs import environment

HEAD, SECOND = "127.0.0.3", "127.0.0.2"  # Ray replaces 127.0.0.1 by another address
PATIENCE_S = 120
STARTS = 3
PATIENT = {"RAY_raylet_start_wait_time_s": "120", "RAY_agent_register_timeout_ms": "120000"}
"""For machines that are busy with other tests: Ray gives a node 30 seconds."""


class RayCluster:
    """Two nodes, of which one may be killed."""

    def __init__(self, cores: int = 1, variables: Mapping[str, str] | None = None) -> None:
        """Start both.

        Args:
            cores: that each node says it has.
            variables: further ones of the nodes' environment.
        """
        self.cores = cores
        self._variables = environment(**PATIENT, **(variables or {}))
        self._folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # sockets need short names
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}
        self.address = f"{HEAD}:{_free_port()}"
        try:
            port = self.address.rpartition(":")[2]
            # the client's server has a fixed port, which another cluster may have taken
            self._start(
                HEAD, "--head", f"--port={port}", f"--ray-client-server-port={_free_port()}"
            )
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Start the second node, which does not belong to the head."""
        self._start(SECOND, f"--address={self.address}")

    def _start(self, node: str, *arguments: str) -> None:
        """Start a node; on a busy machine Ray may give up on itself, so more than once."""
        for attempt in range(STARTS):
            log = self._folder.with_name(f"{self._folder.name}-{node}-{attempt}.log")
            self._nodes[node] = self._launch(node, log, *arguments)
            end = time.monotonic() + PATIENCE_S
            while self._nodes[node].poll() is None and time.monotonic() < end:
                if "Ray runtime started" in log.read_text(errors="replace"):
                    return
                time.sleep(0.1)
            self._kill(node)
        raise RuntimeError(f"the Ray node {node} did not start:\n{log.read_text()[-3000:]}")

    def _launch(self, node: str, log: Path, *arguments: str) -> subprocess.Popen[bytes]:
        extra = [f"--temp-dir={self._folder}", "--include-dashboard=false"] if node == HEAD else []
        with log.open("wb") as stream:
            return subprocess.Popen(
                [
                    str(Path(sys.executable).with_name("ray")),
                    "start",
                    "--block",
                    f"--node-ip-address={node}",
                    f"--num-cpus={self.cores}",
                    "--disable-usage-stats",
                    *extra,
                    *arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env=self._variables,
                start_new_session=True,
            )

    def kill(self) -> None:
        """Kill the second node with everything that runs on it, as if its power had gone."""
        self._kill(SECOND)

    def _kill(self, node: str) -> None:
        started = self._nodes.pop(node)
        try:
            tree = [psutil.Process(started.pid)]
            tree += tree[0].children(recursive=True)
        except psutil.NoSuchProcess:
            tree = []
        for process in tree:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(tree, timeout=10)
        started.wait()

    def close(self) -> None:
        """Stop what is left."""
        for node in list(self._nodes):
            self._kill(node)
        for path in self._folder.parent.glob(f"{self._folder.name}*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def __enter__(self) -> RayCluster:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HEAD, 0))
        port: int = probe.getsockname()[1]
        return port
