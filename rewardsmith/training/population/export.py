"""Write one learner of the population as a model of Stable-Baselines3.

The file holds an ordinary ``SAC`` on raw observations. It opens with Stable-Baselines3 alone, and
``SAC.load(file, env=env).learn(...)`` goes on where the learner stopped, with an empty replay
buffer and fresh optimizers.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3 import SAC

from rewardsmith.files import write_whole
from rewardsmith.settings import PopulationSettings
from rewardsmith.training.population.actor import Layers, fold
from rewardsmith.training.population.features import Features


class _Spaces(gymnasium.Env):
    """Nothing but spaces; Stable-Baselines3 builds a model from an environment only."""

    def __init__(self, observation_space: gymnasium.Space, action_space: gymnasium.Space) -> None:
        self.observation_space = observation_space
        self.action_space = action_space


class Exporter:
    """Writes learners of one task as models of Stable-Baselines3.

    Building it takes a moment, writing a learner does not. With ``layer_norm`` the critics do not
    fit Stable-Baselines3's networks: only the actor is exported then, and training on starts from
    fresh critics and the initial temperature.
    """

    def __init__(
        self,
        observation_space: gymnasium.Space,
        action_space: gymnasium.spaces.Box,
        settings: PopulationSettings,
    ) -> None:
        """Build the model that every learner is put into.

        Args:
            observation_space: of the environment, a Box or a Dict of them.
            action_space: of the environment; Stable-Baselines3 maps [-1, 1] to it by itself.
            settings: the learners' own; the model is given them for training on.
        """
        dictionary = isinstance(observation_space, gymnasium.spaces.Dict)
        self._with_critics = not settings.layer_norm
        self._model = SAC(
            "MultiInputPolicy" if dictionary else "MlpPolicy",
            _Spaces(observation_space, action_space),
            learning_rate=settings.learning_rate,
            buffer_size=settings.buffer_size,
            learning_starts=settings.batch_size,  # random steps; one batch to begin with
            batch_size=settings.batch_size,
            tau=settings.tau,
            gamma=settings.discount,
            train_freq=1,
            gradient_steps=max(1, round(settings.updates_per_step)),
            target_entropy=settings.entropy_per_action * float(np.prod(action_space.shape)),
            ent_coef=f"auto_{settings.initial_temperature}",
            policy_kwargs={"net_arch": list(settings.hidden)},
            device="cpu",
        )

    def write(
        self,
        file: Path,
        actor: Mapping[str, Any],
        critics: Mapping[str, Any] | None,
        features: Features,
    ) -> None:
        """Write one learner, whole: under a temporary name, then renamed.

        Args:
            file: ends in ``.zip``.
            actor: one learner's part of `Learners.actors`.
            critics: one learner's part of `Learners.critics`; only with ``layer_norm`` may it be
                None, and is ignored.
            features: what the learner's networks take.
        """
        policy = self._model.policy
        policy.actor.load_state_dict(_actor_state(fold(actor, features)))
        if self._with_critics:
            assert critics is not None  # else those of the learner before would stay
            policy.critic.load_state_dict(_critic_state(critics["critic"], features))
            policy.critic_target.load_state_dict(_critic_state(critics["target"], features))
            assert self._model.log_ent_coef is not None
            self._model.log_ent_coef.data.fill_(float(critics["log_temperature"]))
        memory = io.BytesIO()
        self._model.save(memory)
        write_whole(file, memory.getvalue())


def _actor_state(layers: Layers) -> dict[str, torch.Tensor]:
    """Parameters under the names of Stable-Baselines3's ``Actor``."""
    *hidden, (weights, bias) = layers
    (mean_weights, log_weights), (mean_bias, log_bias) = np.split(weights, 2, 1), np.split(bias, 2)
    return {
        **_sequence("latent_pi", hidden),
        **_linear("mu", mean_weights, mean_bias),
        **_linear("log_std", log_weights, log_bias),
    }


def _critic_state(twins: Mapping[str, Any], features: Features) -> dict[str, torch.Tensor]:
    """Parameters under the names of Stable-Baselines3's ``ContinuousCritic``."""
    state: dict[str, torch.Tensor] = {}
    for twin in (0, 1):
        network = {name: [array[twin] for array in arrays] for name, arrays in twins.items()}
        state |= _sequence(f"qf{twin}", fold(network, features))
    return state


def _sequence(name: str, layers: Layers) -> dict[str, torch.Tensor]:
    """Linear layers of an ``nn.Sequential``, where every second place is an activation."""
    state: dict[str, torch.Tensor] = {}
    for place, (weights, bias) in enumerate(layers):
        state |= _linear(f"{name}.{2 * place}", weights, bias)
    return state


def _linear(name: str, weights: np.ndarray, bias: np.ndarray) -> dict[str, torch.Tensor]:
    """One linear layer; torch keeps weights as (out, in)."""
    return {
        f"{name}.weight": torch.tensor(weights.T, dtype=torch.float32),
        f"{name}.bias": torch.tensor(bias, dtype=torch.float32),
    }
