"""The map from raw observations to features."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from rewardsmith.tasks.task import Task, play_randomly
from rewardsmith.training.population.features import EPSILON, Features
from rewardsmith.types import FloatArray
from tests.conftest import load_task

TASKS = {
    "point": ("env=point",),
    "reach": ("env=reach",),
    "pendulum": ("env=gym", "env.id=Pendulum-v1", "env.description=-"),
}


@pytest.fixture(scope="module", params=TASKS.values(), ids=TASKS)
def task(request: pytest.FixtureRequest) -> Task:
    return load_task(*request.param)


@pytest.fixture
def features(task: Task) -> Features:
    return Features(task.make().observation_space, task)


@pytest.fixture(scope="module")
def records(task: Task) -> FloatArray:
    return play_randomly(task, seed=0).transitions.state


def differences(task: Task, records: FloatArray, names: tuple[str, ...]) -> FloatArray:
    """T @ raw, spelled out part by part."""
    parts = {name: records[:, task.columns(name)] for name in names}
    if task.has_goals:
        parts["desired_goal"] = parts["desired_goal"] - parts["achieved_goal"]
    return np.concatenate([parts[name] for name in names], axis=1)


def test_raw_observations_are_laid_out_as_the_space_says(task: Task, features: Features) -> None:
    env = task.make()
    observation, info = env.reset(seed=3)
    raw = task.record(env, observation, info)[features.columns]
    np.testing.assert_array_equal(raw, gymnasium.spaces.flatten(env.observation_space, observation))


def test_features_are_standardised_differences(
    task: Task, features: Features, records: FloatArray
) -> None:
    features.update(records)
    values = differences(task, records, features.names)
    expected = (values - values.mean(0)) / np.maximum(values.std(0), EPSILON)
    applied = features.apply(records)
    assert applied.dtype == np.float32
    assert applied.shape == (len(records), len(features))
    np.testing.assert_allclose(applied, expected, atol=1e-4)


def test_leading_axes_are_kept(features: Features, records: FloatArray) -> None:
    features.update(records)
    block = records[:12].reshape(3, 4, -1)
    np.testing.assert_array_equal(features.apply(block)[1, 2], features.apply(records[6]))


def test_records_are_left_as_they_are(features: Features, records: FloatArray) -> None:
    before = records.copy()
    features.update(records)
    features.apply(records)
    np.testing.assert_array_equal(records, before)


def test_moments_are_those_of_all_batches_together(
    task: Task, features: Features, records: FloatArray
) -> None:
    for batch in (records[:1], records[1:1], records[1:300], records[300:]):
        features.update(batch)
    values = differences(task, records, features.names)
    np.testing.assert_allclose(features.mean, values.mean(0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(features.std, np.maximum(values.std(0), EPSILON), rtol=1e-9)


def test_nothing_is_scaled_before_the_first_update(features: Features, records: FloatArray) -> None:
    assert features.mean.tolist() == [0.0] * len(features)
    assert features.std.tolist() == [1.0] * len(features)
    features.update(records[:0])
    assert features.std.tolist() == [1.0] * len(features)


def test_scale_of_a_constant_grows_without_a_jump(features: Features, records: FloatArray) -> None:
    features.update(np.repeat(records[:1], 1_000, axis=0))
    assert features.std.tolist() == [EPSILON] * len(features)
    stds = [features.std]
    for step in range(200):
        features.update(records[:1] + 0.002 * step)
        stds.append(features.std)
    assert (np.array(stds[1:]) / stds[:-1]).max() < 1.2
    assert stds[-1].max() > 10 * EPSILON


@pytest.mark.parametrize("extra", [0, 2])
def test_folding_changes_nothing(features: Features, records: FloatArray, extra: int) -> None:
    features.update(records[:500])
    generator = np.random.default_rng(0)
    weights = generator.normal(size=(len(features) + extra, 8)).astype(np.float32)
    bias = generator.normal(size=8).astype(np.float32)
    others = generator.normal(size=(len(records), extra))
    folded_weights, folded_bias = features.fold(weights, bias)
    assert folded_weights.dtype == folded_bias.dtype == np.float64
    np.testing.assert_array_equal(folded_weights[len(features) :], weights[len(features) :])
    raw = np.concatenate([records[:, features.columns], others], axis=1)
    inputs = np.concatenate([features.apply(records), others], axis=1)
    np.testing.assert_allclose(
        raw @ folded_weights + folded_bias, inputs @ weights + bias, rtol=1e-5, atol=1e-5
    )
