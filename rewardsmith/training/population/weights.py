"""Read a policy that `rewardsmith.training.population.export` wrote, weights and nothing else.

``SAC.load`` unpickles most of a model's file, so whoever wrote the file decides what is executed.
Here only ``policy.pth`` is read, by the loader of torch that builds tensors alone; the rest of the
file is never looked at.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch

from rewardsmith.errors import ResultsError
from rewardsmith.training.population.actor import Actor, Layers, unscale
from rewardsmith.training.population.features import observation_names

LARGEST = 256 * 2**20
"""Bytes of weights, unpacked; a file that claims more is refused."""
_ACTOR = re.compile(r"actor\.(latent_pi\.\d+|mu|log_std)\.(weight|bias)")


def read_policy(
    file: Path, observation_space: gymnasium.Space, action_space: gymnasium.spaces.Box
) -> Callable[[Any], Any]:
    """The deterministic policy of an exported model, on raw observations.

    Args:
        file: the model.
        observation_space: of the environment, a Box or a Dict of them.
        action_space: of the environment.

    Raises:
        ResultsError: the file holds no such policy, or one for other spaces.
    """
    try:
        layers = _layers(_read_tensors(file))
        _check_shapes(layers, _width(observation_space), int(np.prod(action_space.shape)))
    except ResultsError:
        raise
    except Exception as error:  # whatever a strange file makes of zip, torch and numpy
        text = " ".join(str(error).split())[:200]
        raise ResultsError(
            f"{file} holds no policy that can be read as weights alone "
            f"({type(error).__name__}: {text})."
        ) from None
    actor, names = Actor(layers), observation_names(observation_space)

    def policy(observation: Any) -> Any:
        parts = [observation[name] for name in names] if isinstance(observation, dict) else []
        raw = np.concatenate([np.ravel(part) for part in parts or [observation]])
        return unscale(actor.mean(raw), action_space).astype(action_space.dtype)

    return policy


def _read_tensors(file: Path) -> Mapping[str, torch.Tensor]:
    with zipfile.ZipFile(file) as archive:
        entry = archive.getinfo("policy.pth")
        if entry.file_size > LARGEST:
            raise ResultsError(f"{file} claims to hold {entry.file_size:,} bytes of weights.")
        data = io.BytesIO(archive.read(entry))
    tensors: Mapping[str, torch.Tensor] = torch.load(data, map_location="cpu", weights_only=True)
    return tensors


def _layers(tensors: Mapping[str, torch.Tensor]) -> Layers:
    """Undo what the export did; other kinds of policies have other names."""
    actor = {name: value for name, value in tensors.items() if name.startswith("actor.")}
    for name in actor:
        if not _ACTOR.fullmatch(name):
            raise ValueError(f"{name} is not a part of such a policy")
    hidden = len([name for name in actor if ".latent_pi." in name]) // 2
    layers = [_linear(actor, f"latent_pi.{2 * place}") for place in range(hidden)]
    (mean, mean_bias), (log, log_bias) = _linear(actor, "mu"), _linear(actor, "log_std")
    return [*layers, (np.concatenate([mean, log], 1), np.concatenate([mean_bias, log_bias]))]


def _linear(actor: Mapping[str, torch.Tensor], name: str) -> tuple[np.ndarray, np.ndarray]:
    weights, bias = (actor[f"actor.{name}.{part}"].numpy() for part in ("weight", "bias"))
    if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
        raise ValueError(f"{name} has weights that are not finite")
    return weights.T, bias


def _check_shapes(layers: Layers, width: int, actions: int) -> None:
    for weights, bias in layers:
        if weights.shape != (width, len(bias)):
            raise ValueError(f"a layer is {weights.shape}, where {(width, len(bias))} would fit")
        width = len(bias)
    if width != 2 * actions:
        raise ValueError(f"it has {width // 2} actions, but the environment {actions}")


def _width(space: gymnasium.Space) -> int:
    parts = space.spaces.values() if isinstance(space, gymnasium.spaces.Dict) else [space]
    return sum(int(np.prod(part.shape or ())) for part in parts)
