"""The reference backend: one worker process per candidate and seed, with Stable-Baselines3."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from rewardsmith.errors import ConfigurationError, WorkerError
from rewardsmith.evaluation import TEST_SEEDS, Episodes, fitness, held_out_seeds, training_seed
from rewardsmith.execution import Job, LocalExecutor, Outcome
from rewardsmith.results import RunDirectory
from rewardsmith.settings import Settings
from rewardsmith.tasks.task import Task
from rewardsmith.training.base import OnEvaluated, OnProgress
from rewardsmith.types import Candidate, Checkpoint, Evaluation, Fault, Status

_WORKER = "rewardsmith.training.sb3_worker"
_FAULT = TypeAdapter(Fault)
_CURVE = TypeAdapter(tuple[Checkpoint, ...])


class StableBaselines3:
    """Implements `rewardsmith.training.base.Backend`."""

    def __init__(
        self, settings: Settings, task: Task, run: RunDirectory, executor: LocalExecutor
    ) -> None:
        """Remember where things are; nothing starts yet."""
        self.settings = settings
        self.task = task
        self.run = run
        self.executor = executor

    @staticmethod
    def check(settings: Settings, executor: LocalExecutor) -> None:
        """Build the learner once, in a worker; see `Backend.check`.

        Raises:
            ConfigurationError: it cannot be built.
        """
        payload = {
            "env": settings.env.model_dump(),
            "training": settings.training.model_dump(by_alias=True),
        }
        with tempfile.TemporaryDirectory() as folder:
            job = Job("check", f"{_WORKER}:check", payload, Path(folder) / "log.txt")
            outcome = executor.run([job])["check"]
        if outcome.error is not None:
            raise ConfigurationError(str(outcome.error))

    def train(
        self,
        candidates: Sequence[Candidate],
        on_progress: OnProgress,
        on_evaluated: OnEvaluated,
    ) -> None:
        """Train every candidate on all training seeds; see `Backend.train`."""
        trainings = range(self.settings.experiment.seeds)
        owners = {
            f"{candidate.label}/{training}": candidate
            for training in trainings
            for candidate in candidates
        }
        collected: dict[str, dict[str, Outcome]] = {item.label: {} for item in candidates}

        def done(name: str, outcome: Outcome) -> None:
            candidate = owners[name]
            outcomes = collected[candidate.label]
            outcomes[name] = outcome
            if len(outcomes) == len(trainings):
                ordered = [outcomes[key] for key in sorted(outcomes, key=_training_number)]
                on_evaluated(candidate, self._evaluation(ordered))

        def progress(name: str, data: dict[str, Any]) -> None:
            on_progress(owners[name], {**data, "training": _training_number(name)})

        jobs = [
            self._job(name, candidate, _training_number(name)) for name, candidate in owners.items()
        ]
        self.executor.run(jobs, progress, done)

    def _job(self, name: str, candidate: Candidate, training: int) -> Job:
        settings = self.settings
        assert candidate.reward is not None
        payload = {
            "env": settings.env.model_dump(),
            "training": settings.training.model_dump(by_alias=True),
            "sandbox": settings.sandbox.model_dump(),
            "source": candidate.reward.source,
            "seed": training_seed(settings.experiment.seed, training),
            "run_seed": settings.experiment.seed,
            "evaluation_episodes": settings.experiment.evaluation_episodes,
            "model_file": str(self.run.model_file(candidate, training)),
            "tensorboard": str(self.run.tensorboard_folder(candidate, training)),
        }
        log = self.run.worker_log(candidate, training)
        return Job(name, f"{_WORKER}:train", payload, log, settings.training.timeout_s)

    def _evaluation(self, outcomes: Sequence[Outcome]) -> Evaluation:
        """Put the trainings of one candidate together; one that failed fails the candidate."""
        values = [outcome.value for outcome in outcomes if outcome.value is not None]
        curves = tuple(_CURVE.validate_python(value["curve"]) for value in values)
        totals = {
            "curves": curves,
            "seconds": sum(value["seconds"] for value in values),
            "timesteps": sum(value["timesteps"] for value in values),
        }
        fault = next((found for found in map(_fault_of, outcomes) if found), None)
        if fault is not None:
            return Evaluation(status=fault.status, fault=fault, **totals)
        episodes = [Episodes(**value["episodes"]) for value in values]
        kind = self.task.fitness_kind
        return Evaluation(
            status=Status.OK,
            fitness=fitness(kind, episodes),
            scores=tuple(fitness(kind, [item]).mean for item in episodes),
            **totals,
        )

    def test(self, candidate: Candidate, training: int) -> dict[str, Any]:
        """Play the test episodes with a saved policy; see `Backend.test`."""
        experiment = self.settings.experiment
        seeds = held_out_seeds(TEST_SEEDS, experiment.seed, experiment.test_episodes)
        payload = {
            "env": self.settings.env.model_dump(),
            "algorithm": self.settings.training.algorithm,
            "model_file": str(self.run.model_file(candidate, training)),
            "first_seed": seeds.start,
            "episodes": len(seeds),
        }
        log = self.run.worker_log(candidate, training)
        job = Job("test", f"{_WORKER}:evaluate", payload, log, self.settings.training.timeout_s)
        outcome = self.executor.run([job])["test"]
        if outcome.error is not None:
            raise outcome.error
        return asdict(Episodes(**outcome.value))


def _training_number(name: str) -> int:
    return int(name.rpartition("/")[2])


def _fault_of(outcome: Outcome) -> Fault | None:
    if outcome.error is not None:
        return _worker_fault(outcome.error, outcome.timed_out)
    return (
        None if outcome.value["fault"] is None else _FAULT.validate_python(outcome.value["fault"])
    )


def _worker_fault(error: WorkerError, timed_out: bool) -> Fault:
    status = Status.TIMEOUT if timed_out else Status.CRASHED
    reason = "training_timeout" if timed_out else "worker"
    text = f"The training did not finish: {error}."
    return Fault(status, reason, text, traceback=error.traceback)
