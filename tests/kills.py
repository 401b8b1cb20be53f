"""Whole runs that are killed: a provider that notes what is paid for, and how to kill.

>>> with Provider() as provider:
...     life = Life(Path("folder"), provider)  # doctest: +SKIP
"""

from __future__ import annotations

import hashlib
import json
import random
import signal
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from rewardsmith.metrics import read_metrics
from tests.llm.faulty_server import Answer, FaultyServer, Sent, ok
from tests.runs import COMPARED, start

KEY = "sk-planted-0123456789abcdef"
SMALLEST = (
    "env=point",
    *COMPARED,
    "training.total_timesteps=120",
    "training.checkpoints=1",
    "experiment.candidates=2",
    "experiment.iterations=2",
    "experiment.evaluation_episodes=3",
    "experiment.test_episodes=3",
    "experiment.repairs=1",
    "experiment.races=1",
    "experiment.indifference=0",  # or there would be no race
    "experiment.seed=5",
    "video.episodes=1",
    "llm.provider=openai",
    "llm.model=gpt-5-nano",  # its price is known
)
FINISHED = (
    "config.yaml",
    "iteration_*/exchange_*.json",
    "iteration_*/candidate_*.json",
    "iteration_*/race_*.json",
    "iteration_*/evaluations.json",
    "populations/*.json",
    "headline/*.json",
)
"""What a run that goes on must not write again."""
REWARD = """```python
def compute_reward(state, action, next_state):
    gap = np.linalg.norm(next_state["achieved_goal"] - next_state["desired_goal"], axis=-1)
    near = 1.0 - np.tanh({} * gap)
    effort = -{} * np.sum(action**2, axis=-1)
    return near + effort, {{"near": near, "effort": effort}}
```"""


class Provider(FaultyServer):
    """Gives the same reply to the same messages, and notes which were sent when.

    Attributes:
        sent: how often each chat came in, by its digest.
        on_request: called as one comes in.
    """

    def __init__(self, delay: float = 0.3) -> None:
        """Answer after a while, so that requests are in flight."""
        super().__init__()
        self.sent: Counter[str] = Counter()
        self.delay = delay
        self.on_request: Callable[[], None] | None = None
        self.rules.append(self._reply)

    def _reply(self, sent: Sent) -> Answer:
        messages = sent.body["messages"]
        key = digest(messages)
        self.sent[key] += 1
        if self.on_request is not None:
            self.on_request()
        number = int(key[:8], 16)
        text = REWARD.format(1 + number % 40 / 10, number % 7 / 100)
        if number % 3 == 0 and messages[-1]["role"] == "user" and len(messages) == 2:
            text = text.replace("near = 1.0", "print(gap)\n    near = 1.0", 1)  # needs a repair
        return Answer(**{**vars(ok(text, model=sent.body["model"])), "delay": self.delay})


def digest(messages: Iterable[dict[str, str]]) -> str:
    """What tells one chat from another."""
    content = [[item["role"], item["content"]] for item in messages]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


class Life:
    """One run in a folder, through all its deaths.

    Attributes:
        lost: requests in flight at a kill, by digest: these alone may be asked again.
        finished: what was finished at a kill, with its content and when it was written.
        phases: in which each kill fell.
        survivors: processes that were still there long after a kill.
        troubles: what a run said that ended by itself, and not well.
    """

    def __init__(self, folder: Path, provider: Provider, *arguments: str) -> None:
        """Begin nothing yet.

        Args:
            folder: to work in.
            provider: whom to ask.
            arguments: of the run, on top of `SMALLEST`.
        """
        self.folder, self.provider = folder, provider
        self.arguments = (*SMALLEST, f"llm.base_url={provider.url}", *arguments)
        self.marker = uuid.uuid4().hex
        self.lost: Counter[str] = Counter()
        self.finished: dict[Path, tuple[int, bytes]] = {}
        self.phases: list[str] = []
        self.survivors: list[str] = []
        self.troubles: list[str] = []

    @property
    def run(self) -> Path | None:
        """The run's folder; one that was killed before its configuration was there is none."""
        found = sorted(self.folder.glob("results/*/config.yaml"))
        return found[0].parent if found else None

    def start(self) -> subprocess.Popen[str]:
        """Begin the run, or go on with it."""
        arguments = self.arguments if self.run is None else (f"experiment.resume={self.run}",)
        return start(self.folder, *arguments, OPENAI_API_KEY=KEY, KILLED_TEST=self.marker)

    def end(self) -> tuple[int, str]:
        """Let it go on to its end; give the exit code and what it said."""
        process = self.start()
        out, err = process.communicate(timeout=900)
        return process.returncode, out + err

    def kill_at(self, moment: float, timeline: Timeline, everyone: bool) -> None:
        """Start, and kill where a run that nobody disturbs is at a moment.

        Args:
            moment: seconds from that run's start.
            timeline: of that run.
            everyone: else the controller alone, and the others have to go by themselves.
        """
        known = len(self._events())
        process, began = self.start(), time.monotonic()
        wait, pace = moment, 1.0
        if moment > timeline.start:
            while len(self._events()) == known and process.poll() is None:
                time.sleep(0.1)
            # a machine that has more to do now takes longer for the rest, too
            pace = max(1.0, (time.monotonic() - began) / timeline.start)
            wait = timeline.left(moment, self.run)
        try:
            process.wait(timeout=pace * wait)
        except subprocess.TimeoutExpired:
            self._kill(process, everyone)
        out, err = process.communicate()
        if process.returncode not in (0, -signal.SIGKILL):
            self.troubles.append(out + err)
        self.phases.append(self._phase(known, process.returncode))
        sent, recorded = Counter(self.provider.sent), self.recorded()
        self.lost = Counter({key: sent[key] for key in sent if key not in recorded}) | self.lost
        self.finished = {**self._written(), **self.finished}  # as it was when first seen

    def _kill(self, process: subprocess.Popen[str], everyone: bool) -> None:
        family = [psutil.Process(process.pid), *_descendants(process.pid)]
        for member in random.sample(family, len(family)) if everyone else family[:1]:
            try:
                member.send_signal(signal.SIGKILL)
            except psutil.Error:
                continue
        process.wait()
        end = time.monotonic() + 20
        while self._alive(family) and time.monotonic() < end:
            time.sleep(0.1)
        self.survivors += self._alive(family)

    def _alive(self, family: list[psutil.Process]) -> list[str]:
        """What is left of a run: those that were seen, and those that bear its mark."""
        found = [item for item in family if item.is_running()]
        for item in psutil.process_iter():
            try:
                if item.environ().get("KILLED_TEST") == self.marker:
                    found.append(item)
            except psutil.Error:
                continue
        return [text for item in found if (text := _command(item))]

    # -- what is on disk ----------------------------------------------------------------------

    def recorded(self) -> dict[str, float]:
        """Dollars of each reply on disk, by the digest of what was asked."""
        found = {}
        for file in self.folder.glob("results/*/iteration_*/exchange_*.json"):
            record = json.loads(file.read_text())
            if record["reply"] is not None:
                found[digest(record["messages"])] = record["reply"]["usage"]["usd"]
        return found

    def _written(self) -> dict[Path, tuple[int, bytes]]:
        files = [file for name in FINISHED for file in self.folder.glob(f"results/*/{name}")]
        return {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in files}

    def written_again(self) -> list[str]:
        """Files that were finished, and are not as they were."""
        now = self._written()
        return [file.name for file, state in self.finished.items() if now.get(file) != state]

    def paid_twice(self) -> list[str]:
        """Requests that were asked again though their reply had come and was kept."""
        return [key for key, times in self.provider.sent.items() if times > 1 + self.lost[key]]

    def _events(self) -> list[dict[str, Any]]:
        if self.run is None or not (self.run / "metrics.jsonl").exists():
            return []
        return read_metrics((self.run / "metrics.jsonl").read_text().splitlines())

    def _phase(self, known: int, code: int) -> str:
        if code == 0:
            return "after its end"
        events = [item["event"] for item in self._events()[known:]]
        assert self.run is not None or not events
        if not events:
            return "start"
        if "finished" in events:
            made = "video" in json.loads((self.run / "run.json").read_text())  # type: ignore[operator]
            return "report" if made else "filming"
        names = {"retraining": "headline", "race": "racing", "progress": "training"}
        last = next(item for item in reversed(events) if item not in ("evaluated", "best"))
        if last == "progress":
            turn = [item for item in events if item in ("iteration", "race", "retraining")]
            return names.get(turn[-1], "training")
        return names.get(last, "asking" if last == "iteration" else "training")


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def _command(process: psutil.Process) -> str:
    """What a process is; nothing if it is gone, be it that nobody has asked for its exit code."""
    try:
        gone = process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        return "" if gone else " ".join(process.cmdline())[:200]
    except psutil.Error:
        return ""


class Timeline:
    """When what was finished in a run that nobody disturbed, in seconds from its start."""

    def __init__(self, life: Life, began: float, ended: float) -> None:
        """Read it off the files of a run that has come to its end."""
        assert life.run is not None
        self.length = ended - began
        self.start = (
            read_metrics((life.run / "metrics.jsonl").read_text().splitlines())[0]["time"] - began
        )
        self._files = {
            file.relative_to(life.run): state[0] / 1e9 - began
            for file, state in life._written().items()
        }

    def left(self, moment: float, run: Path | None) -> float:
        """How long a run that goes on needs, once begun, until it is where this one was."""
        there = [at for file, at in self._files.items() if run and (run / file).exists()]
        return max(0.3, moment - max([self.start, *there]))


@contextmanager
def undisturbed(folder: Path) -> Iterator[tuple[Life, Timeline]]:
    """Make a run that nobody disturbs."""
    folder.mkdir(exist_ok=True)
    with Provider() as provider:
        life, began = Life(folder, provider), time.time()
        code, said = life.end()
        assert code == 0, said
        yield life, Timeline(life, began, time.time())


def moments(number: int, length: float, chance: random.Random) -> list[float]:
    """Random moments of a time: one in each of so many equal parts of it."""
    return [length * (part + chance.random()) / number for part in range(number)]
