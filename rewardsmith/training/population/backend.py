"""The controller's side of the population backend; it imports neither JAX nor torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import gymnasium
import numpy as np

from rewardsmith.errors import ConfigurationError
from rewardsmith.evaluation import RANKING_SEEDS, TEST_SEEDS, held_out_seeds, training_seed
from rewardsmith.execution import Job, LocalExecutor, Outcome
from rewardsmith.results import RunDirectory
from rewardsmith.settings import PopulationSettings, Settings
from rewardsmith.tasks.task import Task, make_environment
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

_WORKER = "rewardsmith.training.population.worker"


class Population:
    """Implements `rewardsmith.training.base.Backend`."""

    def __init__(
        self, settings: Settings, task: Task, run: RunDirectory, executor: LocalExecutor
    ) -> None:
        """Remember where things are; nothing starts yet."""
        assert isinstance(settings.training, PopulationSettings)
        self.settings, self.training = settings, settings.training
        self.task = task
        self.run = run
        self.executor = executor

    @staticmethod
    def check(settings: Settings, executor: LocalExecutor) -> None:
        """See whether the environment suits, and find the device; see `Backend.check`.

        Raises:
            ConfigurationError: it does not, or there is no such device.
        """
        _check_spaces(settings)
        payload = {"training": settings.training.model_dump(by_alias=True)}
        check_in_worker(executor, f"{_WORKER}:check", payload)

    def train(
        self,
        candidates: Sequence[Candidate],
        on_progress: OnProgress,
        on_evaluated: OnEvaluated,
    ) -> None:
        """Train all candidates on all training seeds, together; see `Backend.train`.

        What comes out is kept whole before anything is told, so that a run that is cut off in
        between finds all of it again.
        """
        iteration = candidates[0].iteration
        kept = self._kept(iteration, candidates)
        if kept is None:
            kept = self._run(iteration, candidates, on_progress)
        for candidate in candidates:
            on_evaluated(candidate, self._evaluation(kept[candidate.index]))

    def retrain(self, candidate: Candidate, on_progress: OnProgress) -> Evaluation:
        """Train the winner from scratch on fresh seeds; see `Backend.retrain`."""
        experiment = self.settings.experiment
        trainings = range(FINAL_TRAININGS, FINAL_TRAININGS + experiment.final_seeds)
        alone = self.training.model_copy(update={"share_experience": False})
        payload = {
            **self._payload([candidate], trainings, TEST_SEEDS, experiment.test_episodes),
            "training": alone.model_dump(by_alias=True),
            "slots": 1,
            "stream": FINAL_TRAININGS,
            "earlier": [],
            "experience": None,
        }
        outcome = self._job(payload, [candidate], trainings, on_progress)
        return self._evaluation(_results(outcome, 1)[0])

    def test(self, candidate: Candidate, training: int) -> dict[str, Any]:
        """Play the test episodes with a saved policy; see `Backend.test`."""
        return test_model(self.settings, self.run, self.executor, candidate, training)

    # -- inside -----------------------------------------------------------------------------

    def _run(
        self, iteration: int, candidates: Sequence[Candidate], on_progress: OnProgress
    ) -> dict[int, dict[str, Any]]:
        experiment = self.settings.experiment
        trainings = range(experiment.seeds)
        earlier = self.run.experience_files(iteration) if self.training.keep_experience else []
        payload = {
            **self._payload(candidates, trainings, RANKING_SEEDS, experiment.evaluation_episodes),
            "slots": experiment.candidates,
            "stream": iteration,
            "earlier": [str(file) for file in earlier],
            "experience": str(self.run.experience_file(iteration)),
        }
        outcome = self._job(payload, candidates, trainings, on_progress)
        results = dict(
            zip(
                (candidate.index for candidate in candidates),
                _results(outcome, len(candidates)),
                strict=True,
            )
        )
        if outcome.error is None:
            self.run.write_population(iteration, self._key(candidates), results)
        return results

    def _kept(
        self, iteration: int, candidates: Sequence[Candidate]
    ) -> dict[int, dict[str, Any]] | None:
        """What an earlier part of this run found out about these candidates, if it did."""
        key, results = self.run.read_population(iteration)
        known = self._key(candidates)
        if known.items() <= key.items():
            return results
        return None

    def _key(self, candidates: Sequence[Candidate]) -> dict[str, str]:
        """What the results of some candidates depend on."""
        training = self.training.model_dump(exclude={"workers", "timeout_s"})
        experiment = self.settings.experiment
        numbers = [experiment.seed, experiment.seeds, experiment.evaluation_episodes]
        return {
            "settings": _digest(training, self.settings.env.model_dump(), numbers),
            **{str(item.index): item.reward.sha256 for item in candidates if item.reward},
        }

    def _payload(
        self, candidates: Sequence[Candidate], trainings: range, first_seed: int, episodes: int
    ) -> dict[str, Any]:
        settings, run = self.settings, self.run
        seed = settings.experiment.seed
        return {
            "env": settings.env.model_dump(),
            "training": self.training.model_dump(by_alias=True),
            "sandbox": settings.sandbox.model_dump(),
            "rewards": [
                {
                    "source": candidate.reward.source,
                    "model_files": [str(run.model_file(candidate, i)) for i in trainings],
                    "last_model_files": [str(run.last_model_file(candidate, i)) for i in trainings],
                    "tensorboard": [str(run.tensorboard_folder(candidate, i)) for i in trainings],
                }
                for candidate in candidates
                if candidate.reward is not None
            ],
            "seeds": [training_seed(seed, training) for training in trainings],
            "run_seed": seed,
            "first_seed": held_out_seeds(first_seed, seed, episodes).start,
            "episodes": episodes,
            "processes": self.executor.workers,
        }

    def _job(
        self,
        payload: dict[str, Any],
        candidates: Sequence[Candidate],
        trainings: range,
        on_progress: OnProgress,
    ) -> Outcome:
        """Run the training; once more if its worker died, since it may have been killed."""

        def progress(_: str, data: dict[str, Any]) -> None:
            if "candidate" in data:
                on_progress(candidates[data["candidate"]], data)
            else:
                for candidate in candidates:
                    on_progress(candidate, data)

        def attempt() -> Outcome:
            for candidate in candidates:
                for training in trainings:
                    self.run.discard_curves(candidate, training)
            return self.executor.run([job], progress)["train"]

        log = self.run.population_log(payload["stream"])
        job = Job("train", f"{_WORKER}:train", payload, log, self.training.timeout_s)
        outcome = attempt()
        if outcome.error is not None and not outcome.error.traceback and not outcome.timed_out:
            outcome = attempt()
        return outcome

    def _evaluation(self, result: dict[str, Any]) -> Evaluation:
        return evaluation(self.task.fitness_kind, **result)


def _results(outcome: Outcome, candidates: int) -> list[dict[str, Any]]:
    """What a job found out; its error, if there is one, is everyone's."""
    if outcome.error is None:
        return list(outcome.value)
    fault = asdict(worker_fault(outcome.error, outcome.timed_out))
    return [{"fault": fault, "curves": [], "episodes": []} for _ in range(candidates)]


def _digest(*values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _check_spaces(settings: Settings) -> None:
    env = make_environment(settings.env)
    try:
        seen, actions = env.observation_space, env.action_space
    finally:
        env.close()
    box = gymnasium.spaces.Box
    parts = list(seen.values()) if isinstance(seen, gymnasium.spaces.Dict) else [seen]
    suits = isinstance(actions, box) and bool(np.all(np.isfinite([actions.low, actions.high])))
    if not suits:
        raise ConfigurationError(
            f"training=population needs continuous, bounded actions, but {settings.env.id} has "
            f"{actions}: use training=sb3 with training.algorithm=PPO or another that suits."
        )
    if not all(isinstance(part, box) and len(part.shape) == 1 for part in parts):
        raise ConfigurationError(
            f"training=population needs observations that are vectors of numbers, but "
            f"{settings.env.id} has {seen}: use training=sb3."
        )
