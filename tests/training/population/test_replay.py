"""The shared replay: whose rewards, which goals, which rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from numpy.typing import NDArray

from rewardsmith.tasks.task import Task
from rewardsmith.training.population.learner import Batch
from rewardsmith.training.population.replay import Replay, stored_episodes
from rewardsmith.types import Transitions
from tests.conftest import load_task
from tests.training.population.conftest import make_episode

BOX = gymnasium.spaces.Box(-1.0, 1.0, (2,))
LENGTHS = (20, 7, 1, 33)
HINDSIGHT = 4
SHAPE = (5, 4, 200)


class Raw:
    """Stands in for the features: shows state records as they are."""

    def apply(self, records: NDArray[Any]) -> NDArray[np.float32]:
        return records.astype(np.float32)


RAW: Any = Raw()


class Judge:
    """Two candidates: one wants to be near the goal, one minds effort and direction."""

    def __init__(self, task: Task) -> None:
        self.achieved, self.desired = task.columns("achieved_goal"), task.columns("desired_goal")
        self.rows = 0

    def __call__(self, batch: Transitions) -> NDArray[np.float64]:
        self.rows += len(batch)
        way = batch.next_state[:, self.desired] - batch.next_state[:, self.achieved]
        start = batch.state[:, self.desired] - batch.state[:, self.achieved]
        return np.array([-np.linalg.norm(way, axis=1), 10.0 + batch.action[:, 0] * start[:, 1]])


def make(task: Task, capacity: int = 100, seed: int = 0, **changes: Any) -> Replay:
    arguments = {"candidates": 2, "learners": 4, "hindsight": HINDSIGHT, **changes}
    return Replay(task, arguments.pop("actions", BOX), capacity, seed=seed, **arguments)


@pytest.fixture
def replay(point_task: Task) -> Replay:
    """Four episodes, each played by another learner."""
    filled = make(point_task)
    for number, length in enumerate(LENGTHS):
        filled.add(make_episode(point_task, length, number), owner=number)
    filled.relabel(0, Judge(point_task))
    return filled


def flat(batch: Batch) -> Transitions:
    """All transitions of a batch in one row, for the judge."""
    return Transitions(
        *(
            np.asarray(part, np.float64).reshape(-1, part.shape[-1])
            for part in (batch.observation, batch.action, batch.next_observation)
        ),
        batch.terminated.ravel() > 0,
    )


def test_every_version_is_judged_once(point_task: Task) -> None:
    filled, judge = make(point_task), Judge(point_task)
    for number, length in enumerate(LENGTHS):
        start = filled.size
        filled.add(make_episode(point_task, length, number))
        filled.relabel(start, judge, block=16)
    assert judge.rows == sum(LENGTHS) * (1 + HINDSIGHT)


def test_each_learner_gets_its_candidates_reward_of_what_it_sees(
    replay: Replay, point_task: Task
) -> None:
    batch = replay.sample(SHAPE, RAW, shared=True)
    expected = Judge(point_task)(flat(batch)).reshape(2, *SHAPE)
    for learner, candidate in enumerate((0, 0, 1, 1)):
        np.testing.assert_allclose(
            batch.reward[:, learner], expected[candidate, :, learner], rtol=1e-5
        )


def test_blocks_change_no_reward(point_task: Task) -> None:
    one, other = make(point_task), make(point_task)
    for part, block in ((one, 4096), (other, 11)):
        for number, length in enumerate(LENGTHS):
            part.add(make_episode(point_task, length, number))
        part.relabel(0, Judge(point_task), block)
    np.testing.assert_array_equal(one.reward, other.reward)


def test_hindsight_goals_are_reached_later_in_the_same_episode(
    replay: Replay, point_task: Task
) -> None:
    achieved, desired = point_task.columns("achieved_goal"), point_task.columns("desired_goal")
    reached = {row.tobytes(): place for place, row in enumerate(replay.next_state[:, achieved])}
    starts = {row.tobytes(): place for place, row in enumerate(replay.state[:, achieved])}
    stops = np.cumsum(LENGTHS)
    batch = replay.sample(SHAPE, RAW, shared=True)
    states = batch.observation.reshape(-1, point_task.layout.state_width)
    next_states = batch.next_observation.reshape(states.shape)
    np.testing.assert_array_equal(states[:, desired], next_states[:, desired])
    late = 0
    for state in states:
        row = starts[state[achieved].tobytes()]
        if np.array_equal(state[desired], replay.state[row, desired]):
            continue
        late += 1
        source = reached[state[desired].tobytes()]
        assert row <= source < stops[np.searchsorted(stops, row, side="right")]
    share = HINDSIGHT / (1 + HINDSIGHT)
    assert late / len(states) == pytest.approx(share, abs=0.03)


def test_hindsight_can_be_switched_off(point_task: Task) -> None:
    filled, judge = make(point_task, hindsight=0), Judge(point_task)
    filled.add(make_episode(point_task, 20, 0))
    filled.relabel(0, judge)
    goals = filled.sample(SHAPE, RAW, shared=True).observation[..., point_task.columns(GOAL)]
    assert judge.rows == 20
    assert (goals == filled.state[0, point_task.columns(GOAL)]).all()


GOAL = "desired_goal"


def test_a_task_without_goals_has_no_hindsight() -> None:
    task = load_task("env=gym", "env.id=Pendulum-v1", "env.description=-")
    filled = make(task, actions=gymnasium.spaces.Box(-2.0, 2.0, (1,)))
    filled.add(make_episode(task, 20, 0))
    seen: list[int] = []

    def judge(batch: Transitions) -> NDArray[np.float64]:
        seen.append(len(batch))
        return np.array([batch.state[:, 0], batch.state[:, 1]])

    filled.relabel(0, judge)
    assert (filled.hindsight, sum(seen)) == (0, 20)
    batch = filled.sample(SHAPE, RAW, shared=True)
    np.testing.assert_array_equal(batch.reward[:, 1], batch.observation[:, 1, :, 0])
    np.testing.assert_array_equal(batch.reward[:, 2], batch.observation[:, 2, :, 1])


def test_unshared_experience_is_drawn_by_its_owner_only(replay: Replay, point_task: Task) -> None:
    achieved = point_task.columns("achieved_goal")
    stops = np.cumsum([0, *LENGTHS])
    for _ in range(2):
        batch = replay.sample(SHAPE, RAW, shared=False)
        for learner in range(4):
            own = replay.state[stops[learner] : stops[learner + 1], achieved]
            drawn = batch.observation[:, learner, :, achieved].reshape(-1, 2)
            places = {row.tobytes() for row in own}
            assert {row.tobytes() for row in drawn} == places


def test_shared_experience_is_drawn_by_all(replay: Replay, point_task: Task) -> None:
    batch = replay.sample(SHAPE, RAW, shared=True)
    for learner in range(4):
        drawn = batch.observation[:, learner, :, point_task.columns("achieved_goal")]
        assert len({row.tobytes() for row in drawn.reshape(-1, 2)}) == sum(LENGTHS)


def test_readiness_asks_for_what_would_be_drawn(point_task: Task) -> None:
    filled = make(point_task)
    assert not filled.ready(True, [0])
    filled.add(make_episode(point_task, 5, 0), owner=1)
    assert filled.ready(True, [0, 1])
    assert filled.ready(False, [1])
    assert not filled.ready(False, [0, 1])


def still(task: Task, length: int, seed: int) -> Transitions:
    """An episode in which what the goal is about never moves."""
    episode = make_episode(task, length, seed)
    achieved = task.columns("achieved_goal")
    for part in (episode.state, episode.next_state):
        part[:, achieved] = episode.state[0, achieved]
    return episode


def one_that_moves(task: Task, **changes: Any) -> Replay:
    """Nine episodes without movement, and then one of the same length with it."""
    filled = make(task, **changes)
    for number in range(10):
        create = make_episode if number == 9 else still
        filled.add(create(task, 10, number), owner=number % 4)
    filled.relabel(0, Judge(task))
    return filled


@pytest.mark.parametrize(("asked", "share"), [(0.0, 0.1), (0.5, 0.55), (1.0, 1.0)])
def test_a_share_can_come_from_the_episodes_that_move(
    asked: float, share: float, point_task: Task
) -> None:
    batch = one_that_moves(point_task, moving_share=asked).sample(SHAPE, RAW, shared=True)
    achieved = point_task.columns("achieved_goal")
    moves = (batch.observation != batch.next_observation)[..., achieved].any(axis=-1)
    assert moves.mean() == pytest.approx(share, abs=0.03)


def test_the_share_that_moves_is_ones_own(point_task: Task) -> None:
    filled = one_that_moves(point_task, moving_share=1.0)
    batch = filled.sample(SHAPE, RAW, shared=False)
    achieved = point_task.columns("achieved_goal")
    moves = (batch.observation != batch.next_observation)[..., achieved].any(axis=-1)
    assert moves[:, 1].all()  # it played the last
    assert not moves[:, [0, 2, 3]].any()


def test_moving_can_be_worth_something(point_task: Task) -> None:
    plain, extra = (
        one_that_moves(point_task, moving_share=0.5).sample(SHAPE, RAW, True, bonus)
        for bonus in (0.0, 2.0)
    )
    moves = (plain.observation != plain.next_observation)[..., point_task.columns("achieved_goal")]
    deviation = one_that_moves(point_task).scale.deviation[[0, 0, 1, 1]]
    gain = (extra.reward - plain.reward) / deviation[:, None]
    np.testing.assert_allclose(gain, 2.0 * moves.any(axis=-1), atol=1e-4)
    grown = extra.reward_range - plain.reward_range
    np.testing.assert_allclose(grown[0, :, 1], 2.0 * deviation, rtol=1e-4)
    np.testing.assert_array_equal(grown[0, :, 0], 0.0)


@pytest.mark.parametrize("ends", [False, True])
def test_the_range_of_the_rewards_goes_with_them(ends: bool, point_task: Task) -> None:
    filled = make(point_task)
    filled.add(make_episode(point_task, 30, 0, ends=ends))
    filled.relabel(0, Judge(point_task))
    rewards = filled.reward[:, : 30 * (1 + HINDSIGHT)]
    expected = np.stack([rewards.min(axis=1), rewards.max(axis=1)], axis=1)
    if ends:  # what comes after the end is worth nothing, neither more nor less
        expected = np.stack([np.minimum(expected[:, 0], 0), np.maximum(expected[:, 1], 0)], axis=1)
    seen = filled.sample(SHAPE, RAW, shared=True).reward_range
    assert seen.shape == (5, 4, 2)
    np.testing.assert_allclose(seen[0], expected[[0, 0, 1, 1]], rtol=1e-6)


def test_memory_ends_where_it_was_said_to(point_task: Task) -> None:
    filled = make(point_task, capacity=30)
    stored = [filled.add(make_episode(point_task, 20, number), owner=0) for number in range(3)]
    assert stored == [20, 10, 0]
    assert filled.size == filled.capacity == 30
    assert filled.goal_row.max() < 30
    filled.relabel(0, Judge(point_task))
    assert filled.sample(SHAPE, RAW, shared=True).reward.shape == SHAPE


def test_the_same_seed_draws_the_same(point_task: Task) -> None:
    batches = []
    for seed in (3, 3, 4):
        filled = make(point_task, seed=seed)
        filled.add(make_episode(point_task, 30, 0))
        filled.relabel(0, Judge(point_task))
        batches.append(filled.sample(SHAPE, RAW, shared=True))
    for one, other in zip(batches[0], batches[1], strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(batches[0].observation, batches[2].observation)


def test_actions_are_scaled_from_any_box(point_task: Task) -> None:
    space = gymnasium.spaces.Box(np.array([0.0, -3.0]), np.array([4.0, 1.0]), dtype=np.float32)
    filled = make(point_task, actions=space)
    episode = make_episode(point_task, 30, 0)
    scaled = episode.action.copy()
    episode.action[:] = space.low + 0.5 * (scaled + 1.0) * (space.high - space.low)
    filled.add(episode)
    filled.relabel(0, Judge(point_task))
    drawn = filled.sample(SHAPE, RAW, shared=True).action.reshape(-1, 2)
    np.testing.assert_allclose(np.unique(drawn[:, 0]), np.sort(scaled[:, 0]), atol=1e-6)
    np.testing.assert_allclose(np.unique(drawn[:, 1]), np.sort(scaled[:, 1]), atol=1e-6)


def test_termination_is_kept(point_task: Task) -> None:
    filled = make(point_task)
    filled.add(make_episode(point_task, 2, 0, ends=True))
    filled.relabel(0, Judge(point_task))
    batch = filled.sample(SHAPE, RAW, shared=True)
    place = batch.observation[..., point_task.columns("achieved_goal")]
    last = (place == filled.state[1, point_task.columns("achieved_goal")]).all(axis=-1)
    np.testing.assert_array_equal(batch.terminated > 0, last)


def same(one: Transitions, other: Transitions) -> bool:
    return all(
        getattr(one, name).tobytes() == getattr(other, name).tobytes()
        for name in ("state", "action", "next_state", "terminated")
    )


def test_episodes_come_back_bit_for_bit(point_task: Task, tmp_path: Path) -> None:
    filled = make(point_task)
    episodes = [
        make_episode(point_task, length, number, ends=number == 1)
        for number, length in enumerate(LENGTHS)
    ]
    for episode in episodes:
        filled.add(episode)
    filled.save(tmp_path / "all.npz")
    filled.save(tmp_path / "late.npz", first=2)
    back = stored_episodes([tmp_path / "all.npz"], 1_000)
    assert len(back) == 4
    assert all(same(*pair) for pair in zip(back, episodes, strict=True))
    late = stored_episodes([tmp_path / "late.npz"], 1_000)
    assert [len(episode) for episode in late] == [1, 33]
    assert same(late[1], episodes[3])


@pytest.mark.parametrize(("most", "kept"), [(0, []), (35, [33, 1]), (41, [33, 1, 7]), (61, 4)])
def test_the_oldest_episodes_are_left_out(
    most: int, kept: Any, point_task: Task, tmp_path: Path
) -> None:
    files = []
    for place, part in enumerate((LENGTHS[:2], LENGTHS[2:])):
        filled = make(point_task)
        for number, length in enumerate(part):
            filled.add(make_episode(point_task, length, number))
        files.append(tmp_path / f"{place}.npz")
        filled.save(files[-1])
    lengths = [len(episode) for episode in stored_episodes(files, most)]
    assert lengths == (list(LENGTHS) if kept == 4 else kept[::-1])


def test_an_empty_store_can_be_kept(point_task: Task, tmp_path: Path) -> None:
    make(point_task).save(tmp_path / "empty.npz")
    assert stored_episodes([tmp_path / "empty.npz"], 100) == []
