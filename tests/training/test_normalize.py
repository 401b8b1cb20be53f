"""Normalisation inside the policy."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.preprocessing import preprocess_obs

from rewardsmith.tasks.task import Task
from rewardsmith.training.normalize import CLIP, NormalizedFeatures, RunningNormalization


def batches(count: int = 5) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    scale, shift = np.array([1.0, 100.0, 1e-3]), np.array([0.0, -5_000.0, 1.3])
    sizes = generator.integers(2, 200, count)
    return [generator.normal(size=(size, 3)) * scale + shift for size in sizes]


def learned(parts: list[np.ndarray]) -> RunningNormalization:
    """Normalisation that has seen the first part as its start, and the others in training."""
    first, *others = parts
    norm = RunningNormalization(
        first.mean(0).tolist(), first.std(0).tolist(), prior=float(len(first))
    ).train()
    for part in others:
        norm(torch.tensor(part))
    return norm


def test_moments_are_those_of_all_batches_together() -> None:
    parts = batches()
    norm, everything = learned(parts), np.concatenate(parts)
    np.testing.assert_allclose(norm.running_mean, everything.mean(0), rtol=1e-9)
    np.testing.assert_allclose(norm.running_var, everything.var(0), rtol=1e-6)
    assert norm.running_count.item() == len(everything)


def test_features_have_zero_mean_and_unit_variance() -> None:
    parts = batches()
    features = learned(parts).eval()(torch.tensor(np.concatenate(parts))).numpy()
    np.testing.assert_allclose(features.mean(0), 0.0, atol=1e-4)
    np.testing.assert_allclose(features.std(0), 1.0, atol=1e-3)


def test_a_constant_is_only_centred() -> None:
    norm = RunningNormalization([1.35, 0.0], [0.0, 1e-7], prior=1_000.0).eval()
    features = norm(torch.tensor([[1.35, 0.0], [1.85, -0.25]], dtype=torch.float64))
    np.testing.assert_allclose(features, [[0.0, 0.0], [0.5, -0.25]], atol=1e-6)


def test_a_former_constant_that_starts_to_vary_is_scaled() -> None:
    norm = RunningNormalization([0.0], [0.0], prior=10.0).train()
    norm(torch.tensor([[4.0], [-4.0]] * 500))
    assert norm.eval()(torch.tensor([[4.0]])).item() == pytest.approx(1.0, abs=0.01)


def test_features_are_bounded() -> None:
    norm = RunningNormalization([0.0], [1.0], prior=10.0).eval()
    assert norm(torch.tensor([[1e9], [-1e9]])).tolist() == [[CLIP], [-CLIP]]


@pytest.mark.parametrize("train", [False, True])
def test_playing_changes_nothing(train: bool) -> None:
    norm = RunningNormalization([1.0], [2.0], prior=10.0).train(train)
    before = {key: value.clone() for key, value in norm.state_dict().items()}
    norm(torch.tensor([[7.0]] if train else [[7.0], [8.0]]))  # one observation: while acting
    assert all(torch.equal(norm.state_dict()[key], value) for key, value in before.items())


def test_a_flat_observation_is_normalised() -> None:
    space = gymnasium.spaces.Box(-1.0, 1.0, (2,))
    extractor = NormalizedFeatures(space, [1.0, 2.0], [2.0, 4.0]).eval()
    assert extractor.features_dim == 2
    np.testing.assert_allclose(extractor(torch.tensor([[3.0, 10.0]])), [[1.0, 2.0]])


def test_a_dict_observation_is_flattened_in_the_order_of_its_keys() -> None:
    box = gymnasium.spaces.Box
    space = gymnasium.spaces.Dict({"b": box(-1, 1, (1,)), "a": box(-1, 1, (2,))})
    extractor = NormalizedFeatures(space, [1.0, 2.0, 3.0], [1.0, 1.0, 1.0]).eval()
    values = {"a": torch.tensor([[11.0, 12.0]]), "b": torch.tensor([[13.0]])}
    order = {"a": 0, "b": 1}
    wanted = torch.cat([values[key] for key in sorted(order, key=list(space.spaces).index)], 1)
    expected = (wanted - torch.tensor([1.0, 2.0, 3.0])).clamp(-CLIP, CLIP)
    np.testing.assert_allclose(extractor(values), expected)


def test_discrete_observations_pass_as_they_are() -> None:
    space = gymnasium.spaces.Discrete(3)
    extractor = NormalizedFeatures(space, [0.0] * 3, [1.0] * 3).eval()
    one_hot = preprocess_obs(torch.tensor([[2]]), space)
    assert isinstance(one_hot, torch.Tensor)
    assert extractor(one_hot).tolist() == [[0.0, 0.0, 1.0]]


def test_target_networks_get_the_statistics(point_task: Task) -> None:
    arguments = {
        "features_extractor_class": NormalizedFeatures,
        "features_extractor_kwargs": {"mean": [0.0] * 6, "std": [1.0] * 6, "prior": 10.0},
        "net_arch": [8],
    }
    model = SAC(
        "MultiInputPolicy",
        point_task.make(),
        policy_kwargs=arguments,
        learning_starts=20,
        seed=0,
        batch_size=16,
    )
    model.learn(60)
    online = model.critic.features_extractor.normalization
    target = model.critic_target.features_extractor.normalization
    assert online.running_count.item() > 10
    for name in ("running_mean", "running_var", "running_count"):
        assert torch.equal(getattr(online, name), getattr(target, name))
