"""Tasks: what they are built from, what they deliver, what they refuse."""

from __future__ import annotations

import re
from typing import Any

import gymnasium
import numpy as np
import pytest

from rewardsmith.errors import TaskError
from rewardsmith.settings import EnvSettings
from rewardsmith.tasks.task import (
    HINDSIGHT_ROWS,
    PROBE_ROWS,
    RANDOM_PLAY_STEPS,
    Task,
    build_task,
    make_environment,
    play_randomly,
)
from tests.conftest import FETCH_COLUMNS, load_settings, load_task

SHIPPED = ("pick_and_place", "point", "push", "reach", "slide")  # more: test_catalogue.py
FETCH = {"reach": 10, "push": 25, "slide": 25, "pick_and_place": 25}


def gym_task(env_id: str, **changes: Any) -> Task:
    """A task of any environment, with fields given as name → source."""
    fields = changes.pop("fields", None)
    if fields is not None:
        fields = {name: {"source": source, "meaning": name} for name, source in fields.items()}
    return build_task(
        EnvSettings.model_validate(
            {"name": "x", "id": env_id, "description": "x", "fields": fields, **changes}
        )
    )


def fields_of(task: Task, record: np.ndarray) -> dict[str, np.ndarray]:
    return {item.name: record[item.start : item.stop] for item in task.layout.fields}


@pytest.fixture(scope="module", params=SHIPPED)
def shipped(request: pytest.FixtureRequest) -> Task:
    return load_task(f"env={request.param}")


def test_a_shipped_task_knows_its_success(shipped: Task) -> None:
    assert shipped.success_key == "is_success"
    assert shipped.fitness_kind == "success"
    assert shipped.horizon > 0
    assert shipped.has_goals
    assert str(shipped.horizon) in (shipped.settings.success or "")


def test_a_shipped_task_records_what_the_environment_returned(shipped: Task) -> None:
    env = shipped.make()
    observation, info = env.reset(seed=0)
    for _ in range(3):
        record = shipped.record(env, observation, info)
        assert record.shape == (shipped.layout.state_width,)
        for name, part in observation.items():
            np.testing.assert_array_equal(record[shipped.columns(name)], part)
        for name, value in fields_of(shipped, record).items():
            source = next(item.source for item in shipped.layout.fields if item.name == name)
            key, _, rest = source.partition("[")
            start, stop = map(int, rest[:-1].split(":")) if rest else (0, None)
            np.testing.assert_array_equal(value, observation[key][start:stop])
        observation, _, _, _, info = env.step(env.action_space.sample())
    env.close()


def test_random_play_is_the_same_for_the_same_seed(
    shipped: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rewardsmith.tasks.task.RANDOM_PLAY_STEPS", 200)
    one, two, other = (play_randomly(shipped, seed) for seed in (5, 5, 6))
    for name in ("state", "action", "next_state", "terminated"):
        for part in ("transitions", "probe"):
            first, second = getattr(getattr(one, part), name), getattr(getattr(two, part), name)
            np.testing.assert_array_equal(first, second)
    assert not np.array_equal(one.transitions.state, other.transitions.state)
    assert len(one.transitions) == 200
    assert len(one.probe) == PROBE_ROWS + HINDSIGHT_ROWS


@pytest.mark.parametrize("name", FETCH)
def test_the_fields_of_the_fetch_tasks(name: str) -> None:
    task = load_task(f"env={name}")
    width = FETCH[name]
    found = {item.name: (item.start, item.stop) for item in task.layout.fields}
    start = task.columns("observation").start
    wanted = {
        key: (start + first, start + last) for key, (first, last) in FETCH_COLUMNS[width].items()
    }
    assert {key: value for key, value in found.items() if key in wanted} == wanted
    shapes = {item.name: item.shape for item in task.layout.fields}
    assert shapes["observation"] == f"(N, {width})"
    assert shapes["achieved_goal"] == shapes["desired_goal"] == "(N, 3)"
    assert set(found) == {*wanted, "observation", "achieved_goal", "desired_goal"}


def test_hindsight_rows_of_the_probe_are_reached_goals(point_task: Task) -> None:
    play = play_randomly(point_task, 0)
    goals, achieved = point_task.columns("desired_goal"), point_task.columns("achieved_goal")
    hindsight = play.probe[slice(PROBE_ROWS, None)]
    np.testing.assert_array_equal(hindsight.state[:, goals], hindsight.next_state[:, goals])
    reached = {tuple(row) for row in play.transitions.next_state[:, achieved]}
    assert all(tuple(row) in reached for row in hindsight.next_state[:, goals])
    drawn = {tuple(row) for row in play.transitions.next_state[:, goals]}
    assert not any(tuple(row) in drawn for row in hindsight.next_state[:, goals])


@pytest.mark.parametrize(
    ("env_id", "width", "actions", "horizon"),
    [
        ("Reacher-v5", 10, 2, 50),
        ("CartPole-v1", 4, 1, 500),
        ("Pendulum-v1", 3, 1, 200),
        ("HalfCheetah-v5", 17, 6, 1000),
        ("FrozenLake-v1", 1, 1, 100),
    ],
)
def test_any_environment_is_a_task(env_id: str, width: int, actions: int, horizon: int) -> None:
    task = load_task("env=gym", f"env.id={env_id}", "env.description=x")
    assert task.settings.name == env_id
    assert task.layout.names == {"observation"}
    assert (task.layout.state_width, task.layout.action_width) == (width, actions)
    assert task.horizon == horizon
    assert task.success_key is None
    assert task.fitness_kind == "return"
    assert not task.has_goals
    play = play_randomly(task, 0)
    steps = len(play.transitions)
    assert 100 < steps <= RANDOM_PLAY_STEPS
    assert play.transitions.state.shape == (steps, width)
    assert len(play.probe) == min(PROBE_ROWS, steps)


def test_actions_are_described() -> None:
    assert gym_task("Pendulum-v1").action == "an array of 1 numbers from -2 to 2"
    assert gym_task("CartPole-v1").action.startswith("a whole number from 0 to 1")


def test_a_time_limit_can_be_set() -> None:
    assert gym_task("Pendulum-v1", max_episode_steps=7).horizon == 7


def test_arguments_reach_the_environment() -> None:
    task = gym_task("FrozenLake-v1", kwargs={"map_name": "8x8"})
    env = task.make()
    assert env.observation_space.n == 64  # type: ignore[attr-defined]


class Told(gymnasium.Env):
    """Says what the test wants it to say in info."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,))
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))

    def __init__(self, told: dict[str, Any]) -> None:
        self.told = told

    def reset(self, **kwargs: Any) -> Any:
        super().reset(seed=kwargs.get("seed"))
        return np.zeros(2, dtype=np.float32), {}

    def step(self, action: Any) -> Any:
        return np.zeros(2, dtype=np.float32), 0.0, False, False, self.told


gymnasium.register(id="Told-v0", entry_point=Told, max_episode_steps=10)


@pytest.mark.parametrize(
    ("told", "key"),
    [
        ({"is_success": 0.0}, "is_success"),
        ({"success": False}, "success"),
        ({"success": False, "is_success": 0.0}, "is_success"),
        ({"successful": True}, None),
    ],
)
def test_the_success_key_is_found(told: dict[str, Any], key: str | None) -> None:
    assert gym_task("Told-v0", kwargs={"told": told}).success_key == key


def test_an_info_of_several_numbers_is_zero_until_it_is_told() -> None:
    told = {"force": np.array([1.0, 2.0, 3.0])}
    fields = {"force": "info.force", "observation": "observation"}
    task = gym_task("Told-v0", kwargs={"told": told}, fields=fields)
    play = play_randomly(task, 0).transitions
    columns = task.columns("info.force")
    assert play.state[0, columns].tolist() == [0.0, 0.0, 0.0]
    assert play.next_state[0, columns].tolist() == [1.0, 2.0, 3.0]


def test_simulator_state_can_be_a_field() -> None:
    fields = {
        "angles": "qpos[0:2]",
        "speed": "qvel[1]",
        "fingertip": "body.fingertip",
        "observation": "observation",
    }
    task = gym_task("Reacher-v5", fields=fields)
    env = task.make()
    env.reset(seed=0)
    observation, _, _, _, info = env.step(env.action_space.sample())
    values = fields_of(task, task.record(env, observation, info))
    data = env.unwrapped.data  # type: ignore[attr-defined]
    assert values["angles"].tolist() == data.qpos[:2].tolist()
    assert values["speed"].tolist() == [data.qvel[1]]
    assert values["fingertip"].tolist() == data.body("fingertip").xpos.tolist()
    shapes = {item.name: item.shape for item in task.layout.fields}
    assert shapes == {
        "angles": "(N, 2)",
        "speed": "(N,)",
        "fingertip": "(N, 3)",
        "observation": "(N, 10)",
    }


def test_infos_can_be_fields() -> None:
    task = gym_task("Hopper-v5", fields={"place": "info.x_position"})
    env = task.make()
    observation, info = env.reset(seed=0)
    values = fields_of(task, task.record(env, observation, info))
    assert values["place"].tolist() == [info["x_position"]]


def test_sites_can_be_fields() -> None:
    task = gym_task("FetchReach-v4", fields={"grip": "site.robot0:grip"})
    env = task.make()
    observation, info = env.reset(seed=0)
    values = fields_of(task, task.record(env, observation, info))
    np.testing.assert_allclose(values["grip"], observation["achieved_goal"], atol=1e-12)


@pytest.mark.parametrize(
    ("asked", "meant"),
    [("Reachr-v5", "Reacher-v5"), ("Cartpole-v1", "CartPole-v1"), ("FetchRech-v3", "FetchReach")],
)
def test_an_unknown_id_brings_up_close_ones(asked: str, meant: str) -> None:
    with pytest.raises(TaskError, match=f"env.id is '{asked}', but no such") as caught:
        gym_task(asked)
    assert f"did you mean {meant}" in str(caught.value).replace("-v4", "")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"id": "CartPole-v99"}, "env.id='CartPole-v99' cannot be built .*v99"),
        ({"id": "no.such.module:Thing-v0"}, "cannot be built .*ModuleNotFoundError"),
        ({"id": "CartPole-v1", "kwargs": {"odd": 1}}, "cannot be built .*odd"),
        ({"id": "Blackjack-v1"}, "has a Tuple space; supported are Box, Discrete"),
        ({"id": "FrankaKitchen-v1"}, "env.id"),
    ],
)
def test_what_cannot_be_built_is_one_sentence(settings: dict[str, Any], message: str) -> None:
    settings = dict(settings)
    with pytest.raises(TaskError, match=message) as caught:
        gym_task(settings.pop("id"), **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("observation[0:11]", "is 'observation[0:11]', but observation has 10 numbers"),
        ("observation[10]", "is 'observation[10]', but observation has 10 numbers"),
        ("observation[4:4]", "is 'observation[4:4]', but observation has 10 numbers"),
        ("observation[5:2]", "is 'observation[5:2]', but observation has 10 numbers"),
        ("observation[-1]", "must look like observation[0:3]"),
        ("observation[a]", "must look like observation[0:3]"),
        ("", "must look like observation[0:3]"),
        ("info.reward_dist", "a reward of the environment must not be shown"),
        ("info.Reward_ctrl", "a reward of the environment must not be shown"),
        ("info.is_success", "a reward of the environment must not be shown"),
        ("info.ctrl_cost", "a reward of the environment must not be shown"),
        ("info.nothing", "Reacher-v5 does not deliver 'info.nothing'"),
        ("body.tail", "Reacher-v5 does not deliver 'body.tail'"),
        ("site.tail", "Reacher-v5 does not deliver 'site.tail'"),
        ("desired_goal", "Reacher-v5 does not deliver 'desired_goal'"),
        ("weather", "Reacher-v5 does not deliver 'weather'"),
    ],
)
def test_a_bad_source_is_refused(field: str, message: str) -> None:
    with pytest.raises(TaskError, match=re.escape(message)) as caught:
        gym_task("Reacher-v5", fields={"thing": field})
    assert "\n" not in str(caught.value)


def test_simulator_state_needs_a_simulator() -> None:
    with pytest.raises(TaskError, match="CartPole-v1 does not deliver 'qpos'"):
        gym_task("CartPole-v1", fields={"thing": "qpos"})


@pytest.mark.parametrize("name", ["Thing", "2nd", "a-b", "a" * 41])
def test_a_bad_field_name_is_refused(name: str) -> None:
    with pytest.raises(TaskError, match=f"env.fields.{name} is not a field name"):
        gym_task("CartPole-v1", fields={name: "observation"})


def test_the_environment_can_be_made_from_settings_alone() -> None:
    settings = load_settings("env=point").env
    again = EnvSettings.model_validate(settings.model_dump())
    assert build_task(again) == build_task(settings)
    assert make_environment(again).reset(seed=1)[0].keys() == {
        "observation",
        "achieved_goal",
        "desired_goal",
    }


class LateSuccessEnv(gymnasium.Env):
    """Reports success at the end of an episode only."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))

    def reset(self, **kwargs: Any) -> tuple[np.ndarray, dict[str, Any]]:
        self.left = 5
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.left -= 1
        info = {"success": True} if self.left == 0 else {}
        return np.zeros(1, np.float32), 0.0, self.left == 0, False, info


def test_a_success_flag_that_comes_only_at_the_end_is_found() -> None:
    gymnasium.register("LateSuccess-v0", entry_point=LateSuccessEnv)
    try:
        task = load_task("env=gym", "env.id=LateSuccess-v0", "env.description=x")
        assert task.success_key == "success"
    finally:
        del gymnasium.registry["LateSuccess-v0"]
