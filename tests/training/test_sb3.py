"""The backend: candidates in parallel, each with its own fate."""

from __future__ import annotations

from pathlib import Path

import pytest

from rewardsmith.errors import ConfigurationError
from rewardsmith.execution import LocalExecutor
from rewardsmith.training.sb3 import StableBaselines3
from rewardsmith.types import Candidate, Status
from tests.training.conftest import (
    ENVIRONMENT,
    GOOD,
    UNUSABLE,
    Training,
    candidates,
    point_settings,
)

pytestmark = pytest.mark.slow


def test_every_training_counts(tmp_path: Path) -> None:
    settings = point_settings("experiment.seeds=2", timesteps=150, checkpoints=2)
    training = Training(tmp_path, settings)
    evaluation = training(candidates(GOOD))[0]
    assert evaluation.status is Status.OK
    assert evaluation.fault is None
    assert evaluation.timesteps == 300
    assert len(evaluation.curves) == len(evaluation.scores) == 2
    assert evaluation.curves[0] != evaluation.curves[1]
    assert evaluation.fitness is not None
    assert (evaluation.fitness.episodes, evaluation.fitness.seeds) == (40, 2)
    assert evaluation.fitness.mean == pytest.approx(sum(evaluation.scores) / 2)
    assert {data["training"] for _, data in training.told} == {0, 1}
    [candidate] = candidates(GOOD)
    assert all(training.run.model_file(candidate, number).is_file() for number in (0, 1))
    played = training.backend.test(candidate, 1)
    assert len(played["successes"]) == settings.experiment.test_episodes


def test_a_mishap_costs_one_candidate_only(tmp_path: Path) -> None:
    training = Training(tmp_path, point_settings(timesteps=200, checkpoints=4))
    struck: set[int] = set()

    def mishap(candidate: Candidate) -> None:
        if candidate.index in struck or candidate.index > 1:
            return
        struck.add(candidate.index)
        worker = training.worker(training.run.worker_log(candidate, 0))
        if candidate.index == 0:
            worker.kill()
        else:
            [reward_process] = worker.children()
            reward_process.kill()

    evaluations = training(candidates(GOOD, GOOD, GOOD, UNUSABLE), mishap)
    found = {index: evaluation.status for index, evaluation in evaluations.items()}
    assert found == {
        0: Status.CRASHED,
        1: Status.CRASHED,
        2: Status.OK,
        3: Status.CRASHED,
    }
    faults = {index: evaluation.fault for index, evaluation in evaluations.items()}
    assert faults[0] is not None
    assert faults[0].reason == "worker"
    assert "killed by SIGKILL" in faults[0].message
    assert faults[1] is not None
    assert faults[1].reason == "died"
    assert evaluations[2].fitness is not None
    assert evaluations[2].timesteps == 200
    assert faults[3] is not None
    assert faults[3].reason not in ("worker", "died")


def test_a_training_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    settings = point_settings("training.timeout_s=8", timesteps=100_000)
    evaluation = Training(tmp_path, settings)(candidates(GOOD))[0]
    assert evaluation.status is Status.TIMEOUT
    assert evaluation.fault is not None
    assert evaluation.fault.reason == "training_timeout"
    assert "stopped after 8 s" in evaluation.fault.message
    assert evaluation.fitness is None


def test_a_wrong_algorithm_is_found_before_anything_is_written(tmp_path: Path) -> None:
    settings = point_settings("training.algorithm=SCA")
    with pytest.raises(ConfigurationError, match="training.algorithm is 'SCA'.*, SAC, ") as caught:
        StableBaselines3.check(settings, LocalExecutor(1, ENVIRONMENT))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_wrong_arguments_are_found_too() -> None:
    settings = point_settings("+training.kwargs.gama=0.9")
    with pytest.raises(ConfigurationError, match="cannot be built .*gama"):
        StableBaselines3.check(settings, LocalExecutor(1, ENVIRONMENT))
