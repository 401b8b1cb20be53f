"""The dialect and the namespace as layers of their own: what they let through must ask for nothing.

A throwaway child takes programs, checks them with the production code, and runs what is accepted in
the production namespace, but *without* the lock, while an audit hook listens: opening, connecting,
starting, importing, compiling and all else that Python tells of must not happen. Nothing that is
rejected is ever run there, so that what could be done is what the dialect lets through; resource
limits and an empty folder hold that.
"""

from __future__ import annotations

import ast
import json
import mmap
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from rewardsmith.reward import dialect, reasons, server, wire
from rewardsmith.types import TransitionLayout

ROWS = 7
ALARM_S = 0.5
"""Of processor time."""
PATIENCE_S = 10.0
"""For calls of C code, which no alarm interrupts."""
MEMORY = 1 << 30

Events = list[str]


@dataclass(frozen=True)
class Verdict:
    """What became of one program.

    Attributes:
        outcome: ``rejected``, ``accepted``, ``slow`` (accepted, and stopped), or ``crashed``.
        reason: why it was rejected, or how it failed when it was called; may be empty.
        line: where.
        events: what was asked of Python, and what changed for the next program. Must be empty.
    """

    outcome: str
    reason: str = ""
    line: int = 0
    events: tuple[str, ...] = ()


class Audit:
    """A child that judges one program after the other; started anew when it dies."""

    def __init__(self, layout: TransitionLayout) -> None:
        """Start nothing yet."""
        self.layout = layout
        self._child: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory()

    def __enter__(self) -> Audit:
        """Give itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the child; its folder must be as empty as it was."""
        self._stop()
        left = os.listdir(self._folder.name)
        self._folder.cleanup()
        assert left == [], f"files appeared: {left}"

    def judge(self, source: str) -> Verdict:
        """Check a program, run it if it is accepted, and say what was heard."""
        child = self._child or self._start()
        assert child.stdin is not None and child.stdout is not None
        data = source.encode("utf-8", "surrogatepass")
        try:
            child.stdin.write(len(data).to_bytes(4, "little") + data)
            child.stdin.flush()
        except BrokenPipeError:
            self._stop()
            return Verdict("crashed")
        ready, _, _ = select.select([child.stdout], [], [], PATIENCE_S)
        line = child.stdout.readline() if ready else b""
        if not line:
            self._stop()
            return Verdict("crashed" if ready else "slow")
        answer = json.loads(line)
        return Verdict(**{**answer, "events": tuple(answer["events"])})

    def _start(self) -> subprocess.Popen[bytes]:
        config = {
            "state_width": self.layout.state_width,
            "action_width": self.layout.action_width,
            "fields": [
                (item.name, item.start, item.stop, item.scalar) for item in self.layout.fields
            ],
        }
        self._child = subprocess.Popen(
            [sys.executable, "-B", "-m", "tests.reward.audit", json.dumps(config)],
            cwd=self._folder.name,
            env={"PYTHONPATH": str(Path(__file__).parents[2])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        return self._child

    def _stop(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
        self._child = None


# -- the child ------------------------------------------------------------------------------------


class _Alarm(BaseException):
    """It takes too long."""


class _Listener:
    """Writes down what Python is asked for while a program runs."""

    def __init__(self) -> None:
        self.armed = False
        self.events: Events = []
        self.definitions = 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.armed or self._expected(event, arguments):
            return
        self.events.append(f"{event} {str(arguments[:1])[:80]}")

    def _expected(self, event: str, arguments: tuple[Any, ...]) -> bool:
        """What the reward process itself does to a source: parse it, compile it, define it."""
        if event == "compile":
            return arguments[1] in ("<unknown>", "<reward>") or isinstance(arguments[0], ast.AST)
        if event == "open":  # the parser looks for the line that it minds in a file of that name
            return arguments[0] in ("<unknown>", "<reward>")
        if event == "exec" and arguments[0].co_filename == "<reward>":
            self.definitions += 1
            return arguments[0].co_name == "<module>" and self.definitions == 1
        return False


def _server(config: dict[str, Any]) -> server.Server:
    """A production server on memory of its own, with numbers in it."""
    widths = config["state_width"], config["action_width"]
    sizes = {"input": wire.input_bytes(ROWS, *widths), "output": wire.output_bytes(ROWS)}
    files = {name: os.memfd_create(name) for name in sizes}
    for name, size in sizes.items():
        os.ftruncate(files[name], size)
    with mmap.mmap(files["input"], sizes["input"]) as memory:
        numbers = np.sin(np.arange(sizes["input"] // 8))
        memory[:] = numbers.tobytes()
    return server.Server({**config, **files, "rows": ROWS})


def _world() -> list[Any]:
    """What one reward could leave to the next one."""
    modules = (np, np.linalg, __builtins__, server, dialect)
    spaces = [item if isinstance(item, dict) else vars(item) for item in modules]
    ids = [hash(tuple((key, id(value)) for key, value in space.items())) for space in spaces]
    return [*ids, np.geterr(), np.get_printoptions(), dict(os.environ), len(sys.modules)]


def _run(serving: server.Server, source: str) -> tuple[str, Events]:
    """Load and call it twice; the exception that ends this is the caller's."""
    serving.load(source)
    answers = []
    for _ in range(2):
        count = serving.evaluate(ROWS)
        answers.append(serving.results[: 1 + count].tobytes())
    return "", [] if answers[0] == answers[1] else ["memory of an earlier call"]


def _judge(serving: server.Server, source: str, listener: _Listener) -> Verdict:
    listener.events, listener.definitions = [], 0
    before = _world()
    outcome, reason, line, odd = "accepted", "", 0, []
    signal.setitimer(signal.ITIMER_PROF, ALARM_S, 0.05)
    try:
        listener.armed = True
        _, odd = _run(serving, source)
    except _Alarm:
        outcome = "slow"
    except BaseException as error:
        listener.armed = False
        signal.setitimer(signal.ITIMER_PROF, 0)
        outcome = "rejected" if isinstance(error, dialect.Violation) else "accepted"
        reason, _, _, (line, *_) = server._explain(error)
        if outcome == "accepted" and not listener.definitions:
            odd = [f"not rejected, and not compiled: {type(error).__name__}"]
        if isinstance(error, ImportError) or error.args == ("__import__",):
            odd = [*odd, "an import by a function that was not warmed up"]
        del error
    finally:
        listener.armed = False
        signal.setitimer(signal.ITIMER_PROF, 0)
    if reason and reason not in reasons.REASONS:
        odd.append(f"unknown reason {reason}")
    if _world() != before:
        odd.append("changed something for the next program")
    return Verdict(outcome, reason, line, (*listener.events, *odd))


def _ring(*_: object) -> NoReturn:
    raise _Alarm


def main() -> None:
    """Answer programs until standard input ends."""
    serving = _server(json.loads(sys.argv[1]))
    server.warm_up()
    signal.signal(signal.SIGPROF, _ring)
    listener = _Listener()
    sys.addaudithook(listener)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    source, answers = os.fdopen(os.dup(0), "rb"), os.dup(1)
    _world()
    while header := source.read(4):
        text = source.read(int.from_bytes(header, "little")).decode("utf-8", "surrogatepass")
        try:
            verdict = _judge(serving, text, listener)
        except _Alarm:  # it rang between two instructions of ours
            verdict = Verdict("slow")
        except MemoryError:
            verdict = Verdict("accepted", "memory")
        os.write(answers, json.dumps(vars(verdict)).encode() + b"\n")


if __name__ == "__main__":
    main()
