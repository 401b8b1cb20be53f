"""Every task in ``cfg/env`` is built, stepped and probed; a new file is tested by being there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest

from rewardsmith.config import task_names, task_settings
from rewardsmith.reward.probe import probe
from rewardsmith.reward.process import RewardProcess
from rewardsmith.settings import SandboxSettings
from rewardsmith.tasks.baselines import baselines
from rewardsmith.tasks.task import Task, build_task, play_randomly
from rewardsmith.types import FloatArray, RewardFunction

UNITS = {"", "m", "m/s", "rad", "rad/s", "m per step", "rad per step"}
FETCH = {"pick_and_place", "push", "reach", "slide"}
MUJOCO = {"reacher", "pusher", "hopper", "half_cheetah", "walker2d", "ant"}
MT10 = {
    f"metaworld_{name}"
    for name in (
        "reach push pick_place door_open drawer_open drawer_close button_press_topdown "
        "peg_insert_side window_open window_close"
    ).split()
}
OTHERS = {"point", "point_maze", "ant_maze", "hand_reach", "hopper_stand", "walker2d_stand"}


def _parameter(name: str) -> Any:
    """One task; all of MT10 but one take their time elsewhere."""
    slow = name.startswith("metaworld") and name != "metaworld_reach"
    return pytest.param(name, marks=pytest.mark.slow if slow else ())


@pytest.fixture(scope="module", params=map(_parameter, task_names()))
def task(request: pytest.FixtureRequest) -> Task:
    if request.param.startswith("metaworld"):
        pytest.importorskip("metaworld", reason="the extra metaworld is not installed")
    [env] = task_settings([request.param])
    return build_task(env)


def rollout(task: Task, env: gymnasium.Env, seed: int, steps: int = 25) -> FloatArray:
    """State records of some steps with fixed random actions."""
    observation, info = env.reset(seed=seed)
    env.action_space.seed(3)
    rows = [task.record(env, observation, info)]
    for _ in range(steps):
        observation, _, terminated, truncated, info = env.step(env.action_space.sample())
        rows.append(task.record(env, observation, info))
        if terminated or truncated:
            break
    return np.array(rows)


def honest(task: Task) -> str:
    """A reward over every field of a task."""
    lines = ["def compute_reward(state, action, next_state):"]
    for item in task.layout.fields:
        change = f'next_state["{item.name}"] - state["{item.name}"]'
        length = f"np.abs({change})" if item.scalar else f"np.linalg.norm({change}, axis=-1)"
        lines.append(f"    {item.name} = 0.01 * {length}")
    names = [item.name for item in task.layout.fields]
    lines.append("    effort = -0.01 * np.sum(action**2, axis=-1)")
    parts = ", ".join(f'"{name}": {name}' for name in [*names, "effort"])
    lines.append(f"    return {' + '.join([*names, 'effort'])}, {{{parts}}}")
    return "\n".join(lines) + "\n"


def test_the_tasks_are_those_that_the_readme_promises() -> None:
    assert set(task_names()) >= FETCH | MUJOCO | MT10 | OTHERS


def test_a_task_says_what_is_wanted_and_what_counts(task: Task) -> None:
    settings = task.settings
    assert settings.description.strip().endswith(".")
    assert settings.success is not None and settings.success.strip().endswith(".")
    assert task.success_key in ("is_success", "success")
    assert task.fitness_kind == "success"
    assert task.horizon > 0
    assert f"{task.horizon} steps" in " ".join(settings.success.split())
    assert "reward" not in f"{settings.description} {settings.success}".lower()


def test_a_success_is_reported_at_every_step(task: Task) -> None:
    env = task.make()
    env.reset(seed=0)
    for _ in range(3):
        info = env.step(env.action_space.sample())[4]
        assert task.success_key in info
        assert float(info[task.success_key]) in (0.0, 1.0)
    env.close()


def test_fields_deliver_what_they_claim(task: Task) -> None:
    env = task.make()
    rows = rollout(task, env, seed=0)
    env.close()
    assert np.isfinite(rows).all()
    assert task.settings.fields is not None
    for item in task.layout.fields:
        values = rows[:, item.start : item.stop]
        assert values.shape[1] > 0
        assert item.scalar == (item.shape == "(N,)")
        assert item.unit in UNITS
        assert item.meaning and "\n" not in item.meaning and not item.meaning.endswith(".")
        if item.unit == "m":  # nothing here is a hundred metres away after 25 steps
            assert np.abs(values).max() < 20


def test_the_same_seed_gives_the_same_episode(task: Task) -> None:
    env, other = task.make(), task.make()
    first = rollout(task, env, seed=7)
    different = rollout(task, env, seed=8)
    again = rollout(task, env, seed=7)  # whatever was played in between
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, rollout(task, other, seed=7))
    assert not np.array_equal(first[0], different[0])
    env.close()
    other.close()


def test_an_honest_reward_passes_the_probe(
    task: Task, sandbox: SandboxSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rewardsmith.tasks.task.RANDOM_PLAY_STEPS", 200)
    play = play_randomly(task, 0)
    fault = probe(RewardFunction(honest(task)), task.layout, play.probe, sandbox)
    assert fault is None, fault.message


def test_baselines_give_numbers(
    task: Task, sandbox: SandboxSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rewardsmith.tasks.task.RANDOM_PLAY_STEPS", 100)
    own = baselines(task)
    assert "human" in own
    for baseline in own.values():
        trained = build_task(baseline.env)
        batch = play_randomly(trained, 0).transitions
        with RewardProcess(trained.layout, sandbox) as process:
            process.load(RewardFunction(baseline.source))
            total = process.evaluate(batch.state, batch.action, batch.next_state).total
        assert np.isfinite(total).all()
        if baseline.name == "human":
            assert np.ptp(total) > 0


# -- fields against the simulation ----------------------------------------------------------------

Truth = Callable[[Any], Any]
LEGS: dict[str, Truth] = {
    "x_position": lambda data: data.qpos[0],
    "x_velocity": lambda data: data.qvel[0],
    "z_velocity": lambda data: data.qvel[1],
    "torso_angle": lambda data: data.qpos[2],
    "torso_angular_velocity": lambda data: data.qvel[2],
    "joint_angles": lambda data: data.qpos[3:],
    "joint_velocities": lambda data: data.qvel[3:],
    "height": lambda data: data.qpos[1],
}
FOUR_LEGS: dict[str, Truth] = {
    "height": lambda data: data.qpos[2],
    "orientation": lambda data: data.qpos[3:7],
    "joint_angles": lambda data: data.qpos[7:15],
    "velocity": lambda data: data.qvel[0:3],
    "angular_velocity": lambda data: data.qvel[3:6],
    "joint_velocities": lambda data: data.qvel[6:14],
}
TRUTH: dict[str, dict[str, Truth]] = {
    "half_cheetah": LEGS,
    "hopper": {**LEGS, "foot_position": lambda data: data.body("foot").xpos},
    "walker2d": {
        **LEGS,
        "right_foot_position": lambda data: data.body("foot").xpos,
        "left_foot_position": lambda data: data.body("foot_left").xpos,
    },
    "ant": {**FOUR_LEGS, "position": lambda data: data.qpos[0:2]},
    "ant_maze": {**FOUR_LEGS, "achieved_goal": lambda data: data.qpos[0:2]},
    "point_maze": {
        "achieved_goal": lambda data: data.qpos,
        "velocity": lambda data: data.qvel,
    },
    "reacher": {
        "joint_angles": lambda data: data.qpos[0:2],
        "joint_velocities": lambda data: data.qvel[0:2],
        "fingertip_position": lambda data: data.body("fingertip").xpos,
        "target_position": lambda data: data.body("target").xpos,
        "fingertip_to_target": lambda data: (
            data.body("fingertip").xpos - data.body("target").xpos
        )[:2],
    },
    "pusher": {
        "joint_angles": lambda data: data.qpos[0:7],
        "joint_velocities": lambda data: data.qvel[0:7],
        "tip_position": lambda data: data.body("tips_arm").xpos,
        "object_position": lambda data: data.body("object").xpos,
        "goal_position": lambda data: data.body("goal").xpos,
    },
    "hand_reach": {
        "joint_angles": lambda data: data.qpos,
        "joint_velocities": lambda data: data.qvel,
        "achieved_goal": lambda data: np.concatenate(
            [data.site(f"robot0:S_{name}tip").xpos for name in ("ff", "mf", "rf", "lf", "th")]
        ),
    },
}


@pytest.mark.parametrize("name", TRUTH)
def test_fields_are_what_the_simulation_says(name: str) -> None:
    [env_settings] = task_settings([name])
    task = build_task(env_settings)
    env = task.make()
    records = rollout(task, env, seed=1, steps=12)
    data = env.unwrapped.data  # type: ignore[attr-defined]
    fields = {item.name: records[-1, item.start : item.stop] for item in task.layout.fields}
    assert set(TRUTH[name]) <= set(fields)
    for field, truth in TRUTH[name].items():
        value = np.ravel(truth(data))
        if name in ("hopper", "walker2d") and "velocit" in field:  # these clip their velocities
            value = np.clip(value, -10, 10)
        np.testing.assert_allclose(fields[field], value, atol=1e-9, err_msg=field)
        if field != "goal_position":
            assert np.abs(value).max() > 0, field
    env.close()
