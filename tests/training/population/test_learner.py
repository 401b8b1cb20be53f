"""The stacked learners: each on its own, and each like the one of Stable-Baselines3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import jax
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from stable_baselines3 import SAC
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from rewardsmith.errors import ConfigurationError
from rewardsmith.settings import PopulationSettings
from rewardsmith.training.population.cache import cache_folder
from rewardsmith.training.population.export import Exporter
from rewardsmith.training.population.features import Features
from rewardsmith.training.population.learner import (
    STATISTICS,
    Batch,
    Learners,
    choose_device,
    pick,
)
from tests.conftest import load_task
from tests.training.population.conftest import population_settings, training_of

FEATURES, ACTIONS = 3, 1


def settings(*overrides: str) -> PopulationSettings:
    return training_of(
        population_settings(
            "training.hidden=[16,16]",
            "training.batch_size=12",
            "training.updates_per_call=2",
            *overrides,
        )
    )


def learners(*seeds: int, overrides: tuple[str, ...] = ()) -> Learners:
    return Learners(settings(*overrides), FEATURES, ACTIONS, np.array(seeds))


def batch(shape: tuple[int, int, int], seed: int = 0) -> Batch:
    generator = np.random.default_rng(seed)

    def normal(*width: int) -> NDArray[np.float32]:
        return generator.normal(size=(*shape, *width)).astype(np.float32)

    ended = (generator.random(shape) < 0.3).astype(np.float32)
    ends = np.tile(np.array([-0.5, 0.5], np.float32), (*shape[:2], 1))
    return Batch(
        normal(FEATURES), np.tanh(normal(ACTIONS)), normal(), normal(FEATURES), ended, ends
    )


def part(whole: Batch, learner: int) -> Batch:
    """The minibatches of one learner."""
    return Batch(*(np.asarray(values)[:, learner : learner + 1] for values in whole))


def leaves(tree: Any) -> list[NDArray[Any]]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def parameters(of: Learners, learner: int) -> list[NDArray[Any]]:
    return leaves(pick((of.actors(), of.critics()), learner))


def test_the_same_seeds_give_the_same_bits() -> None:
    one, two, other = learners(1, 2), learners(1, 2), learners(3, 2)
    for _ in range(3):
        results = [np.asarray(item.update(batch(one.batch_shape))) for item in (one, two, other)]
    np.testing.assert_array_equal(results[0], results[1])
    for left, right in zip(leaves(one.state), leaves(two.state), strict=True):
        np.testing.assert_array_equal(left, right)
    assert not np.array_equal(results[0][0], results[2][0])
    np.testing.assert_array_equal(results[0][1], results[2][1])  # that of the same seed


def test_a_learner_learns_in_company_as_it_would_alone() -> None:
    together = learners(5, 6, 7)
    alone = [learners(seed) for seed in (5, 6, 7)]
    for number in range(4):
        whole = batch(together.batch_shape, number)
        seen = np.asarray(together.update(whole))
        for place, single in enumerate(alone):
            [row] = np.asarray(single.update(part(whole, place)))
            np.testing.assert_allclose(seen[place], row, rtol=1e-3, atol=1e-4)
    for place, single in enumerate(alone):
        for left, right in zip(parameters(together, place), parameters(single, 0), strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-4)


def test_nan_never_reaches_another_learner() -> None:
    clean, poisoned = learners(1, 2, 3), learners(1, 2, 3)
    for number in range(3):
        whole = batch(clean.batch_shape, number)
        good = np.asarray(clean.update(whole))
        reward = whole.reward.copy()
        reward[:, 1] = np.nan
        bad = np.asarray(poisoned.update(whole._replace(reward=reward)))
    assert not np.isfinite(bad[1]).all()
    np.testing.assert_array_equal(good[[0, 2]], bad[[0, 2]])
    for place in (0, 2):
        for left, right in zip(parameters(clean, place), parameters(poisoned, place), strict=True):
            np.testing.assert_array_equal(left, right)


def test_target_critics_follow_slowly() -> None:
    some = learners(1, overrides=("training.updates_per_call=1", "training.tau=0.25"))
    before = leaves(some.critics()["target"])
    some.update(batch(some.batch_shape))
    after = some.critics()
    for old, target, critic in zip(
        before, leaves(after["target"]), leaves(after["critic"]), strict=True
    ):
        np.testing.assert_allclose(target, 0.75 * old + 0.25 * critic, atol=1e-6)
        assert not np.array_equal(target, critic)


def test_targets_stay_within_what_rewards_can_add_up_to() -> None:
    chosen = ("training.tau=1", "training.discount=0.9", "training.initial_temperature=1e-6")
    free, bounded = (
        learners(1, overrides=(*chosen, f"training.bounded_values={on}")) for on in (False, True)
    )
    for some in (free, bounded):
        huge = jax.tree.map(lambda values: values + 3.0, some.state.critic)
        some.state = some.state._replace(target=huge)
    whole = batch(free.batch_shape)
    nothing = whole._replace(reward=0 * whole.reward, terminated=0 * whole.terminated)
    before = leaves(bounded.critics()["critic"])
    seen = [np.asarray(some.update(nothing)) for some in (free, bounded)]
    loss = STATISTICS.index("critic_loss")
    assert seen[0][0, loss] > 1_000
    # a value of 0.5 / (1 - 0.9) at most, times the discount, for both critics
    assert seen[1][0, loss] < (0.9 * 5.0 + 1.0) ** 2
    assert any(
        not np.array_equal(old, new)
        for old, new in zip(before, leaves(bounded.critics()["critic"]), strict=True)
    )


def test_the_actor_can_learn_less_often_than_the_critics() -> None:
    every = ("training.updates_per_call=4", "training.actor_every=2")
    whole = batch(learners(1, overrides=every).batch_shape)
    seldom, often = learners(1, overrides=every), learners(1, overrides=every[:1])
    for some in (seldom, often):
        assert np.isfinite(np.asarray(some.update(whole))).all()
    counts = [
        [int(np.ravel(part[0].count)[0]) for part in some.state.optimizers]
        for some in (seldom, often)
    ]
    assert counts == [[2, 4, 2], [4, 4, 4]]  # steps of actor, critics and temperature


def test_layer_norm_is_part_of_the_critics_only() -> None:
    some = learners(1, overrides=("training.layer_norm=true",))
    before = some.critics()["critic"]["scales"]
    for number in range(5):
        statistics = np.asarray(some.update(batch(some.batch_shape, number)))
    assert np.isfinite(statistics).all()
    assert some.actors()["scales"] == []
    assert [scale.shape for scale in before] == [(1, 2, 16), (1, 2, 16)]
    assert all(np.ptp(scale) > 0 for scale in some.critics()["critic"]["scales"])


def test_minibatches_of_another_shape_are_refused() -> None:
    some = learners(1, 2)
    updates, count, size = some.batch_shape
    with pytest.raises(TypeError):  # else it would be compiled again and again
        some.update(batch((updates, count, size + 1)))


def test_statistics_have_names() -> None:
    some = learners(1, 2)
    statistics = np.asarray(some.update(batch(some.batch_shape)))
    assert statistics.shape == (2, len(STATISTICS))
    temperature = statistics[:, STATISTICS.index("temperature")]
    np.testing.assert_allclose(temperature, some.settings.initial_temperature, rtol=0.01)


# -- against Stable-Baselines3 --------------------------------------------------------------------


class _Buffer:
    """Gives Stable-Baselines3 one minibatch of ours."""

    def __init__(self, whole: Batch) -> None:
        parts = {name: torch.tensor(values[0, 0]) for name, values in whole._asdict().items()}
        self.samples = ReplayBufferSamples(
            parts["observation"],
            parts["action"],
            parts["next_observation"],
            parts["terminated"][:, None],
            parts["reward"][:, None],
        )

    def sample(self, *arguments: Any, **keywords: Any) -> ReplayBufferSamples:
        return self.samples


def test_a_gradient_step_is_that_of_stable_baselines3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = load_task("env=gym", "env.id=Pendulum-v1", "env.description=-")
    env = task.make()
    chosen = ("training.updates_per_call=1", "training.batch_size=64", "training.tau=0.1")
    some = learners(4, overrides=chosen)
    moved = jax.tree.map(lambda values: values * 1.1, some.state.critic)
    some.state = some.state._replace(target=moved)  # so that it matters which one is asked
    features = Features(env.observation_space, task)  # nothing is scaled yet
    assert isinstance(env.action_space, gymnasium.spaces.Box)
    exporter = Exporter(env.observation_space, env.action_space, some.settings)
    exporter.write(
        tmp_path / "model.zip", pick(some.actors(), 0), pick(some.critics(), 0), features
    )
    model = SAC.load(tmp_path / "model.zip", device="cpu")
    whole = batch(some.batch_shape)
    _, next_key, own_key = jax.random.split(jax.random.wrap_key_data(some.state.key[0]), 3)
    shape = (some.settings.batch_size, ACTIONS)
    noise = [np.array(jax.random.normal(key, shape)) for key in (own_key, next_key)]

    def drawn(normal: torch.distributions.Normal, *ignored: Any) -> torch.Tensor:
        return normal.loc + normal.scale * torch.tensor(noise.pop(0))

    monkeypatch.setattr(torch.distributions.Normal, "rsample", drawn)
    logged = Logger(None, [])
    model.set_logger(logged)
    model.replay_buffer = _Buffer(whole)  # type: ignore[assignment]
    [row] = np.asarray(some.update(whole))
    model.train(gradient_steps=1, batch_size=some.settings.batch_size)

    statistics = dict(zip(STATISTICS, row, strict=True))
    said = logged.name_to_value
    assert not noise
    assert statistics["critic_loss"] == pytest.approx(said["train/critic_loss"], rel=1e-4)
    assert statistics["actor_loss"] == pytest.approx(said["train/actor_loss"], rel=1e-4)
    assert statistics["temperature"] == pytest.approx(said["train/ent_coef"], rel=1e-5)
    exporter.write(tmp_path / "own.zip", pick(some.actors(), 0), pick(some.critics(), 0), features)
    own = SAC.load(tmp_path / "own.zip", device="cpu")
    assert own.log_ent_coef is not None
    assert model.log_ent_coef is not None
    assert own.log_ent_coef.item() == pytest.approx(model.log_ent_coef.item(), abs=1e-6)
    theirs = model.policy.state_dict()
    rate = some.settings.learning_rate
    for name, values in own.policy.state_dict().items():
        # the first step of Adam is all of the rate, even where the gradient is next to nothing
        close = (values - theirs[name]).abs() < 0.02 * rate
        assert close.float().mean() > 0.97, name


# -- devices --------------------------------------------------------------------------------------


def test_compiled_code_is_kept_where_it_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/somewhere")
    assert cache_folder() == Path("/somewhere")
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_folder() == Path("/caches/rewardsmith/jax")


def test_a_missing_device_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str | None) -> Any:
        raise RuntimeError("Unknown backend\nand more")

    monkeypatch.setattr(jax, "devices", none)
    with pytest.raises(ConfigurationError, match=r"training.device is 'gpu', but .*=auto") as error:
        choose_device("gpu")
    assert "\n" not in str(error.value)
