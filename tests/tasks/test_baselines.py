"""Baselines: equal to what the environment says, kept from the search, trained by both backends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rewardsmith.errors import ConfigurationError
from rewardsmith.reward.process import RewardProcess
from rewardsmith.settings import EnvSettings, SandboxSettings, Settings
from rewardsmith.tasks.baselines import Baseline, baselines
from rewardsmith.tasks.task import Task, build_task, make_environment, play_randomly
from rewardsmith.tasks.wrapper import flat_action
from rewardsmith.types import FloatArray, RewardFunction, Status, Transitions
from tests.conftest import CFG, load_settings, load_task
from tests.training.conftest import Training, candidates

GOALS = {
    "reach": 0.05,
    "push": 0.05,
    "slide": 0.05,
    "pick_and_place": 0.05,
    "point_maze": 0.45,
    "ant_maze": 0.45,
    "hand_reach": 0.01,
}
NATIVE = {"sparse": "sparse", "human": "dense"}


def evaluate(task: Task, source: str, batch: Transitions, limits: SandboxSettings) -> FloatArray:
    with RewardProcess(task.layout, limits) as process:
        process.load(RewardFunction(source))
        return process.evaluate(batch.state, batch.action, batch.next_state).total.copy()


def near_goals(task: Task, batch: Transitions, radius: float) -> Transitions:
    """Give half of some transitions a goal about as far from what was reached as counts."""
    random = np.random.default_rng(0)
    width = task.columns("desired_goal").stop - task.columns("desired_goal").start
    way = random.normal(size=(len(batch), width))
    way *= random.uniform(0, 2 * radius, (len(batch), 1)) / np.linalg.norm(way, axis=1)[:, None]
    goals = batch.next_state[:, task.columns("achieved_goal")] + way
    for part in (batch.state, batch.next_state):
        part[::2, task.columns("desired_goal")] = goals[::2]
    return batch


@pytest.mark.parametrize("name", GOALS)
def test_a_formula_equals_the_reward_of_the_environment(
    name: str, sandbox: SandboxSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rewardsmith.tasks.task.RANDOM_PLAY_STEPS", 120)
    task = load_task(f"env={name}")
    batch = near_goals(task, play_randomly(task, 0).transitions, GOALS[name])
    achieved, desired = (
        batch.next_state[:, task.columns(key)] for key in ("achieved_goal", "desired_goal")
    )
    own = baselines(task)
    for word, reward_type in NATIVE.items():
        arguments = {**task.settings.kwargs, "reward_type": reward_type}
        env: Any = make_environment(
            task.settings.model_copy(update={"kwargs": arguments})
        ).unwrapped
        native = env.compute_reward(achieved, desired, {})
        mine = evaluate(task, own[word].source, batch, sandbox)
        np.testing.assert_allclose(mine, native, atol=1e-6)
        assert len(np.unique(native)) > 1
        assert own[word].hindsight
        env.close()


def test_the_formula_of_the_point_equals_its_reward(
    point_task: Task, sandbox: SandboxSettings
) -> None:
    batch = near_goals(point_task, play_randomly(point_task, 0).transitions, 0.15)
    achieved, desired = (
        batch.next_state[:, point_task.columns(key)] for key in ("achieved_goal", "desired_goal")
    )
    env: Any = point_task.make().unwrapped
    mine = evaluate(point_task, baselines(point_task)["sparse"].source, batch, sandbox)
    np.testing.assert_array_equal(mine, env.compute_reward(achieved, desired, {}))


@pytest.mark.parametrize("name", ["half_cheetah", "ant", "reacher"])
def test_the_environments_own_reward_is_what_a_baseline_learns_from(
    name: str, sandbox: SandboxSettings
) -> None:
    baseline = baselines(load_task(f"env={name}"))["human"]
    task = build_task(baseline.env)
    assert not baseline.hindsight
    env, bare = task.make(), make_environment(load_settings(f"env={name}").env)
    observation, info = env.reset(seed=4)
    bare.reset(seed=4)
    states, actions, rewards = [task.record(env, observation, info)], [], []
    for action in np.random.default_rng(0).uniform(-1, 1, (40, *env.action_space.shape)):  # type: ignore[misc]
        observation, _, _, _, info = env.step(action.astype(np.float32))
        rewards.append(float(bare.step(action.astype(np.float32))[1]))
        states.append(task.record(env, observation, info))
        actions.append(flat_action(action))
    batch = Transitions(
        np.array(states[:-1]), np.array(actions), np.array(states[1:]), np.zeros(40, bool)
    )
    assert states[0][task.columns("info.environment_reward")].tolist() == [0.0]
    np.testing.assert_allclose(evaluate(task, baseline.source, batch, sandbox), rewards, atol=1e-9)
    assert len(set(rewards)) > 30


def test_the_success_of_a_step_can_be_a_reward(sandbox: SandboxSettings) -> None:
    task = load_task("env=point", "++env.baselines.solved=success")
    baseline = baselines(task)["solved"]
    batch = play_randomly(build_task(baseline.env), 0).transitions
    mine = evaluate(build_task(baseline.env), baseline.source, batch, sandbox)
    sparse = evaluate(task, baselines(task)["sparse"].source, records(task, batch), sandbox)
    np.testing.assert_array_equal(mine, sparse + 1.0)
    assert 0 < mine.sum() < len(mine)


def records(task: Task, batch: Transitions) -> Transitions:
    """Without what only a baseline's task records; that comes last."""
    width = task.layout.state_width
    return Transitions(
        batch.state[:, :width], batch.action, batch.next_state[:, :width], batch.terminated
    )


def test_success_once_does_not_make_every_later_step_a_success() -> None:
    rule = "{source: 'observation[0]', at: ever, above: 0.0}"
    task = load_task(
        "env=gym", "env.id=Pendulum-v1", "env.description=x", f"env.success_when={rule}"
    )
    env = build_task(
        task.settings.model_copy(update={"environment_fields": ("environment_success",)})
    ).make()
    env.reset(seed=1)
    infos, seen = [], []
    for _ in range(60):
        observation, _, _, _, info = env.step(np.zeros(1, np.float32))
        infos.append(info["environment_success"])
        seen.append(float(observation[0] >= 0.0))
    assert infos == seen
    assert set(infos) == {0.0, 1.0}


def test_any_gymnasium_id_is_compared_with_its_own_reward() -> None:
    task = load_task("env=gym", "env.id=Pendulum-v1", "env.description=x")
    assert {name: item.env.environment_fields for name, item in baselines(task).items()} == {
        "human": ("environment_reward",)
    }


def test_the_search_never_has_the_fields_of_a_baseline() -> None:
    for file in sorted((CFG / "env").glob("*.yaml")):
        if file.stem in ("base", "gym") or file.stem.startswith("metaworld"):
            continue
        task = load_task(f"env={file.stem}")
        own = baselines(task)
        assert "human" in own
        assert not any(name.startswith("environment_") for name in task.layout.names)
        assert not any("environment_" in name for name, _ in task.sources)


def test_nobody_can_ask_for_the_fields_of_a_baseline() -> None:
    message = "env.environment_fields is .*a search must not see what the environment says"
    with pytest.raises(ConfigurationError, match=message) as caught:
        load_settings("env=point", "++env.environment_fields=[environment_reward]")
    assert "\n" not in str(caught.value)


def test_a_bad_baseline_is_one_sentence() -> None:
    with pytest.raises(ConfigurationError, match="or the source of compute_reward for mine"):
        load_settings("env=point", "++env.baselines.mine=reward")


@pytest.mark.parametrize("backend", ["population", "sb3"])
def test_the_settings_of_a_baseline_turn_hindsight_off(backend: str) -> None:
    own = "++env.baselines.own=environment"
    settings = load_settings("env=point", f"training={backend}", own)
    found = baselines(build_task(settings.env))
    same, other = (found[name].settings(settings) for name in ("human", "own"))
    assert same == settings
    assert (
        not build_task(other.env).has_goals
        and getattr(other.training, "hindsight", 0) == 0
        and getattr(other.training, "replay_buffer", None) is None
    )
    again = EnvSettings.model_validate(other.env.model_dump(mode="json"))
    assert again == other.env


def point_settings(backend: str) -> Settings:
    more = ("training.replay_buffer=her", "++training.kwargs.learning_starts=100")
    return load_settings(
        "env=point",
        f"training={backend}",
        "++env.baselines.own=environment",
        "++env.baselines.solved=success",
        "env.tuned.learning_starts=60",
        "training.total_timesteps=200",
        "training.checkpoints=2",
        "training.checkpoint_episodes=2",
        "sandbox.allow_weaker=true",
        "experiment.seeds=1",
        "experiment.final_seeds=1",
        "experiment.test_episodes=5",
        *(more if backend == "sb3" else ()),
    )


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["population", "sb3"])
def test_both_backends_train_with_every_kind_of_baseline(tmp_path: Path, backend: str) -> None:
    settings = point_settings(backend)
    found = baselines(build_task(settings.env))
    for name, baseline in found.items():
        training = Training(tmp_path / name, trained_on(baseline, settings))
        [candidate] = candidates(baseline.source)
        [evaluation] = training.again(candidate)
        assert evaluation.status is Status.OK, evaluation.fault
        assert evaluation.fitness is not None
        assert evaluation.fitness.kind == "success"
        if name == "own":  # 20 steps of 0 or -1
            assert all(-20 <= point.own_return <= 0 for point in evaluation.curves[0])


def trained_on(baseline: Baseline, settings: Settings) -> Settings:
    return baseline.settings(settings)
