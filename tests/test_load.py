"""Large searches: what a request, a check, a resumption and a run cost does not run away."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from rewardsmith.llm import builtin
from rewardsmith.llm.builtin import BuiltinDesigner
from rewardsmith.results import RunDirectory
from rewardsmith.reward.extract import extract_code
from rewardsmith.reward.likeness import likeness
from rewardsmith.search import history, screens
from rewardsmith.search.base import NoOptions
from rewardsmith.search.greedy import Greedy
from rewardsmith.search.history import estimate_tokens
from rewardsmith.search.screens import Said, Screens, is_same
from rewardsmith.settings import SandboxSettings, ScreenSettings
from rewardsmith.tasks.task import Task, play_randomly
from rewardsmith.types import Candidate, RewardFunction, Trial
from tests import runs
from tests.conftest import load_settings
from tests.search.made_up import curve, episodes, trained
from tests.test_loop import Run


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Counter[str]]:
    """Count how often some functions are called."""
    counted: Counter[str] = Counter()

    def count(owner: Any, name: str) -> Counter[str]:
        whole = getattr(owner, name)

        def counting(*arguments: Any, **more: Any) -> Any:
            counted[name] += 1
            return whole(*arguments, **more)

        monkeypatch.setattr(owner, name, counting)
        return counted

    return count


def test_a_request_costs_no_more_the_more_there_was_before(
    calls: Callable[..., Counter[str]], point_task: Task
) -> None:
    each, iterations = 64, 6
    settings = load_settings("env=point", "llm=builtin", f"experiment.candidates={each}")
    strategy = Greedy(NoOptions(), settings, point_task, play_randomly(point_task, 0))
    designer = BuiltinDesigner(settings.llm.model_copy(update={"seed": 5}), {})
    calls(builtin, "_stands_alone")
    counted = calls(history, "rank")
    chance = np.random.default_rng(0)
    trials: list[Trial] = []
    looks = [curve([0.0, rate / 4], near=[0.1, 0.2]) for rate in range(4)]
    played = [episodes(number, 15) for number in range(16)]
    for iteration in range(1, iterations + 1):
        for request in strategy.ask(iteration):
            assert estimate_tokens(request.messages) <= settings.experiment.prompt_tokens
            source = extract_code(designer.complete(request).text)
            measured = [played[chance.integers(16)]]
            label = (iteration, request.candidate)
            trials.append(
                trained([looks[chance.integers(4)]], measured, label=label, source=source)
            )
        strategy.tell(iteration, tuple(trials))
    assert counted["_stands_alone"] <= builtin.MAX_TERMS * len(trials)
    assert counted["rank"] <= 2 * iterations


def test_the_screens_compare_with_few_and_find_the_same_as_with_all(
    calls: Callable[..., Counter[str]], point_task: Task, sandbox: SandboxSettings
) -> None:
    settings = ScreenSettings(static=False, behaviour=True, preference="skip")
    play = play_randomly(point_task, 0)
    screen = Screens(settings, point_task, play, sandbox)
    rows = len(play.transitions) + len(play.probe)
    generator = np.random.default_rng(0)
    base = generator.normal(size=(20, rows))
    said = []
    for number in range(120):
        scale, noise = generator.choice([1.0, 2.0, 5.0]), generator.choice([0.0, 0.01, 0.1, 1.0])
        said.append(scale * base[number % 20] + noise * generator.normal(size=rows))
    counted = calls(screens, "likeness")
    found, known = [], []
    for number, values in enumerate(said):
        candidate = Candidate(1, number, RewardFunction(f"a = {number}"))
        judged = screen.judge(candidate, Said(values, np.empty(0)))
        found.append(judged.fault is not None)
        twin = any(is_same(likeness(other, values)) for other in known)
        assert found[-1] == twin, number
        if not twin:
            known.append(values)
    assert sum(found) > 20 and len(known) > 40
    assert counted["likeness"] < 4 * len(said)  # each has six of its own kind, and 114 others


def test_a_resumption_reads_each_candidate_once_and_not_once_for_each_iteration(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, point_task: Task, sandbox: SandboxSettings
) -> None:
    Run(tmp_path, point_task, sandbox, "experiment.iterations=2")
    whole, files = RunDirectory._read, []

    def reading(adapter: Any, file: Path) -> Any:
        files.append(file.name if file.name.startswith("candidate") else "")
        return whole(adapter, file)

    monkeypatch.setattr(RunDirectory, "_read", staticmethod(reading))
    Run(tmp_path, point_task, sandbox, "experiment.iterations=2")
    read = Counter(files)
    assert {read[f"candidate_{index}.json"] for index in range(4)} == {2}  # of two iterations


ROOM = """
import resource, sys
from rewardsmith.errors import ConfigurationError
from rewardsmith.reward.room import make_room
resource.setrlimit(resource.RLIMIT_NOFILE, (256, int(sys.argv[1])))
try:
    make_room(256)
except ConfigurationError as error:
    print(error)
else:
    print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def room(hard: int) -> str:
    """What becomes of a request for 256 reward processes under a limit of open files."""
    found = subprocess.run(
        [sys.executable, "-c", ROOM, str(hard)], capture_output=True, text=True, check=True
    )
    return found.stdout.strip()


@pytest.mark.skipif(sys.platform == "win32", reason="no such limits")
def test_room_for_many_reward_processes_is_taken_or_its_lack_told_in_a_sentence() -> None:
    assert int(room(4096)) >= 256 * 6
    assert room(1024) == (
        "experiment.candidates is 256, but this system allows 1024 open files a process "
        "(ulimit -Hn), which is enough for 128 candidates: use so many, or raise the limit."
    )


EACH = 24
OPEN_FILES = 128
"""Fewer than the reward processes of an iteration take."""
KB_EACH = 150


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_run_with_many_candidates_leaves_nothing_behind(tmp_path: Path) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    arguments = (
        *runs.SMALL,
        "env=point",
        "llm=builtin",
        f"experiment.candidates={EACH}",
        "experiment.repairs=0",
        "experiment.final_seeds=0",
    )
    process = subprocess.Popen(
        [sys.executable, str(runs.ROOT / "gen.py"), *arguments],
        cwd=tmp_path,
        env=runs.environment(TMPDIR=str(temporary)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, hard)),
    )
    watched = psutil.Process(process.pid)
    seen: set[psutil.Process] = set()
    descriptors: list[int] = []
    while process.poll() is None:
        try:
            seen |= set(watched.children(recursive=True))
            descriptors.append(watched.num_fds())
        except psutil.Error:
            break
        time.sleep(0.2)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    assert len(seen) > 2 * EACH
    _, left = psutil.wait_procs(seen, timeout=5)
    assert not left
    assert max(descriptors) < 64
    assert not [file for file in temporary.rglob("*") if "torchinductor" not in file.name]
    run = tmp_path / "results" / "point"
    rows = runs.evaluations(run)
    assert len(rows) == 2 * EACH
    assert {row["status"] for row in rows} <= {"ok", "duplicate"}
    assert sum(row["timesteps"] > 0 for row in rows) > EACH
    assert _size(run) / len(rows) < 1000 * KB_EACH
    assert len(out.splitlines()) < 50  # a screen
    assert max(map(len, out.splitlines())) < 300


def _size(run: Path) -> int:
    """Bytes on disk; a file with two names counts once."""
    found = {file.stat().st_ino: file.stat().st_blocks * 512 for file in run.rglob("*")}
    return sum(found.values())
