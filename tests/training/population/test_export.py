"""Learners as models of Stable-Baselines3, and the same policies in numpy."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import jax
import numpy as np
import pytest
import torch
from stable_baselines3 import SAC

from rewardsmith.evaluation import run_episodes
from rewardsmith.settings import PopulationSettings
from rewardsmith.tasks.task import Task, build_task, play_randomly
from rewardsmith.tasks.wrapper import RewardWrapper
from rewardsmith.training.population.actor import Actor, fold, pack, unpack, unscale
from rewardsmith.training.population.export import Exporter
from rewardsmith.training.population.features import Features
from rewardsmith.training.population.learner import Batch, Learners, _forward, _q
from rewardsmith.types import FloatArray
from tests.conftest import load_settings

REACH = ("env=reach", "training.hidden=[64,64]")
POINT = ("env=point", "training.hidden=[32]")
PENDULUM = ("env=gym", "env.id=Pendulum-v1", "env.description=-", "training.hidden=[32,16]")
WHICH = 1  # of the learners


@dataclass
class Case:
    """Two learners of a task that have learned a little, and observations of it."""

    task: Task
    env: gymnasium.Env
    settings: PopulationSettings
    learners: Learners
    features: Features
    records: FloatArray

    @property
    def actor(self) -> dict[str, Any]:
        return jax.tree.map(lambda array: array[WHICH], self.learners.actors())

    @property
    def critics(self) -> dict[str, Any]:
        return jax.tree.map(lambda array: array[WHICH], self.learners.critics())

    @property
    def raw(self) -> FloatArray:
        return self.records[:, self.features.columns]

    @property
    def observations(self) -> Any:
        """All of them as one batch, as the environment delivers them."""
        space = self.env.observation_space
        rows = [gymnasium.spaces.unflatten(space, row) for row in self.raw]
        if isinstance(space, gymnasium.spaces.Dict):
            return {key: np.array([row[key] for row in rows]) for key in space}
        return np.array(rows)

    def expected(self) -> np.ndarray:
        """What the learner does, from -1 to 1."""
        output = _forward(self.actor, self.features.apply(self.records))
        return np.tanh(np.asarray(output)[:, : self.learners.actions])

    def write(self, file: Path, action_space: gymnasium.spaces.Box | None = None) -> SAC:
        space = action_space or self.env.action_space
        exporter = Exporter(self.env.observation_space, space, self.settings)
        exporter.write(file, self.actor, self.critics, self.features)
        return SAC.load(file, device="cpu")


def fetch_like(task: Task, count: int) -> FloatArray:
    """Records with the scales of FetchReach, constants included."""
    generator = np.random.default_rng(0)
    records = np.zeros((count, task.layout.state_width))
    place = generator.normal([1.34, 0.75, 0.53], 0.05, (count, 3))
    observation = records[:, task.columns("observation")]
    observation[:, :3] = records[:, task.columns("achieved_goal")] = place
    observation[:, 5:8] = generator.normal(0.0, 1e-3, (count, 3))
    goals = records[:, task.columns("desired_goal")]
    goals[:] = place + generator.normal(0.0, 0.02, (count, 3))
    goals[:, 2] = 0.42469
    return records


def build(*overrides: str, made_up: bool = False) -> Case:
    settings = load_settings(
        "training=population",
        "training.device=cpu",
        "training.learning_rate=0.01",
        "training.batch_size=32",
        "training.updates_per_call=1",
        *overrides,
    )
    assert isinstance(settings.training, PopulationSettings)
    task = build_task(settings.env)
    env = task.make()
    records = fetch_like(task, 1_000) if made_up else play_randomly(task, 0).transitions.state
    features = Features(env.observation_space, task)
    features.update(records[::3])
    actions = task.layout.action_width
    learners = Learners(settings.training, len(features), actions, np.array([1, 2]))
    learners.update(random_batch(learners))
    return Case(task, env, settings.training, learners, features, records)


def random_batch(learners: Learners) -> Batch:
    generator = np.random.default_rng(0)
    shape = learners.batch_shape

    def normal(*width: int) -> np.ndarray:
        return generator.normal(size=(*shape, *width)).astype(np.float32)

    ended = np.zeros(shape, np.float32)
    action = np.tanh(normal(learners.actions))
    ends = np.tile(np.array([-5.0, 5.0], np.float32), (*shape[:2], 1))
    features = learners.features
    return Batch(normal(features), action, normal(), normal(features), ended, ends)


@pytest.fixture(scope="module", params=["reach", "fetch_like", "point", "pendulum"])
def case(request: pytest.FixtureRequest) -> Case:
    overrides = {"point": POINT, "pendulum": PENDULUM}.get(request.param, REACH)
    return build(*overrides, made_up=request.param == "fetch_like")


@pytest.fixture(scope="module")
def point() -> Case:
    return build(*POINT)


def test_the_model_acts_as_the_learner_on_raw_observations(case: Case, tmp_path: Path) -> None:
    model = case.write(tmp_path / "model.zip")
    expected = case.expected()
    assert expected.std(axis=0).min() > 0.01  # a constant policy would prove nothing
    acted = model.predict(case.observations, deterministic=True)[0]
    np.testing.assert_allclose(acted, unscale(expected, case.env.action_space), atol=1e-4)
    actor = Actor(fold(case.actor, case.features))
    np.testing.assert_allclose(
        acted, unscale(actor.mean(case.raw), case.env.action_space), atol=1e-5
    )


def test_the_model_draws_from_the_learners_distribution(case: Case, tmp_path: Path) -> None:
    model = case.write(tmp_path / "model.zip")
    tensors, _ = model.policy.obs_to_tensor(case.observations)
    with torch.no_grad():
        mean, log_std, _ = model.policy.actor.get_action_dist_params(tensors)
    output = np.asarray(_forward(case.actor, case.features.apply(case.records)))
    np.testing.assert_allclose(np.hstack([mean, log_std.numpy()]), output, atol=1e-3)


def test_the_critics_value_raw_observations_as_before(case: Case, tmp_path: Path) -> None:
    model = case.write(tmp_path / "model.zip")
    generator = np.random.default_rng(0)
    actions = generator.uniform(-1, 1, (len(case.records), case.learners.actions))
    actions = actions.astype(np.float32)
    tensors, _ = model.policy.obs_to_tensor(case.observations)
    inputs = case.features.apply(case.records)
    for name, critic in (("critic", model.critic), ("target", model.critic_target)):
        with torch.no_grad():
            values = torch.cat(critic(tensors, torch.tensor(actions)), dim=1).numpy().T
        expected = np.asarray(_q(case.critics[name], inputs, actions))
        np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    assert model.log_ent_coef.item() == pytest.approx(float(case.critics["log_temperature"]))


def test_critic_and_target_are_told_apart(point: Case, tmp_path: Path) -> None:
    model = point.write(tmp_path / "model.zip")
    pairs = zip(model.critic.parameters(), model.critic_target.parameters(), strict=True)
    assert all(not torch.equal(one, other) for one, other in pairs)


def test_actions_are_scaled_to_any_box(point: Case, tmp_path: Path) -> None:
    low, high = np.array([-3.0, 0.0], np.float32), np.array([1.0, 500.0], np.float32)
    space = gymnasium.spaces.Box(low, high)
    model = point.write(tmp_path / "model.zip", space)
    acted = model.predict(point.observations, deterministic=True)[0]
    np.testing.assert_allclose(acted, unscale(point.expected(), space), rtol=1e-4, atol=1e-3)
    assert acted[:, 1].max() > 1.0


def test_settings_travel_along(point: Case, tmp_path: Path) -> None:
    model = point.write(tmp_path / "model.zip")
    assert (model.gamma, model.tau) == (point.settings.discount, point.settings.tau)
    assert (model.learning_rate, model.batch_size) == (0.01, 32)
    assert model.policy_kwargs["net_arch"] == [32]
    assert model.gradient_steps == 1


def test_one_exporter_writes_many_learners(point: Case, tmp_path: Path) -> None:
    exporter = Exporter(point.env.observation_space, point.env.action_space, point.settings)
    other = jax.tree.map(lambda array: array[0], point.learners.actors())
    exporter.write(tmp_path / "a" / "other.zip", other, point.critics, point.features)
    exporter.write(tmp_path / "a" / "one.zip", point.actor, point.critics, point.features)
    assert sorted(file.name for file in (tmp_path / "a").iterdir()) == ["one.zip", "other.zip"]
    acted = SAC.load(tmp_path / "a" / "one.zip").predict(point.observations, deterministic=True)[0]
    np.testing.assert_allclose(acted, point.expected(), atol=1e-4)


def test_critics_with_layer_norm_are_left_out(tmp_path: Path) -> None:
    case = build(*POINT, "training.layer_norm=true")
    model = case.write(tmp_path / "model.zip")
    acted = model.predict(case.observations, deterministic=True)[0]
    np.testing.assert_allclose(acted, case.expected(), atol=1e-4)
    assert model.log_ent_coef.exp().item() == pytest.approx(case.settings.initial_temperature)
    exporter = Exporter(case.env.observation_space, case.env.action_space, case.settings)
    exporter.write(tmp_path / "model.zip", case.actor, None, case.features)


_OPEN = """
import json, sys
import numpy as np
from stable_baselines3 import SAC
try:
    import rewardsmith
    raise SystemExit("rewardsmith is not hidden")
except ImportError:
    pass
model = SAC.load(sys.argv[1], device="cpu")
rows = {key: np.array(value) for key, value in json.load(sys.stdin).items()}
print(json.dumps(model.predict(rows, deterministic=True)[0].tolist()))
"""


def test_the_model_opens_without_rewardsmith(point: Case, tmp_path: Path) -> None:
    point.write(tmp_path / "model.zip")
    rows = {key: value.tolist() for key, value in point.observations.items()}
    ran = subprocess.run(
        [sys.executable, "-I", "-c", _OPEN, str(tmp_path / "model.zip")],
        input=json.dumps(rows),
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    np.testing.assert_allclose(json.loads(ran.stdout), point.expected(), atol=1e-4)


def nearness(state: FloatArray, action: FloatArray, next_state: FloatArray, task: Task) -> Any:
    way = next_state[:, task.columns("desired_goal")] - next_state[:, task.columns("achieved_goal")]
    near = -np.linalg.norm(way, axis=1)
    return near, {"near": near}


def point_transitions(task: Task, count: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Steps from anywhere in the square, by random actions."""
    generator = np.random.default_rng(0)
    action = generator.uniform(-1, 1, (count, 2))
    place, goal = generator.uniform(-1, 1, (2, count, 2))
    moved = np.clip(place + 0.2 * action, -1, 1)
    states = []
    for achieved in (place, moved):
        state = np.zeros((count, task.layout.state_width))
        state[:, task.columns("observation")] = state[:, task.columns("achieved_goal")] = achieved
        state[:, task.columns("desired_goal")] = goal
        states.append(state)
    return states[0], action, states[1]


def success(task: Task, model: SAC) -> float:
    episodes, _ = run_episodes(
        task, lambda observation: model.predict(observation, deterministic=True)[0], range(40)
    )
    return float(np.mean(episodes.successes))


@pytest.mark.slow
def test_training_goes_on_where_it_stopped(tmp_path: Path) -> None:
    case = build("env=point", "training.updates_per_call=300", "training.learning_rate=0.003")
    task, shape = case.task, case.learners.batch_shape
    state, action, next_state = point_transitions(task, int(np.prod(shape)))
    reward, _ = nearness(state, action, next_state, task)
    parts = (case.features.apply(state), action, reward, case.features.apply(next_state))
    batch = [part.reshape(*shape, *part.shape[1:]).astype(np.float32) for part in parts]
    ends = np.tile(np.array([-5.0, 5.0], np.float32), (*shape[:2], 1))
    for _ in range(4):
        case.learners.update(Batch(*batch, np.zeros(shape, np.float32), ends))
    case.write(tmp_path / "model.zip")

    env = RewardWrapper(task.make(), task.sources, lambda *rows: nearness(*rows, task))
    model = SAC.load(tmp_path / "model.zip", env=env, device="cpu")
    before = success(task, model)
    model.set_random_seed(0)
    model.learn(300)
    soon = success(task, model)  # fresh critics would have spoiled the policy by now
    model.learn(700, reset_num_timesteps=False)
    assert model.num_timesteps == 1_000
    assert min(before, soon, success(task, model)) >= 0.9


def test_a_packed_actor_is_the_same(case: Case) -> None:
    layers = fold(case.actor, case.features)
    sizes = len(case.features), case.settings.hidden, case.learners.actions
    vector = pack(layers)
    assert vector.dtype == np.float32
    assert vector.ndim == 1
    np.testing.assert_array_equal(
        Actor(unpack(vector, *sizes)).mean(case.raw), Actor(layers).mean(case.raw)
    )


def test_one_observation_is_acted_on_like_many(point: Case) -> None:
    actor = Actor(fold(point.actor, point.features))
    action = actor.mean(point.raw[7])
    assert action.dtype == np.float32
    assert action.shape == (2,)
    np.testing.assert_allclose(action, actor.mean(point.raw)[7], atol=1e-6)


def test_samples_follow_the_squashed_gaussian() -> None:
    layers = [(np.array([[0.5, -0.2, -1.0, -100.0]]), np.array([0.0, 0.1, 0.0, 0.0]))]
    actor = Actor(layers)
    raw = np.full((20_000, 1), 1.0)
    drawn = np.arctanh(actor.sample(raw, np.random.default_rng(0)).astype(np.float64))
    np.testing.assert_allclose(drawn.mean(axis=0), [0.5, -0.1], atol=0.01)
    np.testing.assert_allclose(drawn[:, 0].std(), np.exp(-1.0), rtol=0.03)
    assert drawn[:, 1].std() < 1e-6  # the log std is clipped to -20
    wide = Actor([(np.array([[0.0, 9.0]]), np.zeros(2))])
    spread = wide.sample(raw, np.random.default_rng(0))
    assert np.mean(np.abs(spread) < 0.9) > 0.1  # clipped to 2, a deviation of 7


def test_drawing_is_reproducible(point: Case) -> None:
    actor = Actor(fold(point.actor, point.features))
    one, two = (actor.sample(point.raw[0], np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
