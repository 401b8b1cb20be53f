"""Rewards and arguments for trainings that take seconds."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from rewardsmith.config import find_class
from rewardsmith.evaluation import RANKING_SEEDS
from rewardsmith.execution import LocalExecutor
from rewardsmith.results import RunDirectory
from rewardsmith.settings import Settings
from rewardsmith.tasks.task import build_task
from rewardsmith.training.base import Backend
from rewardsmith.types import Candidate, Evaluation, RewardFunction
from tests.conftest import load_settings

GOOD = """
def compute_reward(state, action, next_state):
    before = np.linalg.norm(state["achieved_goal"] - state["desired_goal"], axis=-1)
    after = np.linalg.norm(next_state["achieved_goal"] - next_state["desired_goal"], axis=-1)
    progress = before - after
    near = -after
    return progress + near, {"progress": progress, "near": near}
"""
UNUSABLE = "def compute_reward(state, action, next_state):\n    return nothing, {}\n"
ENVIRONMENT = {
    name: os.environ[name]
    for name in ("PATH", "HOME", "JAX_COMPILATION_CACHE_DIR", "XLA_FLAGS")
    if name in os.environ
}
QUICK = (
    "training=sb3",
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
        "experiment.seeds=1",
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
            "first_seed": RANKING_SEEDS,
            "episodes": settings.experiment.evaluation_episodes,
            "model_file": str(tmp_path / "model.zip"),
            "tensorboard": str(tmp_path / "tensorboard"),
        }

    return make


def candidates(*sources: str, iteration: int = 1) -> list[Candidate]:
    """Candidates with these rewards."""
    return [
        Candidate(iteration=iteration, index=index, reward=RewardFunction(source))
        for index, source in enumerate(sources)
    ]


class Training:
    """Trains candidates with the backend of some settings, and notes what is told."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.settings = settings
        self.run = RunDirectory.create(folder, "run")
        self.executor = LocalExecutor(2, ENVIRONMENT)
        self.told: list[tuple[str, dict[str, Any]]] = []

    @property
    def backend(self) -> Backend:
        """As a run that begins, or goes on, would build it."""
        settings = self.settings
        backend: Backend = find_class(settings.training.target)(
            settings, build_task(settings.env), self.run, self.executor
        )
        return backend

    def note(self, candidate: Candidate, data: dict[str, Any]) -> None:
        """Hear of progress."""
        self.told.append((candidate.label, data))

    def __call__(
        self, chosen: list[Candidate], mishap: Callable[[Candidate], None] = lambda candidate: None
    ) -> dict[int, Evaluation]:
        evaluations: dict[int, Evaluation] = {}
        before = set(psutil.Process().children(recursive=True))

        def progress(candidate: Candidate, data: dict[str, Any]) -> None:
            self.note(candidate, data)
            mishap(candidate)

        def evaluated(candidate: Candidate, evaluation: Evaluation) -> None:
            assert candidate.index not in evaluations
            evaluations[candidate.index] = evaluation

        trainings = range(self.settings.experiment.seeds)
        self.backend.train(chosen[0].iteration, chosen, trainings, progress, evaluated)
        left = set(psutil.Process().children(recursive=True)) - before
        assert not psutil.wait_procs(left, timeout=5)[1]
        return evaluations

    def again(self, *chosen: Candidate) -> list[Evaluation]:
        """Train from scratch, as for the result."""
        found: list[Evaluation] = []
        self.backend.retrain(
            chosen, self.settings, self.note, lambda _, evaluation: found.append(evaluation)
        )
        return found

    @staticmethod
    def worker(log: Path) -> psutil.Process:
        """The process that writes to a log."""
        for child in psutil.Process().children():
            if str(log) in [file.path for file in child.open_files()]:
                return child
        raise LookupError(log)
