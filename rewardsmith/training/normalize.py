"""Observation normalisation inside the policy, as a features extractor.

A saved model therefore takes the environment's raw observations, without a side file. The class is
pickled by value (`rewardsmith.training.sb3` says so to cloudpickle), so the model opens with
Stable-Baselines3 alone.
"""

from __future__ import annotations

import gymnasium
import torch
from stable_baselines3.common.preprocessing import get_flattened_obs_dim
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

CLIP = 10.0
EPSILON = 1e-4
"""Smallest standard deviation that is told from a constant."""


class RunningNormalization(nn.Module):
    """Scales features to zero mean and unit variance, learned in training mode.

    The buffers are called ``running_…`` because Stable-Baselines3 copies buffers of that name to
    target networks.

    Examples:
        >>> norm = RunningNormalization([1.0], [2.0], prior=1.0).eval()
        >>> norm(torch.tensor([[5.0]])).item()
        2.0
    """

    running_mean: torch.Tensor
    running_var: torch.Tensor
    running_count: torch.Tensor

    def __init__(self, mean: list[float], std: list[float], prior: float) -> None:
        """Start from known statistics.

        Args:
            mean: per feature.
            std: per feature; 0 marks a constant, which is only centred.
            prior: how many observations the start counts as.
        """
        super().__init__()
        variance = torch.tensor(std, dtype=torch.float64) ** 2
        self.register_buffer("running_mean", torch.tensor(mean, dtype=torch.float64))
        self.register_buffer("running_var", variance)
        self.register_buffer("running_count", torch.tensor(float(prior), dtype=torch.float64))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Normalise (B, F) features."""
        if self.training and len(features) > 1:
            self._update(features.detach().double())
        std = self.running_var.sqrt()
        std = torch.where(std < EPSILON, torch.ones_like(std), std)
        scaled = (features.double() - self.running_mean) / std
        return scaled.clamp(-CLIP, CLIP).float()

    @torch.no_grad()
    def _update(self, batch: torch.Tensor) -> None:
        """Merge a batch's moments (Chan et al. 1979)."""
        count, total = len(batch), self.running_count + len(batch)
        delta = batch.mean(0) - self.running_mean
        self.running_mean += delta * count / total
        moments = self.running_var * self.running_count + batch.var(0, unbiased=False) * count
        self.running_var.copy_((moments + delta**2 * self.running_count * count / total) / total)
        self.running_count.copy_(total)


class NormalizedFeatures(BaseFeaturesExtractor):
    """Flattens an observation (dict or not) and normalises it."""

    def __init__(
        self,
        observation_space: gymnasium.Space,
        mean: list[float],
        std: list[float],
        prior: float = 1_000.0,
    ) -> None:
        """Start from the statistics of random play.

        Args:
            observation_space: of the environment; a Dict is flattened in the order of its keys.
            mean: per flattened feature.
            std: per flattened feature.
            prior: weight of these statistics, in observations.
        """
        super().__init__(observation_space, get_flattened_obs_dim(observation_space))
        spaces = getattr(observation_space, "spaces", None)
        self.keys = list(spaces) if isinstance(spaces, dict) else None
        self.normalization = RunningNormalization(mean, std, prior)

    def forward(self, observations: torch.Tensor | dict[str, torch.Tensor]) -> torch.Tensor:
        """Features (B, F) of a batch of observations."""
        if isinstance(observations, dict):
            parts = [observations[key].flatten(1) for key in self.keys or ()]
            return self.normalization(torch.cat(parts, dim=1))
        return self.normalization(observations.flatten(1))
