"""Reward processes side by side: what one of them does is its candidate's own affair."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import psutil
import pytest

from rewardsmith.reward.process import RewardProcess
from rewardsmith.settings import SandboxSettings
from rewardsmith.tasks.task import Task, play_randomly
from rewardsmith.training.population.relabel import Relabeler
from rewardsmith.types import FloatArray, Rewards, Status, Transitions
from tests.training.conftest import GOOD
from tests.training.population.conftest import BAD, BROKEN_LATE


@pytest.fixture(scope="module")
def steps(point_task: Task) -> Transitions:
    return play_randomly(point_task, 0).transitions


@contextmanager
def loaded(task: Task, sandbox: SandboxSettings, *sources: str) -> Iterator[Relabeler]:
    with Relabeler(task.layout, sandbox, sources) as relabeler:
        relabeler.load()
        yield relabeler


def distance(task: Task, steps: Transitions) -> FloatArray:
    way = steps.next_state[:, task.columns("achieved_goal")]
    return np.linalg.norm(way - steps.next_state[:, task.columns("desired_goal")], axis=1)


def test_each_row_is_one_candidates_reward(
    point_task: Task, sandbox: SandboxSettings, steps: Transitions
) -> None:
    with loaded(point_task, sandbox, GOOD, BAD) as relabeler:
        values = relabeler.all(steps)
        one = relabeler.one(1, steps)
        assert relabeler.faults == {}
    assert values.shape == (2, len(steps))
    np.testing.assert_allclose(values[1], distance(point_task, steps))
    assert one is not None
    np.testing.assert_array_equal(one.total, values[1])


def test_a_reward_that_breaks_takes_out_its_candidate_only(
    point_task: Task, sandbox: SandboxSettings, steps: Transitions
) -> None:
    gentle = replace(steps, action=np.minimum(steps.action, 0.5))
    with loaded(point_task, sandbox, GOOD, BROKEN_LATE, BAD) as relabeler:
        before = relabeler.all(gentle)
        assert relabeler.faults == {}
        after = relabeler.all(steps)
        assert set(relabeler.faults) == {1}
        fault = relabeler.faults[1]
        assert (fault.status, fault.reason) == (Status.CRASHED, "not_finite")
        assert relabeler.one(1, gentle) is None
        assert relabeler.all(gentle)[1].tolist() == [0.0] * len(gentle)
    assert before[1].any()
    assert not after[1].any()
    np.testing.assert_allclose(after[2], distance(point_task, steps))


def test_a_killed_reward_process_takes_out_its_candidate_only(
    point_task: Task, sandbox: SandboxSettings, steps: Transitions
) -> None:
    with loaded(point_task, sandbox, GOOD, BAD) as relabeler:
        relabeler._processes[0]._child.kill()
        values = relabeler.all(steps)
        assert set(relabeler.faults) == {0}
        assert relabeler.faults[0].reason == "died"
    assert values[1].any()


def test_a_source_that_is_rejected_takes_out_its_candidate_only(
    point_task: Task, sandbox: SandboxSettings, steps: Transitions
) -> None:
    with loaded(point_task, sandbox, "import os", GOOD) as relabeler:
        assert set(relabeler.faults) == {0}
        assert relabeler.all(steps)[1].any()


def test_a_reward_that_changes_its_mind_is_found(
    point_task: Task, sandbox: SandboxSettings, steps: Transitions, monkeypatch: Any
) -> None:
    original = RewardProcess.evaluate
    calls = 0

    def drifting(self: RewardProcess, *arguments: FloatArray) -> Rewards:
        nonlocal calls
        rewards = original(self, *arguments)
        if rewards.names != ("far",):
            return rewards
        calls += 1
        return replace(rewards, components=rewards.components + 1e-9 * (calls > 2))

    monkeypatch.setattr(RewardProcess, "evaluate", drifting)
    with loaded(point_task, sandbox, GOOD, BAD) as relabeler:
        for _ in range(2):
            relabeler.check_purity(steps)
        assert relabeler.faults == {}
        relabeler.check_purity(steps)
        assert set(relabeler.faults) == {1}
        assert relabeler.faults[1].reason == "impure"


def test_the_first_fault_is_kept(
    point_task: Task, sandbox: SandboxSettings, steps: Transitions
) -> None:
    with loaded(point_task, sandbox, BROKEN_LATE) as relabeler:
        relabeler.all(steps)
        relabeler._processes[0]._child.kill()
        relabeler.all(steps)
        assert relabeler.faults[0].reason == "not_finite"


def test_no_process_is_left(point_task: Task, sandbox: SandboxSettings) -> None:
    with loaded(point_task, sandbox, GOOD, BAD) as relabeler:
        processes = [psutil.Process(process.pid) for process in relabeler._processes]
        assert len(processes) == 2
    assert not any(process.is_running() for process in processes)
