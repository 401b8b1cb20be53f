"""Jobs in worker processes: order, limits, failures, and what a worker can see."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from rewardsmith.errors import ResultsError, StorageError, WorkerError
from rewardsmith.execution import THREAD_VARIABLES, Job, LocalExecutor, Outcome


@pytest.fixture
def executor() -> LocalExecutor:
    return LocalExecutor(2, {"PATH": os.environ["PATH"]})


@pytest.fixture
def job(tmp_path: Path) -> Any:
    def make(function: str, name: str = "job", timeout_s: float | None = 60, **payload: Any) -> Job:
        return Job(name, f"tests.jobs:{function}", payload, tmp_path / f"{name}.log", timeout_s)

    return make


def error_of(outcome: Outcome) -> WorkerError:
    assert outcome.value is None
    assert outcome.error is not None
    return outcome.error


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def wait_until_gone(pid: int, seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while is_alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    assert not is_alive(pid)


def test_every_job_gets_its_own_value(executor: LocalExecutor, job: Any) -> None:
    jobs = [job("double", f"job {number}", number=number) for number in range(4)]
    done: dict[str, Any] = {}
    outcomes = executor.run(jobs, on_done=lambda name, outcome: done.update({name: outcome}))
    assert {name: outcome.value for name, outcome in outcomes.items()} == {
        "job 0": 0,
        "job 1": 2,
        "job 2": 4,
        "job 3": 6,
    }
    assert done == outcomes


def test_jobs_start_in_order(job: Any) -> None:
    order: list[str] = []
    executor = LocalExecutor(1, {})
    jobs = [job("count", name, to=1) for name in ("c", "a", "b")]
    executor.run(jobs, lambda name, data: order.append(name))
    assert order == ["c", "a", "b"]


def test_no_jobs_are_no_work(executor: LocalExecutor) -> None:
    assert executor.run([]) == {}


def test_progress_comes_in_order_and_before_the_end(executor: LocalExecutor, job: Any) -> None:
    heard: list[Any] = []
    executor.run(
        [job("count", to=200)],
        lambda name, data: heard.append(data["number"]),
        lambda name, outcome: heard.append(outcome.value),
    )
    assert heard == [*range(200), "counted"]


@pytest.mark.parametrize("workers", [1, 2])
def test_no_more_than_the_allowed_number_run_at_once(
    workers: int, job: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "marks"
    folder.mkdir()
    executor = LocalExecutor(workers, {})
    jobs = [job("overlap", f"job {number}", folder=str(folder)) for number in range(4)]
    outcomes = executor.run(jobs)
    assert max(outcome.value for outcome in outcomes.values()) <= workers


def test_a_job_is_done_when_its_process_is_gone(executor: LocalExecutor, job: Any) -> None:
    before = descriptors()
    gone: list[bool] = []
    children = psutil.Process().children
    outcome = executor.run([job("linger")], on_done=lambda *_: gone.append(not children()))["job"]
    assert outcome.value == "answered"
    assert gone == [True]
    assert descriptors() == before


def test_an_exception_keeps_its_traceback(executor: LocalExecutor, job: Any) -> None:
    outcomes = executor.run([job("fail", "bad"), job("double", "good", number=4)])
    error = error_of(outcomes["bad"])
    assert str(error) == "ZeroDivisionError: nothing left"
    assert "Traceback" in error.traceback
    assert 'raise ZeroDivisionError("nothing\\nleft")' in error.traceback
    assert outcomes["good"].value == 8


def test_an_error_of_our_own_is_only_its_sentence(executor: LocalExecutor, job: Any) -> None:
    assert str(error_of(executor.run([job("refuse")])["job"])) == "This cannot be."


@pytest.mark.parametrize(
    ("function", "kind", "text"),
    [
        ("no_room", StorageError, "model.zip cannot be written: No space left on device."),
        ("damaged", ResultsError, "experience.npz is damaged."),
    ],
)
def test_a_file_that_cannot_be_written_or_read_is_no_fault_of_a_job_and_stops_all(
    function: str, kind: type[ResultsError], text: str, executor: LocalExecutor, job: Any
) -> None:
    done: list[str] = []
    with pytest.raises(kind, match=text):
        executor.run([job(function)], on_done=lambda name, outcome: done.append(name))
    assert done == []


def test_a_log_that_cannot_be_written_is_named(executor: LocalExecutor, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StorageError, match=r"taken/log\.txt cannot be written"):
        executor.run([Job("job", "tests.jobs:double", {"number": 1}, tmp_path / "taken/log.txt")])


def test_a_value_that_is_not_plain_data_is_an_error(executor: LocalExecutor, job: Any) -> None:
    assert "not JSON serializable" in str(error_of(executor.run([job("unspeakable")])["job"]))


def test_a_worker_that_leaves_is_an_error_with_its_last_words(
    executor: LocalExecutor, job: Any
) -> None:
    error = error_of(executor.run([job("leave")])["job"])
    assert str(error) == "the worker ended with code 3: the last words"


def test_an_unknown_function_is_an_error(executor: LocalExecutor, job: Any) -> None:
    error = error_of(executor.run([job("nowhere")])["job"])
    assert "AttributeError" in str(error)
    assert "nowhere" in str(error)


def test_a_killed_worker_takes_only_its_own_job_down(executor: LocalExecutor, job: Any) -> None:
    def kill(name: str, data: dict[str, Any]) -> None:
        os.kill(data["pid"], signal.SIGKILL)

    outcomes = executor.run(
        [job("sleep", "victim"), *(job("double", name, number=1) for name in "abc")], kill
    )
    assert str(error_of(outcomes["victim"])) == "the worker was killed by SIGKILL"
    assert not outcomes["victim"].timed_out
    assert [outcomes[name].value for name in "abc"] == [2, 2, 2]


def test_a_job_that_takes_too_long_is_stopped(executor: LocalExecutor, job: Any) -> None:
    pids: list[int] = []
    outcomes = executor.run(
        [job("sleep", "slow", timeout_s=1.5), job("double", "quick", number=3)],
        lambda name, data: pids.append(data["pid"]),
    )
    assert str(error_of(outcomes["slow"])) == "the worker was stopped after 1.5 s"
    assert outcomes["slow"].timed_out
    assert outcomes["quick"].value == 6
    assert not any(map(is_alive, pids))


def test_an_exception_of_the_caller_stops_all_workers(executor: LocalExecutor, job: Any) -> None:
    before, pids = descriptors(), []

    def interrupt(name: str, data: dict[str, Any]) -> None:
        pids.append(data["pid"])
        if len(pids) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        executor.run([job("sleep", "one"), job("sleep", "two")], interrupt)
    assert not any(map(is_alive, pids))
    assert descriptors() == before


def test_workers_get_the_given_environment_and_no_more(
    job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "secret-of-the-parent")
    executor = LocalExecutor(1, {"GIVEN": "yes"})
    seen = executor.run([job("look_around")])["job"].value
    assert seen["variables"]["GIVEN"] == "yes"
    assert "secret-of-the-parent" not in seen["environ"]
    assert "SOME_API_KEY" not in seen["variables"]
    assert set(seen["variables"]) <= {"GIVEN", "PYTHONPATH", *THREAD_VARIABLES, "LC_CTYPE"}


def test_workers_have_one_thread_per_library_and_no_input(
    executor: LocalExecutor, job: Any
) -> None:
    seen = executor.run([job("look_around", note="private")])["job"].value
    assert all(seen["variables"][name] == "1" for name in THREAD_VARIABLES)
    assert seen["stdin"] == ""
    assert "private" not in " ".join(seen["command"])


def test_what_a_worker_prints_goes_to_its_log(
    executor: LocalExecutor, job: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    chatty = job("chat")
    assert executor.run([chatty])["job"].error is None
    lines = set(chatty.log.read_text().splitlines())
    assert lines == {"to the output", "to the error output", "from a child"}
    assert capfd.readouterr() == ("", "")


def test_large_payloads_and_values_pass(executor: LocalExecutor, job: Any) -> None:
    outcome = executor.run([job("look_around", text="x" * 1_000_000)])["job"]
    assert outcome.error is None


_PARENT = """
import sys
from pathlib import Path
from rewardsmith.execution import Job, LocalExecutor
job = Job("job", "tests.jobs:with_child", {}, Path(sys.argv[1]))
LocalExecutor(1, {}).run([job], lambda name, data: print(data["pid"], flush=True))
"""


def test_workers_die_with_their_parent(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert is_alive(worker)
        parent.kill()
    wait_until_gone(worker)
