"""The fast step of the Fetch tasks against the stock one, to the last bit."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import TimeLimit
from gymnasium_robotics.envs.fetch.pick_and_place import MujocoFetchPickAndPlaceEnv
from gymnasium_robotics.envs.fetch.push import MujocoFetchPushEnv
from gymnasium_robotics.envs.fetch.reach import MujocoFetchReachEnv
from gymnasium_robotics.envs.fetch.slide import MujocoFetchSlideEnv
from gymnasium_robotics.utils.rotations import euler2mat, mat2euler

from rewardsmith.tasks.fast_fetch import FastStep, _euler
from rewardsmith.tasks.fetch import EPISODE_STEPS, START_STATES, _StartState

NAMES = ("Reach", "Push", "Slide", "PickAndPlace")
REWARDS = {"sparse": "", "dense": "Dense"}
SEEDS = 3
EPISODES = 3
STATE = ("qpos", "qvel", "ctrl", "mocap_pos", "mocap_quat")


class StockReachEnv(_StartState, MujocoFetchReachEnv):
    pass


class StockPushEnv(_StartState, MujocoFetchPushEnv):
    pass


class StockSlideEnv(_StartState, MujocoFetchSlideEnv):
    pass


class StockPickAndPlaceEnv(_StartState, MujocoFetchPickAndPlaceEnv):
    pass


SLOW = {
    "Reach": StockReachEnv,
    "Push": StockPushEnv,
    "Slide": StockSlideEnv,
    "PickAndPlace": StockPickAndPlaceEnv,
}


def make_fast(name: str, start_state: str = "documented", reward: str = "sparse") -> gymnasium.Env:
    env_id = f"rewardsmith.tasks.fetch:Fetch{name}{REWARDS[reward]}-v3"
    env = gymnasium.make(env_id, start_state=start_state)
    assert isinstance(env.unwrapped, FastStep)
    return env


def make_stock(name: str, start_state: str = "documented", reward: str = "sparse") -> gymnasium.Env:
    if start_state == "documented":
        return gymnasium.make(f"Fetch{name}{REWARDS[reward]}-v4")
    env = SLOW[name](start_state, reward_type=reward)
    return TimeLimit(env, EPISODE_STEPS)


def bits(value: Any) -> Any:
    """Type and bits, so that 0.0 and -0.0, or a float and an array, are not the same."""
    if isinstance(value, dict):
        return [(key, bits(item)) for key, item in value.items()]
    array = np.asarray(value)
    return type(value), array.dtype, array.shape, array.tobytes()


def state(env: gymnasium.Env) -> dict[str, np.ndarray]:
    return {name: getattr(env.unwrapped.data, name).copy() for name in STATE}


def choose(observation: dict[str, Any], step: int, rng: np.random.Generator) -> Any:
    """An action: go for the object, close the gripper, then thrash about, out of bounds too."""
    if step < 20:
        way = 15 * (observation["achieved_goal"] - observation["observation"][:3])
        action = np.append(way + rng.normal(scale=0.2, size=3), 1.0)
    elif step < 28:
        action = np.append(rng.uniform(-0.3, 0.3, 3), -1.0)
    else:
        action = rng.uniform(-3.0, 3.0, 4)
    if step % 7 == 3:
        return action
    if step % 11 == 5:
        return action.tolist()
    return action.astype(np.float32)


@pytest.mark.parametrize("reward", REWARDS)
@pytest.mark.parametrize("start_state", START_STATES)
@pytest.mark.parametrize("name", NAMES)
def test_the_fast_step_is_the_stock_step_to_the_last_bit(
    name: str, start_state: str, reward: str
) -> None:
    fast, stock = make_fast(name, start_state, reward), make_stock(name, start_state, reward)
    pushed = False
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        for episode in range(EPISODES):
            options: dict[str, Any] = {"seed": seed} if episode == 0 else {}
            observation, info = fast.reset(**options)
            expected = stock.reset(**options)
            start = observation["achieved_goal"]
            assert bits(observation) == bits(expected[0])
            assert info == expected[1]
            for step in range(EPISODE_STEPS):
                action = choose(observation, step, rng)
                observation, *rest = fast.step(action)
                expected_observation, *expected_rest = stock.step(action)
                assert bits(observation) == bits(expected_observation)
                assert [bits(item) for item in rest] == [bits(item) for item in expected_rest]
                assert bits(state(fast)) == bits(state(stock))
            assert rest[2]  # truncated
            pushed |= bool(np.linalg.norm(observation["achieved_goal"] - start) > 0.01)
    assert pushed or start_state == "as_released"


@pytest.mark.parametrize("name", NAMES)
def test_kept_observations_stay_as_they_were(name: str) -> None:
    env = make_fast(name)
    kept = [env.reset(seed=0)[0]]
    seen = [bits(kept[0])]
    for _ in range(5):
        kept.append(env.step(np.ones(4, dtype=np.float32))[0])
        seen.append(bits(kept[-1]))
    env.reset(seed=1)
    assert [bits(observation) for observation in kept] == seen
    assert len({item[0][1][3] for item in seen}) == len(seen)


def test_no_two_parts_of_an_observation_share_memory() -> None:
    env = make_fast("Reach")
    observation, _ = env.reset(seed=0)
    for part in observation.values():
        part[:] = 7.0
    assert np.all(np.abs(env.step(np.zeros(4, dtype=np.float32))[0]["observation"]) < 2.0)
    assert np.all(np.abs(env.unwrapped.goal) < 2.0)


@pytest.mark.parametrize("shape", [(), (3,), (5,), (1, 4)])
def test_an_action_of_the_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    messages = []
    for env in (make_fast("Push"), make_stock("Push")):
        env.reset(seed=0)
        before = bits(state(env))
        with pytest.raises(ValueError) as caught:
            env.unwrapped.step(np.zeros(shape, dtype=np.float32))
        messages.append(str(caught.value))
        assert bits(state(env)) == before
    assert messages == ["Action dimension mismatch"] * 2


def test_an_action_is_not_changed_by_its_step() -> None:
    env = make_fast("PickAndPlace")
    env.reset(seed=0)
    for action in (np.full(4, 2.0, dtype=np.float32), np.full(4, 0.5)):
        before = action.tobytes()
        env.step(action)
        assert action.tobytes() == before


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("reward", REWARDS)
def test_a_batch_is_rewarded_as_by_the_stock_class(reward: str, dtype: str) -> None:
    fast, stock = (make("Push", reward=reward).unwrapped for make in (make_fast, make_stock))
    rng = np.random.default_rng(0)
    for shape in [(3,), (64, 3), (2, 5, 3)]:
        achieved, goal = rng.uniform(-3, 3, (2, *shape)).astype(dtype)
        if dtype != "int64":
            goal = achieved + goal / 60
        ours = fast.compute_reward(achieved, goal, {})
        assert bits(ours) == bits(stock.compute_reward(achieved, goal, {}))
    with pytest.raises(AssertionError):
        fast.compute_reward(np.zeros(3), np.zeros((2, 3)), {})


def test_euler_angles_are_the_stock_ones() -> None:
    rng = np.random.default_rng(0)
    angles = rng.uniform(-np.pi, np.pi, (500, 3))
    angles[::5] = rng.choice(np.array([-1.0, -0.5, -0.0, 0.0, 0.5, 1.0]) * np.pi, (100, 3))
    for matrix in euler2mat(angles):
        assert bits(_euler(matrix.ravel().tolist())) == bits(mat2euler(matrix))
    for sine in (0.8, 0.0, -0.0):  # gimbal lock
        locked = np.array([[0.6, -0.8, 1.0], [sine, 0.6, 0.0], [-1.0, 0.0, 0.0]])
        assert bits(_euler(locked.ravel().tolist())) == bits(mat2euler(locked))


def test_locked_fingers_stay_closed() -> None:
    env = make_fast("Push")
    env.reset(seed=0)
    for _ in range(10):
        observation = env.step(np.ones(4, dtype=np.float32))[0]["observation"]
        np.testing.assert_array_equal(observation[9:11], 0.0)
