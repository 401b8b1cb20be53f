"""What a run says while candidates are trained: little on the screen, everything in the log."""

from pathlib import Path

import pytest

from rewardsmith.console import Console
from rewardsmith.llm.types import Usage
from rewardsmith.progress import MOST_LINES, Line, progress_table
from rewardsmith.results import RunDirectory
from rewardsmith.summary import Result
from rewardsmith.types import Candidate, Evaluation, Fault, RewardFunction, Status, Trial
from tests.conftest import load_settings, load_task
from tests.search.made_up import evaluated


def point(timesteps: int, success: float, own_return: float) -> dict[str, object]:
    checkpoint = {"timesteps": timesteps, "success": success, "own_return": own_return}
    return {"timesteps": timesteps, "checkpoint": checkpoint}


def watching(tmp_path: Path, *overrides: str) -> Console:
    console = Console()
    console.open_log(tmp_path / "log.txt")
    console.watch(load_settings("env=point", *overrides), load_task("env=point"))
    return console


def test_a_look_is_kept_once_for_all_seeds_as_their_mean(tmp_path: Path) -> None:
    console = watching(tmp_path, "experiment.seeds=2")
    console.iteration_started(1, 1, 1)
    candidate = Candidate(1, 0, None)
    console.progressed(candidate, point(750, 0.0, 2.0))
    console.progressed(candidate, {"timesteps": 900})
    assert "750" not in (tmp_path / "log.txt").read_text()
    console.progressed(candidate, point(750, 1.0, 4.0))
    line = (tmp_path / "log.txt").read_text().splitlines()[-1]
    assert "1/0 750/1,500 steps" in line
    assert line.endswith("success 0.50, own return 3")


def test_without_a_terminal_a_long_training_is_not_silent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    console = watching(tmp_path)
    console.iteration_started(1, 1, 2)
    console.progressed(Candidate(1, 0, None), point(750, 0.25, 2.0))
    console.progressed(Candidate(1, 1, None), point(750, 0.5, 2.0))
    assert "750" not in capsys.readouterr().out
    monkeypatch.setattr("rewardsmith.console.SILENCE_S", -1.0)
    monkeypatch.setattr("rewardsmith.console.SILENCE_SHARE", -1.0)
    console.progressed(Candidate(1, 1, None), {"timesteps": 900})
    assert capsys.readouterr().out == "  900/1,500 steps, success 0.25 to 0.50\n"


def test_a_run_of_the_default_size_fits_on_a_screen_and_its_log_has_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    console = watching(tmp_path)
    trials: list[Trial] = []
    for number in (1, 2, 3):
        console.iteration_started(number, 3, 8)
        for index in range(8):
            candidate = Candidate(number, index, RewardFunction(f"# {number} {index}"))
            console.candidate_written(candidate)
            console.progressed(candidate, point(750, 0.5, 1.0))
            trials.append(Trial(candidate, evaluated(index, index + number, 9)))
            console.evaluated(trials[-1], Usage())
        fault = Fault(Status.REJECTED, "while_loop", "Line 3 has a while loop; write a for.")
        trials[-1] = Trial(trials[-1].candidate, Evaluation(fault.status, fault=fault))
        console.evaluated(trials[-1], Usage())
        console.iteration_finished(number, trials[-2])
    settings, task = load_settings("env=point"), load_task("env=point")
    result = Result(tuple(trials), trials[-2], (), trials[-2].evaluation.fitness, Usage(), 60.0, 99)
    console.result(result, settings, task, RunDirectory(tmp_path))
    shown, log = capsys.readouterr().out, (tmp_path / "log.txt").read_text()
    assert len(shown.splitlines()) < 40
    assert "7 of 8 trained, success 0.22 to 0.49; 1/7 rejected (while_loop)" in shown
    assert "the best 5 of 24" in shown
    assert "3/6 *" in shown
    for trial in trials:
        assert f"{trial.candidate.label} accepted" in log
        assert log.count(f"{trial.candidate.label} ") > 1


def test_where_nothing_can_be_trained_the_reason_is_on_the_screen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    console = watching(tmp_path)
    console.iteration_started(1, 1, 1)
    fault = Fault(Status.REJECTED, "while_loop", "Line 3 has a while loop; write a for.")
    console.evaluated(
        Trial(Candidate(1, 0, None, fault=fault), Evaluation(fault.status, fault=fault)), Usage()
    )
    console.iteration_finished(1, None)
    assert "1/0 Line 3 has a while loop; write a for." in capsys.readouterr().out


def test_of_hundreds_of_candidates_the_screen_tells_numbers_and_the_log_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    console = watching(tmp_path, "experiment.seeds=1")
    console.iteration_started(1, 1, 256)
    fault = Fault(Status.DUPLICATE, "static_duplicate", "It is there already.")
    trials = [
        Trial(Candidate(1, index, RewardFunction("")), evaluated(index % 15))
        for index in range(200)
    ]
    trials += [
        Trial(Candidate(1, index, None, fault=fault), Evaluation(fault.status, fault=fault))
        for index in range(200, 256)
    ]
    for trial in trials:
        console.candidate_written(trial.candidate)
        console.evaluated(trial, Usage())
    console.iteration_finished(1, trials[14])
    console.racing(trials[:100], 3)
    shown = capsys.readouterr().out.splitlines()
    assert "  200 of 256 trained, success 0.00 to 0.93; 56 duplicate" in shown
    assert any(line.startswith("  too close to tell: 1/0, 1/1,") for line in shown)
    assert any("and 92 more on 3 more seeds each" in line for line in shown)
    assert len(shown) < 10 and max(map(len, shown)) < 200
    assert "1/255 duplicate: It is there already." in (tmp_path / "log.txt").read_text()


def test_the_live_table_of_hundreds_fits_a_screen_and_shows_the_best() -> None:
    lines = {f"1/{index}": Line() for index in range(256)}
    for index, line in enumerate(lines.values()):
        line.advance(100, late=False)
        line.look({"timesteps": 100, "success": index / 256, "own_return": 1.0})
    table = progress_table(lines, "training", "nothing spent", "success", 200)
    assert table.row_count == MOST_LINES
    assert next(iter(table.columns[0].cells)) == "1/255"
    assert table.caption == "20 of 256 candidates, nothing spent"
