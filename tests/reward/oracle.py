"""What must hold for any program whatever inside the production launcher: nothing gets out.

`Oracle` runs one program after the other, with the dialect or without it, and looks at everything
around it: files, listeners, children, threads, memory, a neighbour that is another candidate, and
each word that the trusted side says.
"""

from __future__ import annotations

import re
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import numpy as np
import psutil

from rewardsmith.reward import dialect, reasons
from rewardsmith.reward import process as reward_process
from rewardsmith.reward.failure import RewardFailure
from rewardsmith.reward.process import LIMIT, SUM_TOLERANCE, RewardProcess
from rewardsmith.settings import SandboxSettings
from rewardsmith.types import RewardFunction, Rewards, Status
from tests.reward import attacks
from tests.reward.attacks import PLANTED, targets
from tests.reward.conftest import GOOD, OBJECT, evaluate, make_transitions

LIMITS = SandboxSettings(
    allow_weaker=False, deadline_s=0.5, memory_mib=512, cpu_s=60, batch_rows=64
)
PATIENT = SandboxSettings(**{**dict(LIMITS), "deadline_s": 60.0})
LOAD_TIMEOUT_S = 3.0
ROWS = 24
USES = {True: 100, False: 8}
"""Programs for one process, with the dialect and without."""
PLACELESS = frozenset(
    {"too_long", "too_complex", "no_function", "parser_crash", "deadline", "memory", "died"}
)
"""Rejections that may name no line: of the whole text, or of a process that is gone."""
FLAT = 16 << 20
"""What the trusted side may grow by while it deals with one program."""


class Oracle:
    """Judges programs; `breaches` holds what should not have happened, and must stay empty."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self.breaches: list[str] = []
        self.outcomes: Counter[str] = Counter()
        self.peak = 0
        self._stack = ExitStack()
        self._running: dict[bool, RewardProcess] = {}
        self._uses: Counter[bool] = Counter()
        self._data = make_transitions(OBJECT, ROWS)

    def __enter__(self) -> Oracle:
        """Plant what is to be found, and start the other candidate."""
        self.facts, self._heard = self._stack.enter_context(targets())
        shorter = mock.patch.object(reward_process, "LOAD_TIMEOUT_S", LOAD_TIMEOUT_S)
        self._stack.enter_context(shorter)
        self._files = contents(self.facts["FOLDER"])
        self._neighbour = self._stack.enter_context(RewardProcess(OBJECT, PATIENT))
        self._neighbour.load(RewardFunction(GOOD))
        self._expected = self._ask_neighbour()
        self._neighbour_pid = self._neighbour.pid
        return self

    def __exit__(self, *error: object) -> None:
        """Close all processes."""
        for dialect_on in list(self._running):
            self._end(dialect_on)
        self._stack.close()

    def judge(self, source: str, *, dialect_on: bool) -> str:
        """Run a program and look around; give how it ended.

        Args:
            source: its text.
            dialect_on: False hands it over unchecked, with real builtins and modules.
        """
        process = self._process(dialect_on)
        before = psutil.Process().memory_info().rss
        outcome = self._run(process, source, dialect_on)
        self.outcomes[outcome] += 1
        breaches = self._look_around(process)
        if psutil.Process().memory_info().rss > before + FLAT:
            breaches.append("the trusted side grew")
        self.breaches += [f"{breach}\n{source}" for breach in breaches]
        self._uses[dialect_on] += 1
        if process._child.returncode is not None or self._uses[dialect_on] >= USES[dialect_on]:
            self._end(dialect_on)
        return outcome

    # -- running --------------------------------------------------------------------------------

    def _process(self, dialect_on: bool) -> RewardProcess:
        if dialect_on not in self._running:
            self._running[dialect_on] = self._start(dialect_on)
        return self._running[dialect_on]

    def _start(self, dialect_on: bool) -> RewardProcess:
        if dialect_on:
            return RewardProcess(OBJECT, LIMITS)
        boot = attacks.BOOT % (attacks.PRELUDE, self.facts)
        with mock.patch.object(reward_process, "_BOOT", boot):  # for the start alone
            return RewardProcess(OBJECT, LIMITS)

    def _end(self, dialect_on: bool) -> None:
        self._uses[dialect_on] = 0
        process = self._running.pop(dialect_on)
        process.close()

    def _run(self, process: RewardProcess, source: str, dialect_on: bool) -> str:
        loaded = False
        try:
            process.load(RewardFunction(source))
            loaded = True
            rewards = evaluate(process, self._data)
        except RewardFailure as failure:
            self._check_failure(failure, source, rejected=dialect_on and not loaded)
            if failure.reason in ("deadline", "died", "parser_crash", "memory"):
                return failure.reason
            return "failed" if loaded or not dialect_on else "rejected"
        except BaseException as error:
            self.breaches.append(f"the trusted side raised {error!r}\n{source}")
            return "raised"
        self._check_rewards(rewards, source)
        return "answered"

    # -- what it said ---------------------------------------------------------------------------

    def _check_rewards(self, rewards: Rewards, source: str) -> None:
        values = np.vstack([rewards.total, rewards.components])
        gap = np.abs(rewards.components.sum(axis=0) - rewards.total).max()
        fine = np.isfinite(values).all() and np.abs(values).max() <= LIMIT
        if not fine or gap > SUM_TOLERANCE * max(1.0, np.abs(values).max()):
            self.breaches.append(f"numbers out of bounds\n{source}")
        key = np.frombuffer(PLANTED.encode(), dtype=np.uint8)[:ROWS].astype(float)
        if any((row == key).all() for row in values):
            self.breaches.append(f"the key was read\n{source}")

    def _check_failure(self, failure: RewardFailure, source: str, *, rejected: bool) -> None:
        fault = failure.fault(Status.REJECTED if rejected else Status.PROBE_FAILED)
        problems = [*_wording(failure, source, self._names())]
        if rejected and not failure.line and failure.reason not in PLACELESS:
            problems.append("no line is named")
        if failure.reason == "deadline" and fault.status is not Status.TIMEOUT:
            problems.append("a missed deadline is no time-out")
        self.breaches += [
            f"{problem}: {failure.reason}: {failure}\n{source}" for problem in problems
        ]

    def _names(self) -> tuple[str, ...]:
        return tuple(name for process in self._running.values() for name in process.names)

    # -- what it did ----------------------------------------------------------------------------

    def _look_around(self, process: RewardProcess) -> list[str]:
        found = self._alive(process) if process._child.returncode is None else []
        if process._child.returncode is None and process._child.poll() is None:
            self.peak = max(self.peak, _peak(process.pid))
        if self.peak > LIMITS.memory_mib << 20:
            found.append(f"memory: {self.peak}")
        if PLANTED.encode() in bytes(process._output):
            found.append("the key is in the answer")
        if self._heard:
            found.append(f"a listener heard {self._heard}")
        if contents(self.facts["FOLDER"]) != self._files:
            found.append("a file changed")
        if self._ask_neighbour() != self._expected or self._neighbour.pid != self._neighbour_pid:
            found.append("the neighbour answers otherwise")
        return found

    @staticmethod
    def _alive(process: RewardProcess) -> list[str]:
        """Of a process that goes on: alone, with one thread, and locked."""
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
            children = psutil.Process(process.pid).children(recursive=True)
        except (OSError, psutil.NoSuchProcess):
            return []
        found = [f"children: {children}"] if children else []
        if "State:\tZ" in status:
            return found
        for line in ("Threads:\t1\n", "Seccomp:\t2\n", "NoNewPrivs:\t1\n"):
            if line not in status:
                found.append(f"not {line.strip()}")
        return found

    def _ask_neighbour(self) -> bytes:
        return evaluate(self._neighbour, self._data).total.tobytes()


def contents(folder: str) -> dict[str, bytes]:
    """Names and bytes of the files of a folder."""
    files = Path(folder).iterdir()
    return {item.name: item.read_bytes() if item.is_file() else b"" for item in files}


def _peak(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) << 10 if found else 0


def _wording(failure: RewardFailure, source: str, names: tuple[str, ...]) -> list[str]:
    """A message is a place of ours, a piece of that line, and one of our sentences."""
    text, problems = str(failure), []
    if failure.reason not in reasons.REASONS:
        return [f"unknown reason {failure.reason}"]
    if not text.isprintable():
        problems.append("not printable")
    if len(text) > 1_000:
        problems.append("too long")
    if failure.line:
        prefix = f"line {failure.line}, `"
        if not text.startswith(prefix):
            problems.append("another place")
        text = text[len(prefix) :]
    sentence = _SENTENCES[failure.reason].search(text)
    if sentence is None:
        return [*problems, "words that are not ours"]
    if named := sentence.groupdict().get("what"):
        name = named.removeprefix("Component `").removesuffix("`")
        if named != "The reward" and name not in names:
            problems.append(f"a component that is not one: {named}")
    excerpt = text[: sentence.start()].removesuffix("`: ")
    if excerpt and len(excerpt) > 120:
        problems.append("a long excerpt")
    if excerpt and not _within(excerpt, source):
        problems.append("words that are not in the source")
    return problems


def _within(excerpt: str, source: str) -> bool:
    """Whether a piece stands in the source, signs apart that cannot be printed."""
    plain = "".join(
        sign if sign.isprintable() or sign in "\n\r" else " " if sign == "\t" else "?"
        for sign in source.encode(errors="replace").decode()
    )
    return excerpt in plain


_BLANKS = {
    "{limit}": str(dialect.MAX_LENGTH),
    "{loop_limit}": str(dialect.MAX_LOOPS),
    "{fields}": re.escape(", ".join(item.name for item in OBJECT.fields)),
    "{memory_mib}": str(LIMITS.memory_mib),
    "{deadline_s}": r"[\d.]+",
    "{exception}": f"(?:{'|'.join(reasons.EXCEPTIONS)})",
    "{component}": r"(?:\d+|\?)",
    "{what}": "(?P<what>The reward|Component `[a-z0-9_]+`)",
    "{rows}": r"\d+",
    "{total}": r"\d+",
    "{gap:.3g}": r"[\d.e+-]+",
}


def _expression(sentence: str) -> re.Pattern[str]:
    parts = re.split(r"(\{[^}]*\})", sentence)
    return re.compile("".join(_BLANKS.get(part) or re.escape(part) for part in parts) + r"\Z")


_SENTENCES = {name: _expression(text) for name, text in reasons._SENTENCES.items()}
