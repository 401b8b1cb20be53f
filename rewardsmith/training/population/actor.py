"""A policy in numpy, for the environments' processes: they need neither JAX nor torch.

The normalisation of observations is folded into the first layer, so a policy is nothing but its
layers: as a list of arrays, or as one flat vector that travels through shared memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from rewardsmith.training.population.features import Features

Vector = NDArray[np.float32]
Layers = list[tuple[NDArray[Any], NDArray[Any]]]
"""Weights (in, out) and bias (out,) of every layer, first to last."""
LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0


class Actor:
    """A squashed Gaussian policy on raw observations.

    Examples:
        >>> actor = Actor([(np.array([[0.5, -3.0]]), np.zeros(2))])
        >>> round(float(actor.mean(np.array([2.0]))[0]), 3)
        0.762
        >>> actor.sample(np.array([2.0]), np.random.default_rng(0)).shape
        (1,)
    """

    def __init__(self, layers: Layers) -> None:
        """Take a policy's layers.

        Args:
            layers: folded (see `fold`), ReLU between them; the last gives A means, then A
                logarithms of standard deviations.
        """
        single = [(_float32(weights), _float32(bias)) for weights, bias in layers]
        self._hidden, self._last = single[:-1], single[-1]
        self._actions = len(self._last[1]) // 2

    def mean(self, raw: NDArray[Any]) -> Vector:
        """The deterministic action (..., A), from -1 to 1, for raw observations (..., D)."""
        return np.tanh(self._forward(raw)[..., : self._actions])

    def sample(self, raw: NDArray[Any], rng: np.random.Generator) -> Vector:
        """Draw an action (..., A), from -1 to 1, for raw observations (..., D)."""
        output = self._forward(raw)
        mean, log_std = output[..., : self._actions], output[..., self._actions :]
        noise = rng.standard_normal(mean.shape, dtype=np.float32)
        return np.tanh(mean + np.exp(np.clip(log_std, LOG_STD_MIN, LOG_STD_MAX)) * noise)

    def _forward(self, raw: NDArray[Any]) -> Vector:
        values = _float32(raw)
        for weights, bias in self._hidden:
            values = values @ weights
            values += bias
            np.maximum(values, 0.0, out=values)
        return values @ self._last[0] + self._last[1]


def fold(network: Mapping[str, Sequence[NDArray[Any]]], features: Features) -> Layers:
    """Layers that take raw observations.

    Args:
        network: ``weights`` and ``biases`` of a network without layer norm that takes features.
        features: the map from raw observations to them.
    """
    first, *others = zip(network["weights"], network["biases"], strict=True)
    return [features.fold(*first), *others]


def pack(layers: Layers) -> Vector:
    """Lay all layers end to end in one vector."""
    return np.concatenate([_float32(part).ravel() for layer in layers for part in layer])


def unpack(vector: Vector, features: int, hidden: Sequence[int], actions: int) -> Layers:
    """Undo `pack`; the layers are views of the vector.

    Args:
        vector: of `pack`.
        features: D.
        hidden: widths of the hidden layers.
        actions: A.
    """
    layers: Layers = []
    start = 0
    for inputs, outputs in _shapes(features, hidden, actions):
        middle, stop = start + inputs * outputs, start + (inputs + 1) * outputs
        layers.append((vector[start:middle].reshape(inputs, outputs), vector[middle:stop]))
        start = stop
    return layers


def unscale(action: NDArray[Any], space: gymnasium.spaces.Box) -> NDArray[Any]:
    """Map actions (..., A) from [-1, 1] to an action space, as Stable-Baselines3 does.

    Examples:
        >>> space = gymnasium.spaces.Box(0.0, 4.0, (2,))
        >>> unscale(np.array([-1.0, 0.5]), space).tolist()
        [0.0, 3.0]
    """
    shaped = action.reshape(*action.shape[:-1], *space.shape)
    return space.low + 0.5 * (shaped + 1.0) * (space.high - space.low)


def _shapes(features: int, hidden: Sequence[int], actions: int) -> list[tuple[int, int]]:
    widths = [features, *hidden, 2 * actions]
    return list(zip(widths[:-1], widths[1:], strict=True))


def _float32(values: NDArray[Any]) -> Vector:
    return np.asarray(values, dtype=np.float32)
