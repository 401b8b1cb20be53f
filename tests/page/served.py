"""A run that is begun by hand, and its page served: what the tests of the live page share."""

from __future__ import annotations

import hashlib
import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from rewardsmith.config import to_yaml
from rewardsmith.metrics import Metrics
from rewardsmith.page.server import PageServer, open_server
from rewardsmith.results import RunDirectory
from tests.conftest import load_settings


@lru_cache
def _config() -> str:
    return to_yaml(load_settings("env=point"))


def begin_run(root: Path) -> RunDirectory:
    """A run that has been configured and has not asked for anything yet."""
    root.mkdir(parents=True)
    run = RunDirectory(root)
    run.write_config(_config())
    run.update_record(started="2026-11-27T10:00:00+0000", provider="builtin", model="none")
    return run


def ask(run: RunDirectory, candidates: int = 3) -> None:
    """The first round begins."""
    Metrics(run).iteration_started(1, 2, candidates)


@contextmanager
def served(run: RunDirectory, port: int = 0) -> Iterator[PageServer]:
    """The page of a run on a port, any by default."""
    server = open_server(run, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def request(
    server: PageServer, path: str = "/", method: str = "GET", **headers: str
) -> http.client.HTTPResponse:
    """Ask; `Host` and `Origin` may be given."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    named = {"Host": f"127.0.0.1:{server.server_port}", **headers}
    connection.request(method, path, headers=named)
    return connection.getresponse()


class Events:
    """Reads the events of a server."""

    def __init__(self, server: PageServer) -> None:
        self.response = request(server, "/events")

    def next(self) -> tuple[str, Any]:
        """Name and payload of the next event; heartbeats are passed over; EOF is an error."""
        name = ""
        while line := self.response.readline():
            key, _, value = line.decode().rstrip("\n").partition(": ")
            if key == "event":
                name = value
            elif key == "data":
                return name, json.loads(value)
        raise EOFError

    def close(self) -> None:
        """Hang up."""
        self.response.close()


def digest(folder: Path) -> str:
    """Of all names and contents below a folder."""
    total = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        total.update(str(file.relative_to(folder)).encode())
        if file.is_file():
            total.update(file.read_bytes())
    return total.hexdigest()
