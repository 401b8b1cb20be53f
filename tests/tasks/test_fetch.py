"""The v3 ids: as their documentation promises them, and as they really were."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest

from rewardsmith.errors import ConfigurationError, TaskError
from rewardsmith.tasks.task import build_task, make_environment
from tests.conftest import DATA, load_settings

REFERENCE = np.load(DATA / "reference" / "fetch_v3.npz")
FILES = {"Reach": "reach", "Push": "push", "Slide": "slide", "PickAndPlace": "pick_and_place"}


def make(name: str, *overrides: str) -> gymnasium.Env:
    return make_environment(load_settings(f"env={FILES[name]}", *overrides).env)


def as_released(name: str) -> gymnasium.Env:
    return make(name, "env.start_state=as_released")


def test_reach_as_released_starts_where_v3_started() -> None:
    env = as_released("Reach")
    for seed, (first, goal) in enumerate(
        zip(REFERENCE["Reach_obs0"], REFERENCE["Reach_goal"], strict=True)
    ):
        observation, _ = env.reset(seed=seed)
        np.testing.assert_array_equal(observation["observation"], first)
        np.testing.assert_allclose(observation["desired_goal"], goal, atol=1e-4)


def test_reach_as_released_moves_as_v3_moved() -> None:
    env = as_released("Reach")
    for seed, recorded in enumerate(REFERENCE["Reach_traj"]):
        env.reset(seed=seed)
        generator = np.random.default_rng(seed)
        path = [
            env.step(generator.uniform(-1, 1, 4).astype(np.float32))[0]["achieved_goal"]
            for _ in range(50)
        ]
        gap = np.linalg.norm(np.array(path) - recorded[1:, :3], axis=1)
        assert gap.max() < 0.03


@pytest.mark.parametrize("name", ["Push", "Slide", "PickAndPlace"])
def test_contact_tasks_as_released_start_where_v3_started(name: str) -> None:
    env = as_released(name)
    starts, goals = REFERENCE[f"{name}_obs0"], REFERENCE[f"{name}_goal"]
    for seed, (first, goal) in enumerate(zip(starts, goals, strict=True)):
        observation, _ = env.reset(seed=seed)
        np.testing.assert_allclose(observation["observation"], first, atol=0.025)
        np.testing.assert_allclose(observation["desired_goal"], goal, atol=0.025)


def test_documented_differs_from_as_released() -> None:
    documented, _ = make("Reach").reset(seed=0)
    released, _ = as_released("Reach").reset(seed=0)
    np.testing.assert_allclose(documented["achieved_goal"], [1.342, 0.749, 0.535], atol=1e-3)
    np.testing.assert_allclose(released["achieved_goal"], [1.435, 0.264, 0.786], atol=1e-3)


def controller_wins(env: gymnasium.Env, episodes: int) -> list[bool]:
    wins = []
    for seed in range(episodes):
        observation, info = env.reset(seed=seed)
        for _ in range(50):
            error = observation["desired_goal"] - observation["achieved_goal"]
            action = np.append(np.clip(10 * error, -1, 1), 0).astype(np.float32)
            observation, _, _, _, info = env.step(action)
        wins.append(bool(info["is_success"]))
    return wins


def test_few_goals_can_be_reached_as_released() -> None:
    wins = controller_wins(as_released("Reach"), 30)
    recorded = REFERENCE["P_success"][:30].astype(bool)
    assert np.mean(wins == recorded) >= 0.95
    assert 0.05 < np.mean(wins) < 0.25


def test_all_goals_can_be_reached_as_documented() -> None:
    assert all(controller_wins(make("Reach"), 12))


@pytest.mark.parametrize("name", FILES)
def test_documented_is_v4_to_the_last_bit(name: str) -> None:
    ours, stock = make(name), gymnasium.make(f"Fetch{name}-v4")
    generator = np.random.default_rng(7)
    for seed in range(3):
        first, second = ours.reset(seed=seed)[0], stock.reset(seed=seed)[0]
        for _ in range(20):
            for part in first:
                np.testing.assert_array_equal(first[part], second[part])
            action = generator.uniform(-1, 1, 4).astype(np.float32)
            one, two = ours.step(action), stock.step(action)
            first, second = one[0], two[0]
            assert one[1] == two[1]


@pytest.mark.parametrize("name", FILES)
def test_the_v4_id_builds_the_same_task(name: str) -> None:
    v3 = build_task(load_settings(f"env={FILES[name]}").env)
    v4 = build_task(load_settings(f"env={FILES[name]}", f"env.id=Fetch{name}-v4").env)
    assert v4.layout == v3.layout
    assert (v4.horizon, v4.success_key) == (v3.horizon, v3.success_key) == (50, "is_success")


def test_a_dense_id_pays_the_dense_reward() -> None:
    env = make("Reach", "env.id=FetchReachDense-v3")
    env.reset(seed=0)
    reward = float(env.step(np.zeros(4, dtype=np.float32))[1])
    assert reward not in (0.0, -1.0)
    assert -0.5 < reward < 0.0


def run_fresh(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "default", "-c", code], capture_output=True, text=True, check=True
    )


def test_building_a_fetch_task_prints_nothing() -> None:
    ran = run_fresh(
        "from tests.conftest import load_settings\n"
        "from rewardsmith.tasks.task import make_environment\n"
        "for name in ('FetchReach-v3', 'FetchReach-v4'):\n"
        "    make_environment(load_settings('env=reach', f'env.id={name}').env).close()\n"
    )
    assert "Adroit" not in ran.stdout + ran.stderr
    assert "out of date" not in ran.stdout + ran.stderr


def test_a_fresh_process_makes_the_id_by_its_module() -> None:
    ran = run_fresh(
        "import gymnasium\n"
        "env = gymnasium.make('rewardsmith.tasks.fetch:FetchReach-v3', start_state='as_released')\n"
        "print(env.reset(seed=0)[0]['achieved_goal'].round(3).tolist())\n"
    )
    assert ran.stdout.strip() == "[1.435, 0.264, 0.786]"


def test_the_id_may_name_its_module() -> None:
    overrides = ["env.id=rewardsmith.tasks.fetch:FetchReach-v3", "env.start_state=as_released"]
    observation, _ = make("Reach", *overrides).reset(seed=0)
    np.testing.assert_array_equal(observation["observation"], REFERENCE["Reach_obs0"][0])


def test_a_wrong_start_state_names_the_right_ones() -> None:
    with pytest.raises(ConfigurationError, match="env.start_state is 'odd'") as caught:
        load_settings("env=reach", "env.start_state=odd")
    assert "'documented' or 'as_released'" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("env_id", ["FetchReach-v4", "Reacher-v5"])
def test_only_v3_ids_can_be_as_released(env_id: str) -> None:
    overrides: list[Any] = [f"env.id={env_id}", "env.start_state=as_released"]
    with pytest.raises(TaskError, match=f"only the Fetch v3 ids have it, not '{env_id}'"):
        make("Reach", *overrides)


def test_a_wrong_start_state_given_to_gymnasium_is_refused() -> None:
    with pytest.raises(ValueError, match="must be documented or as_released"):
        gymnasium.make("rewardsmith.tasks.fetch:FetchReach-v3", start_state="odd")
