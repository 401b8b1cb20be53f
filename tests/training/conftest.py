"""Rewards and arguments for trainings that take seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rewardsmith.settings import Settings
from tests.conftest import load_settings

GOOD = """
def compute_reward(state, action, next_state):
    before = np.linalg.norm(state["achieved_goal"] - state["desired_goal"], axis=-1)
    after = np.linalg.norm(next_state["achieved_goal"] - next_state["desired_goal"], axis=-1)
    progress = before - after
    near = -after
    return progress + near, {"progress": progress, "near": near}
"""
QUICK = (
    "training.learning_rate=0.003",
    "training.checkpoint_episodes=10",
    "++training.kwargs.batch_size=64",
    "++training.kwargs.learning_starts=100",
    "++training.kwargs.gamma=0.6",
    "++training.kwargs.ent_coef=0.01",
    "++training.kwargs.policy_kwargs.net_arch=[32,32]",
)


def point_settings(*overrides: str, timesteps: int = 700, checkpoints: int = 4) -> Settings:
    """Settings of a quick training on the point task."""
    return load_settings(
        "env=point",
        "sandbox.allow_weaker=true",
        "experiment.evaluation_episodes=20",
        f"training.total_timesteps={timesteps}",
        f"training.checkpoints={checkpoints}",
        *QUICK,
        *overrides,
    )


@pytest.fixture
def payload(tmp_path: Path) -> Any:
    """Make the arguments of `rewardsmith.training.sb3_worker.train`."""

    def make(settings: Settings, source: str = GOOD, seed: int = 0) -> dict[str, Any]:
        return {
            "env": settings.env.model_dump(),
            "training": settings.training.model_dump(by_alias=True),
            "sandbox": settings.sandbox.model_dump(),
            "source": source,
            "seed": seed,
            "run_seed": settings.experiment.seed,
            "evaluation_episodes": settings.experiment.evaluation_episodes,
            "model_file": str(tmp_path / "model.zip"),
            "tensorboard": str(tmp_path / "tensorboard"),
        }

    return make
