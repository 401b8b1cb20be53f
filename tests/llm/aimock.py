"""aimock, a mock of many providers' APIs that others wrote: installed once, started on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rewardsmith.llm.keys import without_secrets

VERSION = "1.43.0"
LOCKED = Path(__file__).parents[1] / "data" / "aimock"  # package.json, and the lock with its hash
OLDEST_NODE = (20, 15)


class Unavailable(Exception):
    """It cannot be had on this machine; the message says why."""


class Aimock:
    """A running aimock and its control interface."""

    def __init__(self, port: int) -> None:
        """Remember where it listens."""
        self.root = f"http://127.0.0.1:{port}"

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Call ``/__aimock/<path>``."""
        request = urllib.request.Request(
            f"{self.root}/__aimock/{path}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json"},
            method=method,
        )
        # A proxy of the user's is no way to loopback.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=5) as response:
            return json.loads(response.read() or b"null")


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "rewardsmith-tests" / f"aimock-{VERSION}"


def _node() -> str:
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        raise Unavailable("aimock needs Node and npm, which are not installed")
    version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout
    found = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if found < OLDEST_NODE:
        raise Unavailable(f"aimock needs Node 20.15 or later, found {version.strip() or 'none'}")
    return node


def _install(folder: Path) -> None:
    """Install once; other test processes see all of it or nothing."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        for file in LOCKED.iterdir():
            shutil.copy(file, temporary)
        command = [
            "npm",
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--prefix",
            temporary,
        ]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=60,
                env=without_secrets(os.environ),
            )
        except subprocess.TimeoutExpired:
            raise Unavailable("npm could not install aimock within 60 s") from None
        if done.returncode != 0:
            raise Unavailable(f"npm could not install aimock: {done.stderr.strip()[-200:]}")
        if not folder.exists():
            shutil.copytree(temporary, f"{folder}.{os.getpid()}", symlinks=True)
            try:
                os.rename(f"{folder}.{os.getpid()}", folder)
            except OSError:  # another process was faster
                shutil.rmtree(f"{folder}.{os.getpid()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(fixtures: dict[str, Any], folder: Path) -> Iterator[Aimock]:
    """Start a server.

    Args:
        fixtures: what it answers, in its own format.
        folder: for the file that they are handed over in.

    Raises:
        Unavailable: there is no Node, or npm cannot install it.
    """
    node, installed = _node(), _cache()
    if not installed.exists():
        _install(installed)
    file = folder / "fixtures.json"
    file.write_text(json.dumps(fixtures))
    port = _free_port()
    llmock = (installed / "node_modules" / ".bin" / "llmock").resolve()
    command = [node, str(llmock), "-p", str(port), "-f", str(file), "--strict"]
    command += ["--journal-max", "0"]
    child = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={"PATH": os.defpath}
    )
    try:
        server = Aimock(port)
        _wait_for(server, child)
        yield server
    finally:
        child.terminate()
        child.wait(timeout=10)


def _wait_for(server: Aimock, child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while child.poll() is None and time.monotonic() < deadline:
        try:
            server.control("GET", "health")
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise RuntimeError("aimock did not start")
