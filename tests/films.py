"""Runs to film that nobody had to train, models that bite, and workers that crash."""

from __future__ import annotations

import base64
import io
import os
import signal
import zipfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3 import SAC

from rewardsmith import config
from rewardsmith.results import RunDirectory
from rewardsmith.settings import Settings
from rewardsmith.types import Candidate, Evaluation, RewardFunction, Status, Trial

REWARD = """def compute_reward(state, action, next_state):
    near = -np.linalg.norm(next_state["achieved_goal"] - next_state["desired_goal"], axis=-1)
    effort = -0.01 * np.sum(action**2, axis=-1)
    return near + effort, {"near": near, "effort": effort}
"""
PLAIN_REWARD = """def compute_reward(state, action, next_state):
    high = next_state["observation"][:, 0]
    return high, {"high": high}
"""


class Spaces(gymnasium.Env):
    """Nothing but spaces."""

    def __init__(self, observation: gymnasium.Space, action: gymnasium.Space) -> None:
        self.observation_space = observation
        self.action_space = action


class Counting(gymnasium.Env):
    """Counts steps; what it can show is up to the subclass."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None) -> None:
        self.observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,))
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))
        self.render_mode = render_mode
        self.count = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.count = 0
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.count += 1
        observation = np.array([0.5, self.count / 10], dtype=np.float32)
        return observation, 0.0, False, False, {}


class Windowed(Counting):
    """Has a window that only exists in name."""

    metadata: dict[str, Any] = {"render_modes": ["human"]}  # noqa: RUF012


gymnasium.register("Blind-v0", f"{__name__}:Counting", max_episode_steps=5)
gymnasium.register("Windowed-v0", f"{__name__}:Windowed", max_episode_steps=5)


def settings(*overrides: str) -> Settings:
    return config.composed(["llm=builtin", *overrides])


def own(name: str) -> tuple[str, ...]:
    """Settings of one of the environments above."""
    return ("env=gym", f"env.id=tests.films:{name}", "env.description=Count.")


def write_model(file: Path, env: gymnasium.Env) -> SAC:
    """Save an untrained policy for an environment's spaces."""
    spaces = Spaces(env.observation_space, env.action_space)
    dictionary = isinstance(env.observation_space, gymnasium.spaces.Dict)
    kind = "MultiInputPolicy" if dictionary else "MlpPolicy"
    model = SAC(kind, spaces, buffer_size=1, seed=0, policy_kwargs={"net_arch": [16, 16]})
    file.parent.mkdir(parents=True, exist_ok=True)
    model.save(file)
    return model


def make_run(
    folder: Path, env: gymnasium.Env, *overrides: str, reward: str = REWARD
) -> RunDirectory:
    """A finished run with one candidate, whose policy was never trained."""
    run = RunDirectory.create(folder, "run")
    run.write_config(config.to_yaml(settings(*overrides)))
    candidate = Candidate(1, 0, RewardFunction(reward))
    run.write_trial(Trial(candidate, Evaluation(Status.OK, scores=(1.0,), trainings=(0,))))
    write_model(run.model_file(candidate), env)
    run.write_best(candidate, 0, "")
    run.write_summary({"best": {"candidate": "1/0"}})
    return run


class _Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return Path.write_text, (self.file, "boom")


def _pickled(value: Any) -> bytes:
    import pickle

    return pickle.dumps(value)


def add_bombs(model: Path, mark: Path, *names: str) -> None:
    """Put objects that write `mark` when unpickled into parts of a model."""
    stream = io.BytesIO()
    torch.save({"bomb": _Bomb(mark)}, stream)
    text = base64.b64encode(_pickled(_Bomb(mark))).decode()
    data = f'{{"policy_class": {{":type:": "x", ":serialized:": "{text}"}}}}'
    with zipfile.ZipFile(model) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    for name in names:
        parts[name] = data.encode() if name == "data" else stream.getvalue()
    with zipfile.ZipFile(model, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def record(data: dict[str, Any], report: Any) -> None:
    """Die as a broken graphics driver does."""
    os.kill(os.getpid(), signal.SIGSEGV)


def probe(data: dict[str, Any], report: Any) -> bool:
    """Say that graphics were needed."""
    return True
