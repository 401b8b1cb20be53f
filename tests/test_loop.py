"""The main routine, with a backend that makes up its results and counts what it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rewardsmith.console import Console
from rewardsmith.errors import WorkerError
from rewardsmith.headline import Entrant
from rewardsmith.llm.types import Usage
from rewardsmith.loop import Loop
from rewardsmith.results import RunDirectory
from rewardsmith.search.author import Author
from rewardsmith.search.base import Draft
from rewardsmith.settings import SandboxSettings, Settings
from rewardsmith.summary import Result
from rewardsmith.tasks.task import Task, play_randomly
from rewardsmith.training.base import FINAL_TRAININGS, OnEvaluated, OnProgress, worker_fault
from rewardsmith.types import Candidate, Evaluation, Trial
from tests.conftest import load_settings
from tests.search.made_up import evaluated

SOLVED = {"1/0": 10, "1/1": 11, "1/2": 2, "1/3": 5}
"""Of 15 episodes, in every training of the first round; the race tells who is really better."""
RACED = {"1/0": 15, "1/1": 3}
CLOSE = {"2/0": 12, "2/1": 2, "2/2": 2, "2/3": 2}
"""Of a second iteration, whose best is close to the best before."""


class MadeUp:
    """A backend that trains nothing."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self.asked: list[tuple[list[str], range]] = []

    def train(
        self,
        iteration: int,
        candidates: Sequence[Candidate],
        trainings: range,
        on_progress: OnProgress,
        on_evaluated: OnEvaluated,
    ) -> None:
        self.asked.append(([item.label for item in candidates], trainings))
        table = RACED | {"2/0": 9} if trainings.start else SOLVED | CLOSE
        for candidate in candidates:
            for training in trainings:
                self._write_model(candidate, training)
            solved = [table[candidate.label]] * len(trainings)
            on_evaluated(candidate, evaluated(*solved, first=trainings.start))

    def retrain(
        self,
        candidates: Sequence[Candidate],
        settings: Settings,
        on_progress: OnProgress,
        on_evaluated: OnEvaluated,
    ) -> None:
        self.asked.append(([item.label for item in candidates], range(0)))
        for candidate in candidates:
            self._write_model(candidate, FINAL_TRAININGS)
            on_evaluated(candidate, evaluated(12, first=FINAL_TRAININGS))

    def _write_model(self, candidate: Candidate, training: int) -> None:
        file = self.run.model_file(candidate, training)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{candidate.label} {training}")


class FourDrafts:
    """A strategy that proposes the same four rewards."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def ask(self, iteration: int) -> list[Draft]:
        self.asked.append(iteration)
        source = (
            "def compute_reward(state, action, next_state):\n"
            "    part = {} * np.sum(action, axis=-1)\n"
            '    return part, {{"part": part}}\n'
        )
        weights = [index + 1.0 + 10 * iteration for index in range(4)]
        return [
            Draft(iteration, index, source.format(weight), "test")
            for index, weight in enumerate(weights)
        ]

    def tell(self, iteration: int, trials: Sequence[Trial]) -> str:
        self.told = list(trials)
        return "what happened"


class Silent:
    """A listener that notes whom a race is between."""

    def __init__(self) -> None:
        self.races: list[list[str]] = []

    def racing(self, rivals: Sequence[Trial], seeds: int) -> None:
        self.races.append([item.candidate.label for item in rivals])

    def retraining(self, entrants: Sequence[Entrant], seeds: int) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: None


class Paid:
    """A session that was never asked."""

    usage = Usage()


class Run:
    """One run over a folder; another one over the same folder goes on with it."""

    def __init__(
        self,
        folder: Path,
        task: Task,
        sandbox: SandboxSettings,
        *overrides: str,
        listener: Any = None,
    ) -> None:
        settings = load_settings(
            "env=point",
            "experiment.iterations=1",
            "experiment.candidates=4",
            "experiment.seeds=3",
            *overrides,
        )
        self.directory = RunDirectory(folder)
        self.backend, self.strategy = MadeUp(self.directory), FourDrafts()
        self.listener = listener or Silent()
        self.loop = Loop(
            settings=settings,
            task=task,
            strategy=self.strategy,
            author=Author(Paid(), task, play_randomly(task, 0), sandbox, 0),  # type: ignore[arg-type]
            backend=self.backend,  # type: ignore[arg-type]
            final_backend=self.backend,  # type: ignore[arg-type]
            baselines=[],
            run=self.directory,
            session=Paid(),  # type: ignore[arg-type]
            listener=self.listener,
            paid=Usage(),
            by="test",
        )

        self.result: Result = self.loop.search()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, point_task: Task, sandbox: Any) -> Run:
    return Run(tmp_path_factory.mktemp("run"), point_task, sandbox)


def test_the_top_that_overlaps_is_trained_on_fresh_seeds_until_it_separates(run: Run) -> None:
    first, race, result = run.backend.asked
    assert first == (["1/0", "1/1", "1/2", "1/3"], range(3))
    assert race == (["1/1", "1/0"], range(3, 6)), "half of the four, on seeds that none has had"
    assert run.listener.races == [["1/1", "1/0"]], "they are apart now: no second race"
    assert result == (["1/0"], range(0))


def test_the_race_decides(run: Run) -> None:
    best = run.result.best
    assert best is not None
    assert best.candidate.label == "1/0"
    assert best.evaluation.fitness is not None
    assert best.evaluation.fitness.seeds == 6
    assert best.evaluation.fitness.mean == pytest.approx((10 + 15) / 30)


def test_strategies_and_files_are_told_what_the_race_found(run: Run) -> None:
    told = {item.candidate.label: item.evaluation.fitness for item in run.strategy.told}
    assert [told[label].seeds for label in SOLVED] == [6, 6, 3, 3]  # type: ignore[union-attr]
    assert '"seeds": 6' in (run.directory.iteration(1) / "evaluations.json").read_text()


def test_the_winners_policy_is_that_of_its_fresh_training(run: Run) -> None:
    assert run.directory.best_model.read_text() == f"1/0 {FINAL_TRAININGS}"


def test_a_run_over_what_is_finished_trains_nothing_and_ranks_the_same(
    run: Run, point_task: Task, sandbox: SandboxSettings
) -> None:
    again = Run(run.directory.root, point_task, sandbox)
    assert again.backend.asked == []
    assert again.result.trials == run.result.trials
    assert again.result.best == run.result.best
    assert again.result.test == run.result.test


def test_a_run_that_has_raced_an_earlier_best_can_be_gone_on_with(
    tmp_path: Path, point_task: Task, sandbox: SandboxSettings
) -> None:
    first = Run(tmp_path, point_task, sandbox, "experiment.iterations=2")
    assert ["2/0", "1/0"] in [sorted(race, reverse=True) for race in first.listener.races]
    console = Console()
    console.watch(first.loop.settings, point_task)
    again = Run(tmp_path, point_task, sandbox, "experiment.iterations=2", listener=console)
    assert again.backend.asked == []
    assert again.result.trials == first.result.trials


def test_what_is_finished_is_not_asked_for_again_where_a_run_is_prolonged(
    tmp_path: Path, point_task: Task, sandbox: SandboxSettings
) -> None:
    Run(tmp_path, point_task, sandbox)
    files = {file: file.read_bytes() for file in tmp_path.glob("iteration_1/*")}
    longer = Run(tmp_path, point_task, sandbox, "experiment.iterations=2")
    assert {
        label.partition("/")[0] for labels, _ in longer.backend.asked[:1] for label in labels
    } == {"2"}
    assert longer.strategy.asked == [2]
    assert {file: file.read_bytes() for file in files} == files


def test_other_settings_for_the_result_are_trained_anew_and_nothing_is_overwritten(
    tmp_path: Path, point_task: Task, sandbox: SandboxSettings
) -> None:
    Run(tmp_path, point_task, sandbox)
    files = {file: file.read_bytes() for file in tmp_path.glob("headline/*")}
    again = Run(tmp_path, point_task, sandbox, "experiment.final_seeds=6")
    assert again.backend.asked == [(["1/0"], range(0))]
    assert len(list(tmp_path.glob("headline/*"))) == 2 * len(files)
    assert {file: file.read_bytes() for file in files} == files


@pytest.mark.parametrize("races", [0, 4])
def test_races_that_were_had_count_and_a_finished_iteration_has_no_more(
    races: int, tmp_path: Path, point_task: Task, sandbox: SandboxSettings
) -> None:
    first = Run(tmp_path, point_task, sandbox)
    again = Run(tmp_path, point_task, sandbox, f"experiment.races={races}")
    assert again.backend.asked == []
    assert again.result.trials == first.result.trials


@pytest.mark.parametrize(("traceback", "again"), [("", ["1/3"]), ("Traceback: a bug", [])])
def test_a_worker_that_was_killed_just_before_the_run_says_nothing_of_its_candidate(
    traceback: str, again: list[str], tmp_path: Path, point_task: Task, sandbox: SandboxSettings
) -> None:
    Run(tmp_path, point_task, sandbox, "experiment.races=0")
    directory = RunDirectory(tmp_path)
    trial = directory.read_trial(1, 3)
    assert trial is not None
    fault = worker_fault(WorkerError("the worker was killed by SIGKILL", traceback), False)
    directory.write_trial(replace(trial, evaluation=Evaluation(fault.status, fault=fault)))
    (tmp_path / "iteration_1" / "evaluations.json").unlink()
    resumed = Run(tmp_path, point_task, sandbox, "experiment.races=0")
    assert [labels for labels, _ in resumed.backend.asked] == ([again] if again else [])
