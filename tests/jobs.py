"""Functions that the tests of execution let workers run."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rewardsmith.errors import ConfigurationError, ResultsError

Report = Callable[[Any], None]


def double(payload: dict[str, Any], report: Report) -> int:
    return 2 * payload["number"]


def count(payload: dict[str, Any], report: Report) -> str:
    for number in range(payload["to"]):
        report({"number": number})
    return "counted"


def fail(payload: dict[str, Any], report: Report) -> None:
    raise ZeroDivisionError("nothing\nleft")


def refuse(payload: dict[str, Any], report: Report) -> None:
    raise ConfigurationError("This cannot be.")


def leave(payload: dict[str, Any], report: Report) -> None:
    print("the last words")
    sys.exit(3)


def unspeakable(payload: dict[str, Any], report: Report) -> object:
    return object()


def chat(payload: dict[str, Any], report: Report) -> None:
    print("to the output")
    print("to the error output", file=sys.stderr)
    os.system("echo from a child")


def overlap(payload: dict[str, Any], report: Report) -> int:
    """Stay for a moment; give how many were there at once."""
    mark = Path(payload["folder"]) / str(os.getpid())
    mark.touch()
    most = 0
    for _ in range(10):
        most = max(most, len(list(Path(payload["folder"]).iterdir())))
        time.sleep(0.02)
    mark.unlink()
    return most


def sleep(payload: dict[str, Any], report: Report) -> None:
    report({"pid": os.getpid()})
    time.sleep(600)


def linger(payload: dict[str, Any], report: Report) -> str:
    """Answer, but take a while to end."""
    import atexit

    atexit.register(time.sleep, 0.5)
    return "answered"


def with_child(payload: dict[str, Any], report: Report) -> None:
    child = subprocess.Popen(["sleep", "600"])
    report({"pid": os.getpid(), "child": child.pid})
    time.sleep(600)


def look_around(payload: dict[str, Any], report: Report) -> dict[str, Any]:
    raw = Path("/proc/self/environ").read_bytes()
    return {
        "environ": raw.decode(),
        "variables": dict(os.environ),
        "stdin": sys.stdin.read(),
        "command": sys.argv,
    }


def copy(payload: dict[str, Any], report: Report) -> str:
    """Read a file of the run and write another."""
    text = Path(payload["source"]).read_text()
    target = Path(payload["target"])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text.upper())
    return str(target)


def sleep_once(payload: dict[str, Any], report: Report) -> str:
    """Sleep for ever, unless somebody has done so before."""
    mark = Path(payload["mark"])
    first = not mark.exists()
    mark.touch()
    report({"pid": os.getpid()})
    if first:
        time.sleep(600)
    return "awake"


def no_room(payload: dict[str, Any], report: Report) -> None:
    try:
        raise OSError(errno.ENOSPC, "No space left on device", "model.zip")
    except OSError as error:
        raise RuntimeError("a library gave up") from error


def damaged(payload: dict[str, Any], report: Report) -> None:
    raise ResultsError("experience.npz is damaged.")
