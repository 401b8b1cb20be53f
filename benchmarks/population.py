"""Run the population backend's job as a run does, and watch it from outside."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from common import cores, executor

from rewardsmith.evaluation import RANKING_SEEDS, held_out_seeds, training_seed
from rewardsmith.execution import Job
from rewardsmith.settings import Settings
from rewardsmith.types import Episodes

OnCheckpoint = Callable[[int, int, dict[str, Any], float], None]
"""Number of the reward and of its training, the checkpoint, seconds since the start."""


@dataclass(frozen=True)
class Outcome:
    """What a population came to.

    Attributes:
        seconds: wall time, from nothing to the last measurement and model.
        peak_mib: most memory of all its processes together (proportional set size), None if it was
            not watched.
        scores: for each reward, success of each training on the last episodes.
        results: all that the job gave.
    """

    seconds: float
    peak_mib: float | None
    scores: list[list[float]]
    results: list[dict[str, Any]]


def payload(
    settings: Settings,
    sources: Sequence[str],
    folder: str,
    episodes: int,
    trainings: int = 1,
    **changes: Any,
) -> dict[str, Any]:
    """Arguments of the job."""
    seed = settings.experiment.seed
    seeds = held_out_seeds(RANKING_SEEDS, seed, episodes)
    return {
        "env": settings.env.model_dump(),
        "training": settings.training.model_dump(by_alias=True),
        "sandbox": settings.sandbox.model_dump(),
        "rewards": [
            {
                "source": source,
                "model_files": [f"{folder}/{number}_{i}.zip" for i in range(trainings)],
                "last_model_files": [f"{folder}/{number}_{i}_last.zip" for i in range(trainings)],
                "tensorboard": [f"{folder}/{number}_{i}" for i in range(trainings)],
            }
            for number, source in enumerate(sources)
        ],
        "slots": len(sources),
        "seeds": [training_seed(seed, training) for training in range(trainings)],
        "run_seed": seed,
        "stream": [1, 0],
        "first_seed": seeds.start,
        "episodes": len(seeds),
        "earlier": [],
        "experience": None,
        "processes": settings.training.workers or cores(),
        **changes,
    }


def train(
    settings: Settings,
    sources: Sequence[str],
    episodes: int,
    on_checkpoint: OnCheckpoint | None = None,
    watch_memory: bool = False,
    **changes: Any,
) -> Outcome:
    """Train a population in a worker process.

    Args:
        settings: of the run.
        sources: of the rewards.
        episodes: that each policy is measured by at the end.
        on_checkpoint: told each look at a policy.
        watch_memory: look at the memory of all processes several times a second; costs time.
        changes: ``trainings`` per reward, or other arguments of the job.
    """
    with tempfile.TemporaryDirectory() as folder:
        data = payload(settings, sources, folder, episodes, **changes)
        target = "rewardsmith.training.population.worker:train"
        job = Job("population", target, data, Path(folder) / "log.txt")
        began = time.monotonic()

        def progress(_: str, message: dict[str, Any]) -> None:
            if on_checkpoint is not None and "checkpoint" in message:
                seconds = time.monotonic() - began
                place = message["candidate"], message["training"]
                on_checkpoint(*place, message["checkpoint"], seconds)

        with Memory(watch_memory) as memory:
            outcome = executor(1).run([job], progress)["population"]
        seconds = time.monotonic() - began
    if outcome.error is not None:
        raise outcome.error
    scores = [
        [float(np.mean(Episodes(**part).successes)) for part in item["episodes"]]
        for item in outcome.value
    ]
    return Outcome(seconds, memory.peak_mib, scores, outcome.value)


class Memory:
    """Watches the memory of all children of this process."""

    def __init__(self, on: bool) -> None:
        """Watch, or do not."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True) if on else None
        self.peak_mib: float | None = None

    def __enter__(self) -> Memory:
        """Start."""
        if self._thread:
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop."""
        self._stop.set()
        if self._thread:
            self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.5):
            total = 0
            for process in psutil.Process(os.getpid()).children(recursive=True):
                try:
                    total += process.memory_full_info().pss
                except (psutil.Error, OSError):
                    continue  # it has just ended
            self.peak_mib = max(self.peak_mib or 0.0, total / 2**20)
