"""How a raw observation becomes what the networks see: an affine map with running statistics.

The map is affine and never clips, so that it can be folded into the first layer of a network: an
exported policy takes the environment's observations as they are. Numpy only; the environments'
processes import it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from rewardsmith.tasks.task import GOALS, Task
from rewardsmith.types import FloatArray

EPSILON = 1e-3
"""Smallest deviation that a feature is divided by."""


def observation_names(space: gymnasium.Space) -> tuple[str, ...]:
    """Parts of an observation in the order in which Stable-Baselines3 lays them end to end."""
    return tuple(space.spaces) if isinstance(space, gymnasium.spaces.Dict) else ("observation",)


class Features:
    """The map ``x = (T @ raw - mean) / std`` from raw observations to features.

    ``raw`` (D,) is the observation's parts laid end to end in the order of the observation space's
    keys, as Stable-Baselines3 flattens it. T replaces ``desired_goal`` by ``desired_goal -
    achieved_goal`` where the task has both: the way that is left to go is then seen at unit
    scale, however small it is against the positions themselves. Elsewhere T is the identity.

    ``std`` is the deviation so far, but at least `EPSILON`. A constant is therefore centred and
    multiplied by a thousand, and when it starts to vary, its scale changes without a jump. Before
    the first update there are no statistics, and nothing is scaled.

    Examples:
        >>> from rewardsmith.settings import EnvSettings
        >>> from rewardsmith.tasks.task import build_task
        >>> env = EnvSettings(name="p", id="rewardsmith.tasks.point:PointReach-v0", description="-")
        >>> task = build_task(env)
        >>> features = Features(task.make().observation_space, task)
        >>> features.names
        ('achieved_goal', 'desired_goal', 'observation')
        >>> records = np.random.default_rng(0).normal(3.0, 0.1, (1_000, task.layout.state_width))
        >>> features.update(records)
        >>> features.apply(records).std(axis=0).round(3).tolist()
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]

    Attributes:
        names: parts of the observation, in the order of the space.
        columns: (D,) columns of a state record that hold the raw observation:
            ``raw = record[..., columns]``.
    """

    def __init__(self, space: gymnasium.Space, task: Task) -> None:
        """Find the parts of the observation in a state record.

        Args:
            space: the environment's observation space, a Box or a Dict of them.
            task: says where a state record holds them.
        """
        self.names = observation_names(space)
        record = np.arange(task.layout.state_width)
        parts = [record[task.columns(name)] for name in self.names]
        self.columns = np.concatenate(parts)
        ends = np.cumsum([len(part) for part in parts])
        places = {
            name: slice(int(end) - len(part), int(end))
            for name, part, end in zip(self.names, parts, ends, strict=True)
        }
        self._goals = _goals(places)
        self._count = 0.0
        self._mean = np.zeros(len(self.columns))
        self._variance = np.zeros(len(self.columns))

    def __len__(self) -> int:
        """Number of features D."""
        return len(self.columns)

    @property
    def mean(self) -> FloatArray:
        """(D,) of T @ raw."""
        return self._mean.copy()

    @property
    def std(self) -> FloatArray:
        """(D,) what T @ raw is divided by."""
        if not self._count:
            return np.ones(len(self))
        return np.maximum(np.sqrt(self._variance), EPSILON)

    def update(self, records: FloatArray) -> None:
        """Merge the moments of (N, W) state records (Chan et al. 1979)."""
        if not len(records):
            return
        values = self._differences(records)
        count, total = len(values), self._count + len(values)
        delta = values.mean(axis=0) - self._mean
        moments = self._variance * self._count + values.var(axis=0) * count
        self._mean = self._mean + delta * (count / total)
        self._variance = (moments + delta**2 * (self._count * count / total)) / total
        self._count = total

    def apply(self, records: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Features (..., D) of state records (..., W)."""
        values = self._differences(records)
        values -= self._mean
        values /= self.std
        return values.astype(np.float32)

    def fold(
        self, weights: NDArray[np.floating[Any]], bias: NDArray[np.floating[Any]]
    ) -> tuple[FloatArray, FloatArray]:
        """Move the map into a network's first layer.

        Args:
            weights: (D + E, H), from D features and E further inputs, which stay as they are.
            bias: (H,).

        Returns:
            Weights and bias that give for raw inputs what these give for features, in float64.
        """
        folded = np.array(weights, dtype=np.float64)
        scaled = folded[: len(self)]  # a view
        scaled /= self.std[:, None]
        shift = self._mean @ scaled
        if self._goals:
            achieved, desired = self._goals
            scaled[achieved] -= scaled[desired]
        return folded, bias - shift

    def _differences(self, records: NDArray[np.floating[Any]]) -> FloatArray:
        """T @ raw of every record, in float64: the difference of two positions can be small."""
        values = records[..., self.columns].astype(np.float64, copy=False)  # indexing has copied
        if self._goals:
            achieved, desired = self._goals
            values[..., desired] -= values[..., achieved]
        return values


def _goals(places: Mapping[str, slice]) -> tuple[slice, slice] | None:
    """Where achieved and desired goal lie, if their difference means something."""
    if not set(GOALS) <= set(places):
        return None
    achieved, desired = (places[name] for name in GOALS)
    same = achieved.stop - achieved.start == desired.stop - desired.start
    return (achieved, desired) if same else None
