"""What every executor promises, for the tests of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rewardsmith.execution import Executor, Job, Outcome
from tests.test_execution import wait_until_gone

Make = Callable[..., Job]
"""Makes a job of a function of `tests.jobs`, a name and a payload."""


def assert_jobs_report_answer_and_fail(executor: Executor, job: Make) -> None:
    """Run jobs that end in every way."""
    told: list[tuple[str, Any]] = []
    done: dict[str, Outcome] = {}
    jobs = [
        job("double", "1/0", number=4),
        job("count", "counted", to=3),
        job("fail", "failed"),
        job("leave", "left"),
    ]
    outcomes = executor.run(jobs, lambda *event: told.append(event), done.__setitem__)
    assert done == outcomes
    assert outcomes["1/0"].value == 8
    assert [data for name, data in told if name == "counted"] == [{"number": n} for n in range(3)]
    failed = outcomes["failed"].error
    assert failed is not None
    assert "ZeroDivisionError" in str(failed)
    assert "in fail" in failed.traceback
    assert "ended with code 3: the last words" in str(outcomes["left"].error)
    assert "the last words" in jobs[-1].log.read_text()


def assert_an_exception_of_the_caller_stops_all_jobs(executor: Executor, job: Make) -> None:
    """Press Ctrl-C, as it were, while two jobs sleep."""
    workers: list[int] = []

    def heard(name: str, data: dict[str, Any]) -> None:
        workers.append(data["pid"])
        if len(workers) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        executor.run([job("sleep", "one"), job("sleep", "other")], heard)
    for pid in workers:
        wait_until_gone(pid, 30)
