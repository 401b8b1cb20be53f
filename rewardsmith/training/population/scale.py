"""How large every candidate's rewards are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rewardsmith.types import FloatArray


class RewardScale:
    """Range and deviation of the rewards of K candidates, so far.

    Examples:
        >>> scale = RewardScale(2)
        >>> scale.update(np.array([[-1.0, 1.0], [3.0, 3.0]]))
        >>> scale.update(np.array([[-1.0, 1.0], [3.0, 3.0]]))
        >>> scale.lowest.tolist(), scale.highest.tolist(), scale.deviation.tolist()
        ([-1.0, 3.0], [1.0, 3.0], [1.0, 0.0])

    Attributes:
        lowest: (K,), infinite before the first update.
        highest: (K,), minus infinite before the first update.
    """

    def __init__(self, candidates: int) -> None:
        """Know nothing of K candidates."""
        self.lowest, self.highest = np.full(candidates, np.inf), np.full(candidates, -np.inf)
        self._count = 0
        self._mean, self._moments = np.zeros(candidates), np.zeros(candidates)

    def update(self, rewards: NDArray[np.float64]) -> None:
        """Take (K, N) further rewards in (Chan et al. 1979)."""
        count = rewards.shape[1]
        total = self._count + count
        self.lowest = np.minimum(self.lowest, rewards.min(axis=1))
        self.highest = np.maximum(self.highest, rewards.max(axis=1))
        delta = rewards.mean(axis=1) - self._mean
        self._moments += rewards.var(axis=1) * count + delta**2 * (self._count * count / total)
        self._mean += delta * (count / total)
        self._count = total

    @property
    def deviation(self) -> FloatArray:
        """(K,) standard deviations."""
        return np.sqrt(self._moments / max(self._count, 1))
