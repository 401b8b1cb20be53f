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
from rewardsmith.types import Candidate

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
        """See whether the environment suits, and the machine; see `Backend.check`.

        Raises:
            ConfigurationError: it does not, or there is no such device, or no room for so many
                reward processes at once.
        """
        _check_spaces(settings)
        payload = {
            "training": settings.training.model_dump(by_alias=True),
            "candidates": settings.experiment.candidates,
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
        """Train all candidates on some training seeds, together; see `Backend.train`."""
        experiment, run = self.settings.experiment, self.run
        start, episodes = trainings.start, experiment.evaluation_episodes
        earlier = run.experience_files(iteration) if self.training.keep_experience else []
        payload = {
            **self._payload(candidates, trainings, RANKING_SEEDS, episodes, start),
            "slots": _slots(len(candidates)) if start else experiment.candidates,
            "stream": [iteration, start],
            "earlier": [str(file) for file in earlier],
            "experience": None if start else str(run.experience_file(iteration)),
        }
        name = f"{iteration}_{start}" if start else f"{iteration}"
        self._train(name, payload, candidates, trainings, on_progress, on_evaluated)

    def retrain(
        self,
        candidates: Sequence[Candidate],
        settings: Settings,
        on_progress: OnProgress,
        on_evaluated: OnEvaluated,
    ) -> None:
        """Train from scratch on fresh seeds, for the result; see `Backend.retrain`."""
        experiment = settings.experiment
        assert isinstance(settings.training, PopulationSettings)
        trainings = range(FINAL_TRAININGS, FINAL_TRAININGS + experiment.final_seeds)
        alone = settings.training.model_copy(update={"share_experience": False})
        payload = {
            **self._payload(candidates, trainings, TEST_SEEDS, experiment.test_episodes),
            "env": settings.env.model_dump(),
            "training": alone.model_dump(by_alias=True),
            "slots": len(candidates),
            "stream": [0, FINAL_TRAININGS],
            "earlier": [],
            "experience": None,
        }
        name = "final_" + "_".join(item.label.replace("/", "-") for item in candidates)
        self._train(name, payload, candidates, trainings, on_progress, on_evaluated)

    def test(self, candidate: Candidate, training: int) -> dict[str, Any]:
        """Play the test episodes with a saved policy; see `Backend.test`."""
        return test_model(self.settings, self.run, self.executor, candidate, training)

    # -- inside -----------------------------------------------------------------------------

    def _train(
        self,
        name: str,
        payload: dict[str, Any],
        candidates: Sequence[Candidate],
        trainings: range,
        on_progress: OnProgress,
        on_evaluated: OnEvaluated,
    ) -> None:
        """Train candidates together, unless an earlier part of this run has done so.

        What comes out is kept whole before anything is told, so that a run that is cut off in
        between finds all of it again.

        Args:
            name: of this joint training, unique in the run.
            payload: what to train.
            candidates: in the order of the payload's rewards.
            trainings: numbers of the trainings of each.
            on_progress: told steps and checkpoints.
            on_evaluated: told each candidate's evaluation.
        """
        key = _key(payload, candidates)
        results = self.run.read_population(name, key)
        if results is None:
            outcome = self._job(name, payload, candidates, trainings, on_progress)
            labels = [candidate.label for candidate in candidates]
            results = dict(zip(labels, _results(outcome, len(candidates)), strict=True))
            if outcome.error is None:
                self.run.write_population(name, key, results)
        for candidate in candidates:
            result = results[candidate.label]
            kind = self.task.fitness_kind
            on_evaluated(candidate, evaluation(kind, trainings=trainings, **result))

    def _payload(
        self,
        candidates: Sequence[Candidate],
        trainings: range,
        first_seed: int,
        episodes: int,
        part: int = 0,
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
            "first_seed": held_out_seeds(first_seed, seed, episodes, part).start,
            "episodes": episodes,
            "processes": self.executor.workers,
        }

    def _job(
        self,
        name: str,
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

        log = self.run.population_log(name)
        job = Job("train", f"{_WORKER}:train", payload, log, self.training.timeout_s)
        outcome = attempt()
        if outcome.error is not None and not outcome.error.traceback and not outcome.timed_out:
            outcome = attempt()
        return outcome


def _results(outcome: Outcome, candidates: int) -> list[dict[str, Any]]:
    """What a job found out; its error, if there is one, is everyone's."""
    if outcome.error is None:
        return list(outcome.value)
    fault = asdict(worker_fault(outcome.error, outcome.timed_out))
    return [{"fault": fault, "curves": [], "episodes": []} for _ in range(candidates)]


def _slots(candidates: int) -> int:
    """Room for candidates: a power of two, so that few shapes have to be compiled."""
    return 1 << (candidates - 1).bit_length()


def _key(payload: dict[str, Any], candidates: Sequence[Candidate]) -> dict[str, str]:
    """What the results of some candidates depend on."""
    training = dict(payload["training"])
    for name in ("workers", "timeout_s"):
        del training[name]
    names = ("env", "slots", "stream", "seeds", "run_seed", "first_seed", "episodes")
    values = json.dumps([training, *(payload[name] for name in names)], sort_keys=True)
    return {
        "settings": hashlib.sha256(values.encode()).hexdigest(),
        **{item.label: item.reward.sha256 for item in candidates if item.reward},
    }


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
