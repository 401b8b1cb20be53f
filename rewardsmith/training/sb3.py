"""The reference backend: one worker process per candidate and seed, with Stable-Baselines3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rewardsmith.evaluation import RANKING_SEEDS, TEST_SEEDS, held_out_seeds, training_seed
from rewardsmith.execution import Executor, Job, Outcome
from rewardsmith.results import RunDirectory
from rewardsmith.settings import Settings
from rewardsmith.tasks.task import Task
from rewardsmith.training.base import (
    FINAL_TRAININGS,
    OnEvaluated,
    OnProgress,
    check_in_worker,
    evaluation,
    test_model,
    worker_fault,
)
from rewardsmith.types import Candidate, Evaluation

_WORKER = "rewardsmith.training.sb3_worker"


class StableBaselines3:
    """Implements `rewardsmith.training.base.Backend`."""

    def __init__(
        self, settings: Settings, task: Task, run: RunDirectory, executor: Executor
    ) -> None:
        """Remember where things are; nothing starts yet."""
        self.settings = settings
        self.task = task
        self.run = run
        self.executor = executor

    @staticmethod
    def check(settings: Settings, executor: Executor) -> None:
        """Build the learner once, in a worker; see `Backend.check`.

        Raises:
            ConfigurationError: it cannot be built.
        """
        payload = {
            "env": settings.env.model_dump(),
            "training": settings.training.model_dump(by_alias=True),
        }
        check_in_worker(executor, f"{_WORKER}:check", payload)

    def train(
        self,
        iteration: int,
        candidates: Sequence[Candidate],
        trainings: range,
        on_progress: OnProgress,
        on_evaluated: OnEvaluated,
    ) -> None:
        """Train every candidate on some training seeds; see `Backend.train`."""
        experiment = self.settings.experiment
        count = experiment.evaluation_episodes
        seeds = [
            held_out_seeds(RANKING_SEEDS, experiment.seed, count, number) for number in trainings
        ]
        self._train(self.settings, candidates, trainings, seeds, on_progress, on_evaluated)

    def retrain(
        self,
        candidates: Sequence[Candidate],
        settings: Settings,
        on_progress: OnProgress,
        on_evaluated: OnEvaluated,
    ) -> None:
        """Train from scratch on fresh seeds, for the result; see `Backend.retrain`."""
        experiment = settings.experiment
        trainings = range(FINAL_TRAININGS, FINAL_TRAININGS + experiment.final_seeds)
        seeds = [
            held_out_seeds(TEST_SEEDS, experiment.seed, experiment.test_episodes, part)
            for part in range(len(trainings))
        ]
        self._train(settings, candidates, trainings, seeds, on_progress, on_evaluated)

    def _train(
        self,
        settings: Settings,
        candidates: Sequence[Candidate],
        trainings: range,
        seeds: Sequence[range],
        on_progress: OnProgress,
        on_evaluated: OnEvaluated,
    ) -> None:
        """Train candidates, and measure each training's policies on episodes with its seeds."""
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
                on_evaluated(candidate, self._evaluation(ordered, trainings))

        def progress(name: str, data: dict[str, Any]) -> None:
            on_progress(owners[name], {**data, "training": _training_number(name)})

        for name, candidate in owners.items():
            self.run.discard_curves(candidate, _training_number(name))
        jobs = [
            self._job(
                name,
                settings,
                candidate,
                _training_number(name),
                seeds[trainings.index(_training_number(name))],
            )
            for name, candidate in owners.items()
        ]
        self.executor.run(jobs, progress, done)

    def _job(
        self, name: str, settings: Settings, candidate: Candidate, training: int, seeds: range
    ) -> Job:
        assert candidate.reward is not None
        payload = {
            "env": settings.env.model_dump(),
            "training": settings.training.model_dump(by_alias=True),
            "sandbox": settings.sandbox.model_dump(),
            "source": candidate.reward.source,
            "seed": training_seed(settings.experiment.seed, training),
            "run_seed": settings.experiment.seed,
            "first_seed": seeds.start,
            "episodes": len(seeds),
            "model_file": self.run.model_file(candidate, training),
            "tensorboard": self.run.tensorboard_folder(candidate, training),
        }
        log = self.run.worker_log(candidate, training)
        limit = settings.training.timeout_s
        return Job(name, f"{_WORKER}:train", payload, log, limit, self.run.root)

    def _evaluation(self, outcomes: Sequence[Outcome], trainings: range) -> Evaluation:
        values = [outcome.value for outcome in outcomes if outcome.value is not None]
        timesteps = sum(value["timesteps"] for value in values)
        return evaluation(
            self.task.fitness_kind,
            [value["curve"] for value in values],
            [value["episodes"] for value in values],
            next((fault for fault in map(_fault_of, outcomes) if fault), None),
            trainings,
            seconds=sum(value["seconds"] for value in values),
            timesteps=timesteps,
            collected=timesteps,
        )

    def test(self, candidate: Candidate, training: int) -> dict[str, Any]:
        """Play the test episodes with a saved policy; see `Backend.test`."""
        return test_model(self.settings, self.run, self.executor, candidate, training)


def _training_number(name: str) -> int:
    return int(name.rpartition("/")[2])


def _fault_of(outcome: Outcome) -> Any:
    if outcome.error is not None:
        return worker_fault(outcome.error, outcome.timed_out)
    return outcome.value["fault"]
