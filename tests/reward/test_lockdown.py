"""The lock holds when the dialect does not: attacks, every system call, memory, keys, death."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from rewardsmith.errors import SandboxUnavailable
from rewardsmith.reward import lockdown
from rewardsmith.reward.failure import RewardFailure
from rewardsmith.reward.process import RewardProcess
from rewardsmith.settings import SandboxSettings
from rewardsmith.types import RewardFunction
from tests.reward.attacks import (
    ATTACKS,
    LAYOUT,
    LIMITS,
    NOWHERE,
    PLANTED,
    ROOT,
    answer,
    run_locked,
    run_open,
    targets,
    unchecked_process,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the lock needs Linux")

REPOSITORY = Path(__file__).parents[2]
IS_X86_64 = platform.machine() == "x86_64"
NOBODY = 65534
# read write mmap mprotect munmap brk mremap sched_yield madvise getpid gettid futex
# gettimeofday restart_syscall clock_gettime getrandom, and what ends or resumes the process
ALLOWED_CALLS = {0, 1, 9, 10, 11, 12, 25, 24, 28, 39, 186, 202, 96, 219, 228, 318}
ENDING_CALLS = {15, 60, 231}
# uretprobe and uprobe: recent kernels let them by every filter; outside of a trampoline that the
# kernel itself has made they end in SIGILL and ENXIO
PROBE_CALLS = {335, 336}
LAST_CALL = 480


@pytest.fixture(scope="module")
def facts() -> Iterator[dict[str, Any]]:
    with targets() as (known, _):
        yield known


@pytest.fixture(scope="module")
def locked() -> dict[str, Any]:
    """Outcomes inside the lock, what the listeners heard, and the folder before and after."""
    names = [name for name, attack in ATTACKS.items() if IS_X86_64 or not attack.x86_64]
    with targets() as (facts, heard):
        before = contents(facts["FOLDER"])
        outcomes = run_locked(names, facts)
        return {
            "outcomes": outcomes,
            "heard": list(heard),
            "before": before,
            "after": contents(facts["FOLDER"]),
        }


@pytest.fixture(scope="module")
def unlocked() -> dict[str, str]:
    names = [
        name
        for name, attack in ATTACKS.items()
        if (IS_X86_64 or not attack.x86_64) and attack.control != NOWHERE
    ]
    with targets() as (facts, _):
        return run_open(names, facts)


@pytest.fixture
def unchecked(facts: dict[str, Any]) -> Iterator[RewardProcess]:
    with unchecked_process(facts) as process:
        yield process


def contents(folder: str) -> dict[str, bytes]:
    files = Path(folder).iterdir()
    return {item.name: item.read_bytes() if item.is_file() else b"" for item in files}


def memory_of(pid: int) -> Iterator[bytes]:
    """All private writable memory of a process, as root may read it, piece by piece."""
    with Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, access = line.split()[:2]
            if access.startswith("rw") and "[v" not in line:
                start, stop = (int(item, 16) for item in span.split("-"))
                memory.seek(start)
                yield memory.read(stop - start)


def wait_for_death(child: psutil.Process) -> None:
    end = time.monotonic() + 10.0
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end, "the reward process outlived its parent"
        time.sleep(0.01)


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_fails_inside_the_lock(name: str, locked: dict[str, Any]) -> None:
    if name not in locked["outcomes"]:
        pytest.skip("system call numbers of x86_64")
    assert locked["outcomes"][name] in ("failed", "died")


def test_listeners_stay_silent_and_files_as_they_were(locked: dict[str, Any]) -> None:
    assert locked["heard"] == []
    assert locked["after"] == locked["before"]


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_works_without_the_lock(name: str, unlocked: dict[str, str]) -> None:
    """The positive control: an attack that fails everywhere proves nothing."""
    if name not in unlocked:
        pytest.skip("cannot work, or not here")
    if unlocked[name] != "worked" and (os.getuid() != 0 or ATTACKS[name].control == ROOT):
        pytest.skip("this machine or user may not do it")  # containers take rights from root too
    assert unlocked[name] == "worked"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="needs to be root")
def test_attacks_fail_for_an_ordinary_user() -> None:
    who: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    try:
        trial = subprocess.run(
            [sys.executable, "-c", "import numpy, rewardsmith"], cwd=REPOSITORY, **who
        )
    except PermissionError:
        pytest.skip("other users cannot run this interpreter")
    if trial.returncode != 0:
        pytest.skip("other users cannot read this installation")
    done = subprocess.run(
        [sys.executable, "-B", "-m", "tests.reward.attacks"],
        cwd=REPOSITORY,
        env={"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=120,
        **who,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["uid"] == NOBODY
    assert report["heard"] == 0
    assert set(report["outcomes"].values()) <= {"failed", "died"}


@pytest.mark.skipif(not IS_X86_64, reason="system call numbers of x86_64")
def test_only_listed_system_calls_get_through(unchecked: RewardProcess) -> None:
    source = f"""
def compute_reward(state, action, next_state):
    total = np.zeros(len(action))
    for number in range({LAST_CALL}):
        if number not in {ENDING_CALLS | PROBE_CALLS}:
            result, error = call(number, 0, 0, 0, 0, 0, 0)
            total[number] = result >= 0 or error != errno.EPERM
    return total, {{"through": total}}
"""
    through = set(np.flatnonzero(answer(unchecked, source, LIMITS.batch_rows)).tolist())
    assert through == ALLOWED_CALLS


def test_all_layers_are_reported(unchecked: RewardProcess) -> None:
    assert set(lockdown.LAYERS) - {"landlock"} <= set(unchecked.layers)


def test_child_has_a_filter_no_new_privileges_and_one_thread(unchecked: RewardProcess) -> None:
    status = Path(f"/proc/{unchecked.pid}/status").read_text()
    values = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert values["Seccomp"] == "2"
    assert values["NoNewPrivs"] == "1"
    assert values["Threads"] == "1"


def test_missing_layer_is_refused_unless_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    from rewardsmith.reward import process

    boot = "import sys; sys.path.extend(sys.argv[3:]); from rewardsmith.reward import lockdown"
    patch = "; lockdown._seccomp_program = lambda: None; "
    rest = "from rewardsmith.reward import server; server.main(*map(int, sys.argv[1:3]))"
    monkeypatch.setattr(process, "_BOOT", boot + patch + rest)
    with pytest.raises(SandboxUnavailable, match="seccomp missing"):
        RewardProcess(LAYOUT, LIMITS)
    weaker = SandboxSettings(**{**dict(LIMITS), "allow_weaker": True})
    with RewardProcess(LAYOUT, weaker) as running:
        assert "seccomp" not in running.layers


def test_inputs_cannot_be_made_writable(unchecked: RewardProcess) -> None:
    source = """
def compute_reward(state, action, next_state):
    at = SERVER.action.ctypes.data & ~4095
    worked = float(libc.mprotect(ctypes.c_void_p(at), 4096, 3) == 0)
    total = np.full(len(action), worked)
    return total, {"worked": total}
"""
    assert answer(unchecked, source)[0] == 0.0


def test_writing_to_inputs_kills_only_the_child(unchecked: RewardProcess) -> None:
    source = """
def compute_reward(state, action, next_state):
    ctypes.memset(SERVER.action.ctypes.data, 7, 8)
    return action[:, 0], {"a": action[:, 0]}
"""
    with pytest.raises(RewardFailure) as caught:
        answer(unchecked, source)
    assert caught.value.reason == "died"
    assert unchecked._blocks[1][0, 0] == 1.0


def test_descriptors_do_not_lead_to_the_inputs(unchecked: RewardProcess) -> None:
    source = """
def compute_reward(state, action, next_state):
    for descriptor in set(range(3, 64)) - {int(sys.argv[2])}:
        try:
            os.write(descriptor, b"7777777" * 9)
        except OSError:
            pass
    total = action[:, 0] * 1.0
    return total, {"a": total}
"""
    try:
        answer(unchecked, source)
    except RewardFailure as failure:  # a file size of 0 kills what writes
        assert failure.reason == "died"
    state, action, next_state = unchecked._blocks
    assert (state[0] == 1.0).all() and (action[0] == 1.0).all() and (next_state[0] == 1.0).all()


def test_shared_memory_cannot_be_resized(unchecked: RewardProcess) -> None:
    for descriptor in (unchecked._input_fd, unchecked._output_fd):
        size = os.fstat(descriptor).st_size
        for other in (0, size // 2, 2 * size):
            with pytest.raises(PermissionError):
                os.ftruncate(descriptor, other)


def test_planted_key_is_nowhere_in_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", PLANTED)
    with RewardProcess(LAYOUT, LIMITS) as process:
        try:
            environment = Path(f"/proc/{process.pid}/environ").read_bytes()
            sizes, found = 0, False
            for piece in memory_of(process.pid):
                sizes += len(piece)
                found |= PLANTED.encode() in piece
        except PermissionError:
            pytest.skip("only root may look into a process that is not dumpable")
    assert environment == b""
    assert sizes > 1_000_000
    assert not found


def test_memory_error_is_reported_and_the_trainer_stays_flat() -> None:
    limits = SandboxSettings(**{**dict(LIMITS), "memory_mib": 384})
    before = psutil.Process().memory_info().rss
    source = """
def compute_reward(state, action, next_state):
    kept = []
    while True:
        kept.append(np.ones(1_000_000))
"""
    with unchecked_process({}, limits) as process:
        with pytest.raises(RewardFailure) as caught:
            answer(process, source)
        assert answer(process, ATTACKS["read_passwd"].source)[0] == 0.0  # and it goes on
    assert caught.value.reason == "memory"
    assert "384 MiB" in str(caught.value)
    assert psutil.Process().memory_info().rss - before < 50 << 20


def kill_the_parent(script: str, pause: float = 0.0) -> None:
    """Run a script that prints its child's pid, kill it, and wait for the child to follow."""
    driver = subprocess.Popen(
        [sys.executable, "-c", script], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    assert driver.stdout is not None
    child = psutil.Process(int(driver.stdout.readline()))
    time.sleep(pause)
    assert child.is_running()
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    driver.stdout.close()
    wait_for_death(child)


def test_child_dies_with_its_parent() -> None:
    script = (
        "import time\nfrom tests.reward.attacks import LAYOUT, LIMITS, RewardProcess\n"
        "process = RewardProcess(LAYOUT, LIMITS)\nprint(process.pid, flush=True)\ntime.sleep(60)\n"
    )
    kill_the_parent(script)


def test_child_dies_with_its_parent_in_the_middle_of_a_call() -> None:
    script = (
        "from tests.reward.attacks import *\n"
        "LIMITS = SandboxSettings(**{**dict(LIMITS), 'deadline_s': 60.0})\n"
        "import tests.reward.attacks as attacks\nattacks.LIMITS = LIMITS\n"
        "with unchecked_process({}) as process:\n"
        "    print(process.pid, flush=True)\n"
        "    answer(process, 'def compute_reward(s, a, n):\\n    while True: pass')\n"
    )
    kill_the_parent(script, pause=0.2)


def test_source_is_loaded_after_the_lock() -> None:
    """`RewardProcess` has no way to hand source over before the layers are known."""
    with RewardProcess(LAYOUT, LIMITS) as process:
        assert "seccomp" in process.layers
        process.load(
            RewardFunction("def compute_reward(state, action, next_state):\n    return 1\n")
        )
