"""`RewardWrapper`: the environment's reward is gone, and relabelling is exact or refused."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from rewardsmith.tasks.task import Task
from rewardsmith.tasks.wrapper import RewardWrapper, flat_action, read_record
from tests.conftest import load_task

Parts = tuple[np.ndarray, dict[str, np.ndarray]]


def evaluate(state: np.ndarray, action: np.ndarray, next_state: np.ndarray) -> Parts:
    """Progress towards the goal, less effort; columns are those of the point task."""
    position, goal = slice(2, 4), slice(4, 6)
    before = np.linalg.norm(state[:, position] - state[:, goal], axis=1)
    after = np.linalg.norm(next_state[:, position] - next_state[:, goal], axis=1)
    parts = {"progress": before - after, "effort": -0.01 * (action**2).sum(axis=1)}
    return parts["progress"] + parts["effort"], parts


def wrap(task: Task, capacity: int = 0) -> RewardWrapper:
    assert [name for name, _ in task.sources] == ["observation", "achieved_goal", "desired_goal"]
    return RewardWrapper(task.make(), task.sources, evaluate, capacity)


def play(env: RewardWrapper, steps: int, seed: int = 0) -> list[Any]:
    """Observation before, action, and what step returned."""
    generator = np.random.default_rng(seed)
    observation, _ = env.reset(seed=seed)
    rows = []
    for _ in range(steps):
        action = generator.uniform(-1, 1, 2).astype(np.float32)
        result = env.step(action)
        rows.append((observation, action, *result))
        observation = env.reset()[0] if result[3] else result[0]
    return rows


def fresh(row: Any, goal: np.ndarray) -> float:
    """Evaluate one played step afresh, as if `goal` had been its goal."""
    before, action, after = row[0], row[1], row[2]
    state = np.concatenate([before["observation"], before["achieved_goal"], goal])
    next_state = np.concatenate([after["observation"], after["achieved_goal"], goal])
    return float(evaluate(state[None], flat_action(action)[None], next_state[None])[0][0])


def test_the_reward_is_ours(point_task: Task) -> None:
    for row in play(wrap(point_task), 45):
        observation, reward, info = row[2], row[3], row[6]
        assert reward == fresh(row, observation["desired_goal"])
        assert reward == pytest.approx(sum(info["reward_components"].values()))
        assert set(info["reward_components"]) == {"progress", "effort"}


def test_the_own_reward_of_the_environment_is_only_in_info(point_task: Task) -> None:
    rows = play(wrap(point_task), 60)
    assert all(row[6]["environment_reward"] == row[6]["is_success"] - 1.0 for row in rows)
    assert not any(row[3] in (0.0, -1.0) for row in rows)


def test_everything_else_is_untouched(point_task: Task) -> None:
    bare = point_task.make()
    observation, _ = bare.reset(seed=3)
    for row in play(wrap(point_task), 20, seed=3):
        np.testing.assert_array_equal(row[0]["observation"], observation["observation"])
        observation, _, *ends, _ = bare.step(row[1])
        assert ends == list(row[4:6])


def test_relabelling_equals_evaluating_afresh(point_task: Task) -> None:
    env = wrap(point_task, capacity=100)
    rows = play(env, 60)
    goals = np.random.default_rng(1).uniform(-1, 1, (60, 2))
    achieved = np.array([row[2]["achieved_goal"] for row in rows])
    infos = np.array([row[6] for row in rows])
    order = np.random.default_rng(2).permutation(60)
    relabelled = env.compute_reward(achieved[order], goals[order], infos[order])
    afresh = [fresh(rows[at], goals[at]) for at in order]
    np.testing.assert_array_equal(relabelled, afresh)


def test_a_single_transition_can_be_relabelled(point_task: Task) -> None:
    env = wrap(point_task, capacity=100)
    row = play(env, 5)[2]
    goal = np.array([0.5, -0.5])
    reward = env.compute_reward(row[2]["achieved_goal"], goal, row[6])
    assert reward == fresh(row, goal)


def test_relabelling_does_not_change_what_is_stored(point_task: Task) -> None:
    env = wrap(point_task, capacity=100)
    row = play(env, 5)[2]
    achieved, infos = row[2]["achieved_goal"][None], [row[6]]
    env.compute_reward(achieved, np.array([[9.0, 9.0]]), infos)
    own = env.compute_reward(achieved, row[2]["desired_goal"][None], infos)
    assert own[0] == row[3]


def test_the_memory_wraps_around(point_task: Task) -> None:
    env = wrap(point_task, capacity=7)
    rows = play(env, 40)
    kept = rows[-7:]
    achieved = np.array([row[2]["achieved_goal"] for row in kept])
    goals = np.zeros((7, 2))
    relabelled = env.compute_reward(achieved, goals, [row[6] for row in kept])
    np.testing.assert_array_equal(relabelled, [fresh(row, np.zeros(2)) for row in kept])


def test_an_overwritten_transition_is_refused(point_task: Task) -> None:
    env = wrap(point_task, capacity=7)
    rows = play(env, 40)
    for row in (rows[0], rows[-8]):
        with pytest.raises(KeyError, match="capacity is smaller than the replay buffer"):
            env.compute_reward(np.zeros((1, 2)), np.zeros((1, 2)), [row[6]])


@pytest.mark.parametrize("capacity", [0, 50])
def test_relabelling_without_the_transition_is_refused(point_task: Task, capacity: int) -> None:
    env = wrap(point_task, capacity)
    info = {**play(env, 3)[1][6]}
    info.pop("transition", None)
    for given in ({}, info, [info, info]):
        shape = (2, 2) if isinstance(given, list) else 2
        with pytest.raises(KeyError, match="give RewardWrapper a capacity.*copy_info_dict=True"):
            env.compute_reward(np.zeros(shape), np.zeros(shape), given)


def test_outer_wrappers_find_our_compute_reward(point_task: Task) -> None:
    env = gymnasium.wrappers.RecordEpisodeStatistics(wrap(point_task, capacity=10))
    assert env.get_wrapper_attr("compute_reward").__self__ is env.env


def test_whole_number_actions_are_recorded_as_numbers() -> None:
    task = load_task("env=gym", "env.id=CartPole-v1", "env.description=x")
    seen = []

    def spy(state: np.ndarray, action: np.ndarray, next_state: np.ndarray) -> Parts:
        seen.append((action.dtype, action.tolist()))
        return np.ones(1), {"one": np.ones(1)}

    env = RewardWrapper(task.make(), task.sources, spy)
    env.reset(seed=0)
    env.step(1)
    assert seen == [(np.float64, [[1.0]])]


def test_an_info_that_is_not_there_yet_is_zero(point_task: Task) -> None:
    env = point_task.make()
    observation, _ = env.reset(seed=0)
    sources = [("info.force", 3), ("achieved_goal", 2)]
    early = read_record(env, observation, {}, sources)
    late = read_record(env, observation, {"force": np.array([1.0, 2.0, 3.0])}, sources)
    place = observation["achieved_goal"].tolist()
    assert early.tolist() == [0.0, 0.0, 0.0, *place]
    assert late.tolist() == [1.0, 2.0, 3.0, *place]


def test_a_source_that_changes_its_width_is_refused(point_task: Task) -> None:
    env = point_task.make()
    observation, _ = env.reset(seed=0)
    with pytest.raises(ValueError, match="broadcast"):
        read_record(env, observation, {"force": np.zeros(4)}, [("info.force", 3)])
