"""What every backend promises; a file in ``cfg/training`` is all it takes to be tested here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter

from rewardsmith.training.base import FINAL_TRAININGS
from rewardsmith.types import Checkpoint, Episodes, Evaluation, Status
from tests.conftest import CFG, load_settings
from tests.training.conftest import GOOD, UNUSABLE, Training, candidates

pytestmark = pytest.mark.slow

BACKENDS = sorted(file.stem for file in (CFG / "training").glob("*.yaml"))
GOOD_ONE, UNUSABLE_ONE = candidates(GOOD, UNUSABLE)


class Contract:
    """One backend's way with a good and an unusable reward, two trainings each."""

    def __init__(self, folder: Path, backend: str) -> None:
        settings = load_settings(
            "env=point",
            f"training={backend}",
            "env.tuned.learning_starts=60",
            "training.total_timesteps=200",
            "training.checkpoints=2",
            "training.checkpoint_episodes=2",
            "sandbox.allow_weaker=true",
            "experiment.candidates=2",
            "experiment.seeds=2",
            "experiment.final_seeds=2",
            "experiment.evaluation_episodes=5",
            "experiment.test_episodes=6",
        )
        self.training = Training(folder, settings)
        self.training.backend.check(settings, self.training.executor)
        self.evaluations = self.training([GOOD_ONE, UNUSABLE_ONE])
        self.told = list(self.training.told)
        [self.final] = self.training.again(GOOD_ONE)
        self.played = self.training.backend.test(GOOD_ONE, 1)


@pytest.fixture(scope="module", params=BACKENDS)
def contract(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Contract:
    return Contract(tmp_path_factory.mktemp(request.param), request.param)


def check_evaluation(evaluation: Evaluation, episodes: int) -> None:
    assert evaluation.status is Status.OK
    assert evaluation.fault is None
    assert evaluation.fitness is not None
    assert (evaluation.fitness.kind, evaluation.fitness.seeds) == ("success", 2)
    assert evaluation.fitness.episodes == 2 * episodes
    assert evaluation.fitness.low <= evaluation.fitness.mean <= evaluation.fitness.high
    assert evaluation.fitness.episode_length == 20
    assert evaluation.fitness.mean == pytest.approx(np.mean(evaluation.scores))
    assert len(evaluation.scores) == len(evaluation.curves) == 2
    assert evaluation.seconds > 0
    assert evaluation.timesteps >= 200
    assert evaluation.collected >= 100  # its share, where two train together
    for curve in evaluation.curves:
        steps = [point.timesteps for point in curve]
        assert len(steps) == 2
        assert steps == sorted(set(steps))
        for point in curve:
            assert point.success is not None
            assert set(point.components) == {"progress", "near"}
            assert np.isfinite([point.own_return, *point.learner.values()]).all()


def test_a_good_candidate_is_trained_and_measured(contract: Contract) -> None:
    check_evaluation(contract.evaluations[0], episodes=5)


def test_a_bad_candidate_says_why(contract: Contract) -> None:
    evaluation = contract.evaluations[1]
    assert evaluation.status is Status.CRASHED
    assert evaluation.fault is not None
    assert evaluation.fault.message
    assert evaluation.fitness is None
    assert evaluation.scores == ()


def test_progress_and_checkpoints_are_told(contract: Contract) -> None:
    own = [data for label, data in contract.told if label == GOOD_ONE.label]
    assert all(data["timesteps"] > 0 for data in own)
    curve = TypeAdapter(tuple[Checkpoint, ...])
    for training, points in enumerate(contract.evaluations[0].curves):
        told = [
            data["checkpoint"]
            for data in own
            if "checkpoint" in data and data["training"] == training
        ]
        assert curve.validate_python(told) == points


def test_files_are_where_they_belong(contract: Contract) -> None:
    run = contract.training.run
    for training in (0, 1, FINAL_TRAININGS, FINAL_TRAININGS + 1):
        assert run.model_file(GOOD_ONE, training).is_file()
        assert len(list(run.tensorboard_folder(GOOD_ONE, training).iterdir())) == 1
    assert not run.model_file(UNUSABLE_ONE).exists()


def test_the_winner_is_trained_from_scratch(contract: Contract) -> None:
    check_evaluation(contract.final, episodes=6)
    assert contract.final.curves[0] not in contract.evaluations[0].curves


def test_a_saved_policy_plays_the_test_episodes(contract: Contract) -> None:
    played = Episodes(**contract.played)
    assert len(played.successes) == len(played.returns) == len(played.lengths) == 6
