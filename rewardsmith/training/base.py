"""What a training backend promises, and what all backends share."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from pydantic import TypeAdapter

from rewardsmith.errors import ConfigurationError, WorkerError
from rewardsmith.evaluation import TEST_SEEDS, fitness, held_out_seeds, scores
from rewardsmith.execution import Executor, Job
from rewardsmith.results import RunDirectory
from rewardsmith.settings import FINAL_TRAININGS as FINAL_TRAININGS
from rewardsmith.settings import Settings
from rewardsmith.types import KILLED, Candidate, Checkpoint, Episodes, Evaluation, Fault, Status

OnProgress = Callable[[Candidate, dict[str, Any]], None]
OnEvaluated = Callable[[Candidate, Evaluation], None]

_FAULT = TypeAdapter(Fault)
_CURVE = TypeAdapter(tuple[Checkpoint, ...])


class Backend(Protocol):
    """Trains candidates and measures them by the task's own success."""

    @staticmethod
    def check(settings: Settings, executor: Executor) -> None:
        """Find out whether a training could start, before anything is spent or written.

        Raises:
            ConfigurationError: it could not; one sentence.
        """
        ...

    def train(
        self,
        iteration: int,
        candidates: Sequence[Candidate],
        trainings: range,
        on_progress: OnProgress,
        on_evaluated: OnEvaluated,
    ) -> None:
        """Train every candidate on some training seeds; measure them on the ranking episodes.

        A candidate that fails, or whose worker dies, gets an evaluation that says so; it never
        stops the others.

        Args:
            iteration: that this is a part of; experience of those before may be used.
            candidates: all with a reward that passed the probe.
            trainings: numbers of the trainings; each number has a seed of its own.
            on_progress: told steps and checkpoints as they come.
            on_evaluated: told each candidate's evaluation as soon as it is complete.
        """
        ...

    def retrain(
        self,
        candidates: Sequence[Candidate],
        settings: Settings,
        on_progress: OnProgress,
        on_evaluated: OnEvaluated,
    ) -> None:
        """Train from scratch on fresh seeds, each on experience of its own, for the result.

        The policies are measured on the test episodes, which nothing was selected by.

        Args:
            candidates: the winner and what it is compared with.
            settings: of these trainings; a baseline's task may differ from the search's.
            on_progress: told steps and checkpoints as they come.
            on_evaluated: told each candidate's evaluation as soon as it is complete.
        """
        ...

    def test(self, candidate: Candidate, training: int) -> dict[str, Any]:
        """Play the test episodes with one of a candidate's saved policies.

        Args:
            candidate: a trained one.
            training: which of its trainings, from 0.

        Returns:
            The fields of `rewardsmith.types.Episodes`.
        """
        ...


def check_in_worker(executor: Executor, target: str, payload: dict[str, Any]) -> None:
    """Try in a worker whether something can be built.

    Args:
        executor: runs the worker.
        target: function of the worker.
        payload: its arguments.

    Raises:
        ConfigurationError: it cannot; one sentence.
    """
    with tempfile.TemporaryDirectory() as folder:
        job = Job("check", target, payload, Path(folder) / "log.txt")
        outcome = executor.run([job])["check"]
    if outcome.error is not None:
        raise ConfigurationError(str(outcome.error))


def evaluation(
    kind: str,
    curves: Sequence[Any],
    episodes: Sequence[dict[str, Any]],
    fault: Fault | dict[str, Any] | None,
    trainings: range,
    **totals: Any,
) -> Evaluation:
    """Put the trainings of one candidate together; one that failed fails the candidate.

    Args:
        kind: of fitness, ``success`` or ``return``.
        curves: checkpoints of each training, as plain data.
        episodes: what each training's policy did at the end, as plain data.
        fault: what went wrong, if anything.
        trainings: numbers of the trainings.
        totals: seconds and steps.
    """
    values = {"curves": tuple(map(_CURVE.validate_python, curves)), **totals}
    if fault is not None:
        known = _FAULT.validate_python(fault)
        return Evaluation(status=known.status, fault=known, **values)
    played = tuple(Episodes(**item) for item in episodes)
    return Evaluation(
        status=Status.OK,
        fitness=fitness(kind, played),
        scores=scores(kind, played),
        episodes=played,
        trainings=tuple(trainings),
        **values,
    )


def worker_fault(error: WorkerError, timed_out: bool) -> Fault:
    """What a training's worker died of."""
    status = Status.TIMEOUT if timed_out else Status.CRASHED
    reason = "training_timeout" if timed_out else KILLED
    text = f"The training did not finish: {error}."
    return Fault(status, reason, text, traceback=error.traceback)


def test_model(
    settings: Settings,
    run: RunDirectory,
    executor: Executor,
    candidate: Candidate,
    training: int,
) -> dict[str, Any]:
    """Play the test episodes with a saved policy; see `Backend.test`."""
    experiment = settings.experiment
    seeds = held_out_seeds(TEST_SEEDS, experiment.seed, experiment.test_episodes)
    payload = {
        "env": settings.env.model_dump(),
        "algorithm": settings.training.algorithm,
        "model_file": run.model_file(candidate, training),
        "first_seed": seeds.start,
        "episodes": len(seeds),
    }
    log = run.worker_log(candidate, training)
    target = "rewardsmith.training.sb3_worker:evaluate"
    reads = (run.model_file(candidate, training),)
    job = Job("test", target, payload, log, settings.training.timeout_s, run.root, reads)
    outcome = executor.run([job])["test"]
    if outcome.error is not None:
        raise outcome.error
    return dict(outcome.value)
