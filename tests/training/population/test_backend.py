"""The controller's side: what is refused, what is kept, and what a mishap costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from rewardsmith.errors import ConfigurationError, ResultsError, WorkerError
from rewardsmith.evaluation import RANKING_SEEDS, TEST_SEEDS
from rewardsmith.execution import Done, Job, LocalExecutor, Outcome, Progress
from rewardsmith.settings import Settings
from rewardsmith.training.base import FINAL_TRAININGS
from rewardsmith.training.population.backend import Population
from rewardsmith.types import Candidate, Evaluation, Status
from tests.training.conftest import ENVIRONMENT, GOOD, Training, candidates
from tests.training.population.conftest import BAD, population_settings


class Recorder(LocalExecutor):
    """Runs nothing; notes what it was asked to, and says that it died."""

    def __init__(self, *errors: WorkerError) -> None:
        super().__init__(2, ENVIRONMENT)
        self.errors = list(errors)
        self.payloads: list[dict[str, Any]] = []

    def run(
        self,
        jobs: Sequence[Job],
        on_progress: Progress = lambda name, data: None,
        on_done: Done = lambda name, outcome: None,
    ) -> dict[str, Outcome]:
        outcomes = {}
        for job in jobs:
            self.payloads.append(job.payload)
            error = self.errors.pop(0) if self.errors else WorkerError("nothing runs here", "trace")
            outcomes[job.name] = Outcome(error=error)
            on_done(job.name, outcomes[job.name])
        return outcomes


def small(*overrides: str) -> Settings:
    return population_settings(
        "env.tuned.learning_starts=60",
        "training.total_timesteps=300",
        "training.checkpoints=2",
        "experiment.candidates=3",
        "experiment.seeds=1",
        "experiment.evaluation_episodes=5",
        *overrides,
    )


def recorded(folder: Path, *errors: WorkerError, overrides: tuple[str, ...] = ()) -> Training:
    training = Training(folder, small(*overrides))
    training.executor = Recorder(*errors)
    return training


def payloads(training: Training) -> list[dict[str, Any]]:
    assert isinstance(training.executor, Recorder)
    return training.executor.payloads


# -- what is refused ------------------------------------------------------------------------------


class Picture(gymnasium.Env):
    """Continuous actions, but images to look at."""

    observation_space = gymnasium.spaces.Box(0, 255, (8, 8, 3), dtype=np.uint8)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))


class Endless(gymnasium.Env):
    """Numbers to look at, but actions without bounds."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,))
    action_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,))


@pytest.mark.parametrize(
    ("env_id", "sentence"),
    [
        ("CartPole-v1", r"needs continuous, bounded actions, but CartPole-v1 has Discrete\(2\)"),
        ("FrozenLake-v1", "needs continuous, bounded actions, but FrozenLake-v1 has"),
        ("Endless-v0", "needs continuous, bounded actions, but Endless-v0 has Box"),
        ("Picture-v1", "needs observations that are vectors of numbers, but Picture-v1 has Box"),
    ],
)
def test_what_does_not_suit_is_refused_in_one_sentence(env_id: str, sentence: str) -> None:
    for made in (Picture, Endless):
        name = f"{made.__name__}-v{1 if made is Picture else 0}"
        if name not in gymnasium.registry:
            gymnasium.register(id=name, entry_point=made)
    settings = population_settings("env=gym", f"env.id={env_id}", "env.description=-")
    executor = Recorder()
    with pytest.raises(ConfigurationError, match=sentence) as error:
        Population.check(settings, executor)
    assert "training=sb3" in str(error.value)
    assert "\n" not in str(error.value)
    assert executor.payloads == []


def test_a_device_that_is_not_there_is_refused_in_one_sentence() -> None:
    import jax

    if jax.default_backend() == "gpu":
        pytest.skip("there is one")
    settings = population_settings("training.device=gpu")
    with pytest.raises(ConfigurationError, match="training.device is 'gpu', .*=auto") as error:
        Population.check(settings, LocalExecutor(1, ENVIRONMENT))
    assert "\n" not in str(error.value)


def test_what_suits_passes() -> None:
    Population.check(population_settings(), LocalExecutor(1, ENVIRONMENT))


# -- what a worker is given -----------------------------------------------------------------------


def test_candidates_of_an_iteration_are_trained_together(tmp_path: Path) -> None:
    training = recorded(tmp_path, overrides=("experiment.seeds=2", "experiment.seed=7"))
    training(candidates(GOOD, BAD))
    [payload] = payloads(training)
    assert [reward["source"] for reward in payload["rewards"]] == [GOOD, BAD]
    assert payload["slots"] == 3
    assert payload["seeds"] == [7_000, 7_001]
    assert payload["first_seed"] == RANKING_SEEDS + 7_000
    assert payload["episodes"] == 5
    files = [name for reward in payload["rewards"] for name in reward["model_files"]]
    assert len(set(files)) == 4


@pytest.mark.parametrize(("keep", "found"), [("true", [1, 2]), ("false", [])])
def test_experience_of_earlier_iterations_is_passed_on(
    keep: str, found: list[int], tmp_path: Path
) -> None:
    training = recorded(tmp_path, overrides=(f"training.keep_experience={keep}",))
    for number in (1, 2, 3, 4):
        file = training.run.experience_file(number)
        file.parent.mkdir(parents=True)
        np.savez(file)
    training(candidates(GOOD, iteration=3))
    [payload] = payloads(training)
    expected = [training.run.experience_file(number) for number in found]
    assert payload["earlier"] == expected
    assert payload["experience"] == training.run.experience_file(3)


def test_fresh_trainings_share_nothing_with_the_search(tmp_path: Path) -> None:
    training = recorded(tmp_path, overrides=("experiment.final_seeds=3",))
    training.run.experience_file(1).parent.mkdir(parents=True)
    np.savez(training.run.experience_file(1))
    [candidate] = candidates(GOOD, iteration=2)
    training.again(candidate)
    [payload] = payloads(training)
    assert payload["earlier"] == []
    assert payload["experience"] is None
    assert payload["training"]["share_experience"] is False
    assert payload["seeds"] == [FINAL_TRAININGS, FINAL_TRAININGS + 1, FINAL_TRAININGS + 2]
    assert payload["first_seed"] == TEST_SEEDS
    assert payload["stream"] == [0, FINAL_TRAININGS], "no iteration has it"


def test_further_trainings_meet_on_equal_terms_and_keep_no_experience(tmp_path: Path) -> None:
    training = recorded(tmp_path)
    training.run.experience_file(1).parent.mkdir(parents=True)
    np.savez(training.run.experience_file(1))
    [early], [_, late] = candidates(GOOD), candidates(GOOD, BAD, iteration=2)
    training.backend.train(2, [early, late], range(3, 5), training.note, lambda *_: None)
    [payload] = payloads(training)
    assert payload["seeds"] == [3, 4]
    assert payload["earlier"] == [training.run.experience_file(1)], "as iteration 2 had"
    assert payload["experience"] is None
    assert payload["stream"] == [2, 3]
    assert payload["slots"] == 2


def test_a_shard_has_its_own_job_stream_and_experience(tmp_path: Path) -> None:
    overrides = ("experiment.candidates=5", "training.shard=2")
    training = recorded(tmp_path, overrides=overrides)
    training(candidates(GOOD, BAD, GOOD, BAD, GOOD))
    first, second, third = payloads(training)
    assert [len(payload["rewards"]) for payload in (first, second, third)] == [2, 2, 1]
    assert {payload["slots"] for payload in (first, second, third)} == {2}, "one shape to compile"
    assert [first["stream"], second["stream"]] == [[1, 0, 0], [1, 0, 1]]
    assert len({first["experience"], second["experience"], third["experience"]}) == 3


def test_a_candidate_stays_in_its_shard_whatever_else_is_finished(tmp_path: Path) -> None:
    overrides = ("experiment.candidates=5", "training.shard=2")
    training = recorded(tmp_path, overrides=overrides)
    training(candidates(GOOD, BAD, GOOD, BAD, GOOD)[3:])
    last, rest = payloads(training)
    assert [last["stream"], rest["stream"]] == [[1, 0, 1], [1, 0, 2]]
    assert [len(last["rewards"]), len(rest["rewards"])] == [1, 1]


def test_experience_of_all_shards_is_passed_on(tmp_path: Path) -> None:
    training = recorded(tmp_path, overrides=("experiment.candidates=24", "training.shard=2"))
    run = training.run
    for shard in range(12):
        run.experience_file(1, shard).parent.mkdir(parents=True, exist_ok=True)
        np.savez(run.experience_file(1, shard))
        run.write_population(f"1_shard_{shard}", {}, {})
    training(candidates(GOOD, iteration=2))
    [payload] = payloads(training)
    assert payload["earlier"] == [run.experience_file(1, shard) for shard in range(12)]


def test_fresh_trainings_are_divided_too(tmp_path: Path) -> None:
    training = recorded(tmp_path, overrides=("training.shard=1",))
    training.again(*candidates(GOOD, BAD))
    assert [len(payload["rewards"]) for payload in payloads(training)] == [1, 1]


def test_a_baseline_keeps_its_files_apart(tmp_path: Path) -> None:
    training = recorded(tmp_path)
    [searched] = candidates(GOOD)
    baseline = replace(searched, iteration=0, origin="sparse")
    training.again(searched, baseline)
    [payload] = payloads(training)
    files = [name for reward in payload["rewards"] for name in reward["model_files"]]
    assert len(set(files)) == len(files)
    assert "baselines/sparse" in str(files[-1])


# -- what a mishap costs --------------------------------------------------------------------------


def test_a_worker_that_dies_without_a_word_is_tried_once_more(tmp_path: Path) -> None:
    killed = WorkerError("the worker was killed by SIGKILL")
    training = recorded(tmp_path, killed, killed, killed)
    evaluations = training(candidates(GOOD, BAD))
    assert len(payloads(training)) == 2
    assert {item.status for item in evaluations.values()} == {Status.CRASHED}
    fault = evaluations[1].fault
    assert fault is not None
    assert fault.reason == "worker"
    assert "killed by SIGKILL" in fault.message


def test_an_error_with_a_traceback_is_not_tried_again(tmp_path: Path) -> None:
    training = recorded(tmp_path, WorkerError("ValueError: no", "Traceback: no"))
    evaluations = training(candidates(GOOD, BAD))
    assert len(payloads(training)) == 1
    fault = evaluations[0].fault
    assert fault is not None
    assert fault.traceback == "Traceback: no"


def test_nothing_is_kept_of_a_training_that_failed(tmp_path: Path) -> None:
    training = recorded(tmp_path)
    training(candidates(GOOD))
    assert training.run.read_population("1", {}) is None
    training(candidates(GOOD))
    assert len(payloads(training)) == 2


def test_curves_of_an_attempt_that_failed_are_removed(tmp_path: Path) -> None:
    training = recorded(tmp_path)
    [one, other] = candidates(GOOD, BAD)
    for candidate in (one, other):
        folder = training.run.tensorboard_folder(candidate, 0)
        folder.mkdir(parents=True)
        (folder / "events").touch()
    final = training.run.tensorboard_folder(one, FINAL_TRAININGS)
    final.mkdir(parents=True)
    training([one])
    assert not training.run.tensorboard_folder(one, 0).exists()
    assert training.run.tensorboard_folder(other, 0).exists()
    training.again(one)
    assert not final.exists()


@pytest.mark.slow
def test_a_training_that_takes_too_long_is_given_up_for_all(tmp_path: Path) -> None:
    settings = small("training.timeout_s=4", "training.total_timesteps=1000000")
    evaluations = Training(tmp_path, settings)(candidates(GOOD, BAD))
    for evaluation in evaluations.values():
        assert evaluation.status is Status.TIMEOUT
        assert evaluation.fault is not None
        assert evaluation.fault.reason == "training_timeout"
        assert "stopped after 4 s" in evaluation.fault.message


@pytest.mark.slow
def test_a_killed_worker_costs_nothing_but_time(tmp_path: Path) -> None:
    training = Training(tmp_path, small())
    struck: list[Candidate] = []

    def mishap(candidate: Candidate) -> None:
        if not struck:
            struck.append(candidate)
            training.worker(training.run.population_log("1")).kill()

    evaluations = training(candidates(GOOD, BAD), mishap)
    assert struck
    assert {item.status for item in evaluations.values()} == {Status.OK}


# -- what is kept ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Training, dict[int, Evaluation]]:
    training = Training(tmp_path_factory.mktemp("finished"), small())
    return training, training(candidates(GOOD, BAD))


def resumed(finished: Training, settings: Settings) -> Training:
    """The same run, in a process in which nothing can be trained."""
    training = object.__new__(Training)
    training.settings, training.run, training.told = settings, finished.run, []
    training.executor = Recorder()
    return training


@pytest.mark.slow
def test_results_are_used_again(finished: tuple[Training, dict[int, Evaluation]]) -> None:
    training, evaluations = finished
    again = resumed(training, small("training.workers=1"))  # which changes nothing
    assert again(candidates(GOOD, BAD)) == evaluations
    assert again([candidates(GOOD, BAD)[1]]) == {1: evaluations[1]}
    assert payloads(again) == []
    folder = training.run.tensorboard_folder(candidates(GOOD)[0], 0)
    assert list(folder.iterdir())  # the curves that belong to them are still there


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "overrides"),
    [
        (lambda chosen: [replace(chosen[0], reward=chosen[1].reward), chosen[1]], ()),
        (lambda chosen: [*chosen, replace(chosen[0], index=2)], ()),
        (lambda chosen: chosen, ("training.discount=0.7",)),
        (lambda chosen: chosen, ("env.max_episode_steps=10",)),
        (lambda chosen: chosen, ("experiment.evaluation_episodes=6",)),
    ],
    ids=["another reward", "one more", "another setting", "another task", "more episodes"],
)
def test_results_of_something_else_are_not_used(
    change: Callable[[list[Candidate]], list[Candidate]],
    overrides: tuple[str, ...],
    finished: tuple[Training, dict[int, Evaluation]],
) -> None:
    again = resumed(finished[0], small(*overrides))
    evaluations = again(change(candidates(GOOD, BAD)))
    assert len(payloads(again)) == 1
    assert {item.status for item in evaluations.values()} == {Status.CRASHED}


def test_damaged_results_are_one_sentence(tmp_path: Path) -> None:
    training = recorded(tmp_path)
    file = training.run.root / "populations" / "1.json"
    file.parent.mkdir(parents=True)
    file.write_text("{half")
    with pytest.raises(ResultsError, match=r"1.json is damaged; delete it"):
        training(candidates(GOOD))
