"""Populations that train in seconds, and what they are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rewardsmith.evaluation import RANKING_SEEDS
from rewardsmith.settings import PopulationSettings, Settings
from rewardsmith.tasks.task import Task
from rewardsmith.types import Transitions
from tests.conftest import load_settings

BAD = """
def compute_reward(state, action, next_state):
    far = np.linalg.norm(next_state["achieved_goal"] - next_state["desired_goal"], axis=-1)
    return far, {"far": far}
"""
BROKEN_LATE = """
def compute_reward(state, action, next_state):
    root = np.sqrt(0.9 - action[:, 0])
    return root, {"root": root}
"""


def population_settings(*overrides: str) -> Settings:
    """Settings of a small population on the point task."""
    return load_settings(
        "env=point",
        "training=population",
        "training.device=cpu",
        "training.total_timesteps=900",
        "training.checkpoints=3",
        "sandbox.allow_weaker=true",
        "experiment.evaluation_episodes=20",
        *overrides,
    )


def training_of(settings: Settings) -> PopulationSettings:
    """The backend's own part of some settings."""
    assert isinstance(settings.training, PopulationSettings)
    return settings.training


def make_payload(folder: Path, settings: Settings, *sources: str, **changes: Any) -> dict[str, Any]:
    """Arguments of `rewardsmith.training.population.worker.train`, for two trainings of each."""
    names = ("a", "b")
    rewards = [
        {
            "source": source,
            "model_files": [str(folder / f"{place}_{name}.zip") for name in names],
            "last_model_files": [str(folder / f"{place}_{name}_last.zip") for name in names],
            "tensorboard": [str(folder / "curves" / f"{place}_{name}") for name in names],
        }
        for place, source in enumerate(sources)
    ]
    return {
        "env": settings.env.model_dump(),
        "training": settings.training.model_dump(by_alias=True),
        "sandbox": settings.sandbox.model_dump(),
        "rewards": rewards,
        "slots": 3,
        "seeds": [1, 2],
        "run_seed": settings.experiment.seed,
        "stream": [1, 0],
        "first_seed": RANKING_SEEDS,
        "episodes": settings.experiment.evaluation_episodes,
        "earlier": [],
        "experience": str(folder / "experience.npz"),
        "processes": 2,
        **changes,
    }


def make_episode(task: Task, length: int, seed: int, ends: bool = False) -> Transitions:
    """Made-up steps that hang together: each starts where the last arrived; the goal stays."""
    generator = np.random.default_rng(seed)
    records = generator.normal(size=(length + 1, task.layout.state_width)).astype(np.float32)
    if task.has_goals:
        records[:, task.columns("desired_goal")] = records[0, task.columns("desired_goal")]
    action = generator.uniform(-1, 1, (length, task.layout.action_width)).astype(np.float32)
    terminated = np.zeros(length, bool)
    terminated[-1] = ends
    states = records.astype(np.float64)
    return Transitions(states[:-1], action.astype(np.float64), states[1:], terminated)
