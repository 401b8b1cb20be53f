"""The controller's side of the population backend; it imports neither JAX nor torch."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import gymnasium
import numpy as np

from rewardsmith.errors import ConfigurationError
from rewardsmith.evaluation import RANKING_SEEDS, TEST_SEEDS, held_out_seeds, training_seed
from rewardsmith.execution import Executor, Job, Outcome
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
        self, settings: Settings, task: Task, run: RunDirectory, executor: Executor
    ) -> None:
        """Remember where things are; nothing starts yet."""
        assert isinstance(settings.training, PopulationSettings)
        self.settings, self.training = settings, settings.training
        self.task = task
        self.run = run
        self.executor = executor

    @staticmethod
    def check(settings: Settings, executor: Executor) -> None:
        """See whether the environment suits, and the machine; see `Backend.check`.

        Raises:
            ConfigurationError: it does not, or there is no such device, or no room for so many
                reward processes at once.
        """
        _check_spaces(settings)
        payload = {
            "training": settings.training.model_dump(by_alias=True),
            "candidates": _room(settings),
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
        name = f"{iteration}_{start}" if start else f"{iteration}"
        divided = self._divide(candidates) if start else self._divide_by_index(candidates)
        shards = []
        for number, chosen in divided.items():
            shard = None if self.training.shard is None else number
            payload = {
                **self._payload(chosen, trainings, RANKING_SEEDS, episodes, start),
                "slots": _slots(len(chosen)) if start else _room(self.settings),
                "stream": [iteration, start] if shard is None else [iteration, start, shard],
                "earlier": earlier,
                "experience": None if start else run.experience_file(iteration, shard),
            }
            called = name if shard is None else f"{name}_shard_{shard}"
            shards.append(_Shard(called, payload, chosen, trainings))
        self._train(shards, on_progress, on_evaluated)

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
        shards = []
        for chosen in self._divide(candidates).values():
            payload = {
                **self._payload(chosen, trainings, TEST_SEEDS, experiment.test_episodes),
                "env": settings.env.model_dump(),
                "training": alone.model_dump(by_alias=True),
                "slots": len(chosen),
                "stream": [0, FINAL_TRAININGS],
                "earlier": [],
                "experience": None,
            }
            name = "final_" + "_".join(item.label.replace("/", "-") for item in chosen)
            shards.append(_Shard(name, payload, chosen, trainings))
        self._train(shards, on_progress, on_evaluated)

    def test(self, candidate: Candidate, training: int) -> dict[str, Any]:
        """Play the test episodes with a saved policy; see `Backend.test`."""
        return test_model(self.settings, self.run, self.executor, candidate, training)

    # -- inside -----------------------------------------------------------------------------

    def _divide(self, candidates: Sequence[Candidate]) -> dict[int, Sequence[Candidate]]:
        """The candidates of each shard."""
        size = self.training.shard or len(candidates)
        return {i // size: candidates[i : i + size] for i in range(0, len(candidates), size)}

    def _divide_by_index(self, candidates: Sequence[Candidate]) -> dict[int, Sequence[Candidate]]:
        """The same, whichever candidates of the iteration are finished or cannot be trained."""
        size = self.training.shard or self.settings.experiment.candidates
        groups = itertools.groupby(candidates, lambda candidate: candidate.index // size)
        return {number: list(chosen) for number, chosen in groups}

    def _train(
        self, shards: Sequence[_Shard], on_progress: OnProgress, on_evaluated: OnEvaluated
    ) -> None:
        """Train shards, but for those that an earlier part of this run has trained.

        What comes out of one is kept whole before anything is told, so that a run that is cut off
        in between finds all of it again.

        Args:
            shards: to train.
            on_progress: told steps and checkpoints.
            on_evaluated: told each candidate's evaluation.
        """
        waiting = []
        for shard in shards:
            results = self.run.read_population(shard.name, shard.key)
            if results is None:
                waiting.append(shard)
            else:
                self._tell(shard, results, on_evaluated)

        def done(shard: _Shard, outcome: Outcome) -> None:
            labels = [candidate.label for candidate in shard.candidates]
            results = dict(zip(labels, _results(outcome, len(labels)), strict=True))
            if outcome.error is None:
                self.run.write_population(shard.name, shard.key, results)
            self._tell(shard, results, on_evaluated)

        lost = self._run(waiting, on_progress, done, spare=True)
        self._run(lost, on_progress, done, spare=False)

    def _tell(
        self, shard: _Shard, results: dict[str, dict[str, Any]], on_evaluated: OnEvaluated
    ) -> None:
        kind = self.task.fitness_kind
        for candidate in shard.candidates:
            result = results[candidate.label]
            on_evaluated(candidate, evaluation(kind, trainings=shard.trainings, **result))

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
                    "model_files": [run.model_file(candidate, i) for i in trainings],
                    "last_model_files": [run.last_model_file(candidate, i) for i in trainings],
                    "tensorboard": [run.tensorboard_folder(candidate, i) for i in trainings],
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

    def _run(
        self,
        shards: Sequence[_Shard],
        on_progress: OnProgress,
        on_done: Callable[[_Shard, Outcome], None],
        spare: bool,
    ) -> list[_Shard]:
        """Run the trainings of some shards.

        Args:
            shards: to train.
            on_progress: told steps and checkpoints.
            on_done: told what became of each.
            spare: say nothing of those whose worker died, since it may have been killed.

        Returns:
            Those that were spared.
        """
        known = {shard.name: shard for shard in shards}
        spared: list[_Shard] = []

        def progress(name: str, data: dict[str, Any]) -> None:
            candidates = known[name].candidates
            if "candidate" in data:
                candidates = [candidates[data["candidate"]]]
            for candidate in candidates:
                on_progress(candidate, data)

        def done(name: str, outcome: Outcome) -> None:
            died = outcome.error is not None and not outcome.error.traceback
            if spare and died and not outcome.timed_out:
                spared.append(known[name])
            else:
                on_done(known[name], outcome)

        for shard in shards:
            for candidate in shard.candidates:
                for training in shard.trainings:
                    self.run.discard_curves(candidate, training)
        self.executor.run([self._job(shard) for shard in shards], progress, done)
        return spared

    def _job(self, shard: _Shard) -> Job:
        return Job(
            shard.name,
            f"{_WORKER}:train",
            shard.payload,
            self.run.population_log(shard.name),
            self.training.timeout_s,
            self.run.root,
            tuple(shard.payload["earlier"]),
            self.executor.workers,
        )


@dataclass(frozen=True)
class _Shard:
    """Candidates that are trained together, in one job.

    Attributes:
        name: unique in the run.
        payload: of the job.
        candidates: in the order of the payload's rewards.
        trainings: numbers of the trainings of each.
    """

    name: str
    payload: dict[str, Any]
    candidates: Sequence[Candidate]
    trainings: range

    @property
    def key(self) -> dict[str, str]:
        """What the results depend on."""
        return _key(self.payload, self.candidates)


def _results(outcome: Outcome, candidates: int) -> list[dict[str, Any]]:
    """What a job found out; its error, if there is one, is everyone's."""
    if outcome.error is None:
        return list(outcome.value)
    fault = asdict(worker_fault(outcome.error, outcome.timed_out))
    return [{"fault": fault, "curves": [], "episodes": []} for _ in range(candidates)]


def _room(settings: Settings) -> int:
    """Most candidates that are trained together."""
    assert isinstance(settings.training, PopulationSettings)
    return min(settings.experiment.candidates, settings.training.shard or 1 << 30)


def _slots(candidates: int) -> int:
    """Room for candidates: a power of two, so that few shapes have to be compiled."""
    return 1 << (candidates - 1).bit_length()


def _key(payload: dict[str, Any], candidates: Sequence[Candidate]) -> dict[str, str]:
    """What the results of some candidates depend on."""
    training = dict(payload["training"])
    for name in ("workers", "timeout_s", "shard"):
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
