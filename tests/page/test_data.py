"""What the page knows of a run, whatever state it is in."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from rewardsmith.metrics import Metrics
from rewardsmith.page import budget, crowd
from rewardsmith.page.comparison import compare
from rewardsmith.page.data import collect
from rewardsmith.page.follow import Follower
from rewardsmith.page.render import inlined
from rewardsmith.results import RunDirectory
from rewardsmith.settings import SandboxSettings
from rewardsmith.summary import final_trials
from rewardsmith.tasks.task import Task
from rewardsmith.types import Trial
from tests.page import made_up
from tests.test_loop import Run


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return collect(made_up.finished(tmp_path_factory.mktemp("runs") / "point"))


def row(data: dict[str, Any], label: str) -> dict[str, Any]:
    return next(item for item in data["candidates"] if item["label"] == label)


def test_a_finished_run_says_what_came_out(data: dict[str, Any]) -> None:
    assert data["title"] == "point"
    assert data["state"]["name"] == "finished"
    assert data["iteration"] == {"number": 3, "of": 3}
    assert data["best"] == "3/0"
    assert data["first_best"] == "1/0"
    assert data["sentence"] == (
        "The best reward is 3/0: trained from scratch on 5 fresh seeds, it solves 99% [93%, 100%] "
        "of 75 test episodes that nothing was selected by. It is better than the sparse reward and "
        "the human reward."
    )
    assert [item["candidate"] for item in data["headline"]] == ["3/0", "1/0", "sparse", "human"]
    assert all(item["curves"]["timesteps"][-1] == 600 for item in data["headline"])
    assert any("15 episodes" in note or "20 episodes" in note for note in data["notes"])


def test_candidates_have_all_that_is_known_of_them(data: dict[str, Any]) -> None:
    best = row(data, "3/0")
    assert best["parents"] == ["2/0"]
    assert best["diff"]["parent"] == "2/0"
    changed = [line for line in best["diff"]["lines"] if line[0] in "+-"]
    assert [line[:15] for line in changed] == ["-    near = 3.0", "+    near = 4.0"]
    assert "".join(best["code"][1::2]).startswith("def compute_reward(state")
    assert best["code"][:2] == ["k", "def"]
    assert best["curves"]["success"][-1] == pytest.approx(44 / 45, abs=1e-3)
    assert len(best["curves"]["seeds"]) == 3
    assert best["curves"]["low"][-1] < best["curves"]["success"][-1] <= best["curves"]["high"][-1]
    assert [message["role"] for message in best["prompt"]] == ["system", "user"]
    assert best["reply"].startswith("A thought.")
    hacked = row(data, "1/1")
    assert "return without success" in [alarm["name"] for alarm in hacked["alarms"]]
    rejected = row(data, "1/2")
    assert (rejected["status"], rejected["attempts"]) == ("rejected", 3)
    assert (rejected["fault"]["reason"], rejected["fault"]["line"]) == ("while_loop", 4)
    assert row(data, "2/2")["fault"]["traceback"].startswith("Traceback")


def test_the_live_page_gets_no_texts_and_no_video(tmp_path: Path) -> None:
    run = made_up.finished(tmp_path / "point")
    data = collect(run, full=False)
    assert data["video"] is None
    assert data["texts"] == {}
    assert all(item["prompt"] is None and item["reply"] is None for item in data["candidates"])
    assert row(data, "3/0")["code"]


def test_a_run_of_before_needs_no_events(tmp_path: Path, data: dict[str, Any]) -> None:
    run = made_up.finished(tmp_path / "point", metrics=False)
    assert not run.metrics_file.exists()
    old = collect(run)
    assert old["state"]["name"] == "finished"
    for key in ("sentence", "headline", "candidates", "best"):
        assert old[key] == data[key]


def test_a_run_that_goes_on_shows_candidates_on_their_way(tmp_path: Path) -> None:
    data = collect(made_up.running(tmp_path / "point"), full=False)
    assert data["state"]["name"] == "running"
    assert data["state"]["text"] == "The run is going on: training."
    assert data["iteration"] == {"number": 2, "of": 3}
    assert data["best"] == "1/0"
    assert data["headline"] == []
    training = row(data, "2/0")
    assert (training["status"], training["parents"]) == ("training", ["1/0"])
    assert training["progress"] == pytest.approx(300 / 1500)
    assert training["curves"]["success"] == [0.0, 0.25, 0.5]
    assert training["code"] and training["diff"]
    assert row(data, "2/1")["status"] == "waiting"
    assert row(data, "2/2")["status"] == "rejected"
    assert row(data, "2/3")["status"] == "asked for"
    assert data["cost"]["usage"]["completion_tokens"] == 200


def test_a_run_that_is_silent_for_long_says_since_when(tmp_path: Path) -> None:
    run = made_up.running(tmp_path / "point")
    lines = [json.loads(line) for line in run.metrics_file.read_text().splitlines()]
    before = time.time() - 3600
    run.metrics_file.write_text(
        "".join(json.dumps({**line, "time": before}) + "\n" for line in lines)
    )
    text = collect(run)["state"]["text"]
    assert text.startswith("The run is not finished, and nothing has been heard of it since ")


def test_a_run_that_failed_says_why(tmp_path: Path) -> None:
    data = collect(made_up.stopped(tmp_path / "point"))
    assert data["state"]["name"] == "stopped"
    assert data["state"]["text"].endswith("The key in OPENAI_API_KEY is not accepted.")
    assert data["candidates"] == []
    assert data["sentence"].startswith("No reward was found")


def test_a_run_without_result_that_nobody_works_on_is_not_running(tmp_path: Path) -> None:
    run = made_up.begun(tmp_path / "point")
    for file in (run.log_file, run.record_file, run.config_file):
        os.utime(file, (0, 0))
    assert collect(run)["state"]["name"] == "unfinished"


def test_a_resumed_run_is_running_although_its_first_part_was_finished(tmp_path: Path) -> None:
    run = made_up.finished(tmp_path / "point")
    Metrics(run).iteration_started(4, 4, 3)
    data = collect(run)
    assert data["state"]["name"] == "running"
    assert data["iteration"] == {"number": 4, "of": 4}
    assert [item["label"] for item in data["candidates"]][-3:] == ["4/0", "4/1", "4/2"]


def test_a_task_without_success_reads_right(tmp_path: Path) -> None:
    data = collect(made_up.finished(tmp_path / "point", "return"))
    assert data["kind"] == "return"
    assert "it reaches a mean return of 155.0 [" in data["sentence"]
    assert set(row(data, "3/0")["curves"]["success"]) == {None}
    assert any("reports no success" in note for note in data["notes"])


def test_numbers_that_no_json_holds_are_left_out(tmp_path: Path) -> None:
    run = made_up.running(tmp_path / "point")
    text = run.metrics_file.read_text().replace('"own_return": 15.0', '"own_return": NaN')
    assert "NaN" in text
    run.metrics_file.write_text(text)
    json.dumps(collect(run), allow_nan=False)


def test_a_real_search_is_shown_with_its_races(
    tmp_path: Path, point_task: Task, sandbox: SandboxSettings
) -> None:
    directory = made_up.begun(tmp_path / "point")
    done = Run(directory.root, point_task, sandbox, listener=Metrics(directory))
    assert final_trials(directory) == list(done.result.trials)
    data = collect(directory)
    assert data["state"]["name"] == "finished"
    assert data["best"] == "1/0"
    assert row(data, "1/0")["fitness"]["seeds"] == 6


def many(root: Path, number: int) -> RunDirectory:
    """A run with a large last iteration."""
    run = made_up.finished(root)
    found = made_up.all_trials()[3].evaluation
    trials = [Trial(made_up.candidate(4, index, "3/0"), found) for index in range(number)]
    made_up.write(run, trials)
    return run


def test_a_large_run_leaves_out_what_is_least_interesting_and_says_so(tmp_path: Path) -> None:
    run = many(tmp_path / "point", 12)
    data = collect(run)
    assert data["left_out"] == 0
    size = len(inlined(data))
    small = budget.fit(data, most=int(size * 0.7))
    assert len(inlined(small)) <= size * 0.72
    assert small["left_out"] > 0
    best, other = row(small, "3/0"), row(small, "4/11")
    assert best["left_out"] == []
    assert best["prompt"] and best["code"]
    assert "prompt" in other["left_out"] and other["prompt"] is None
    assert other["curves"], "curves are kept before texts"


def test_runs_side_by_side_say_what_differs(tmp_path: Path) -> None:
    first = made_up.finished(tmp_path / "a" / "point")
    second = made_up.finished(tmp_path / "b" / "point", "success", True, "experiment.repairs=0")
    found = compare([first, second], tmp_path / "comparison.html")
    assert [run["name"] for run in found["runs"]] == ["a/point", "b/point"]
    assert found["comparable"]
    assert found["differences"] == [{"key": "experiment.repairs", "values": ["2", "0"]}]
    best = found["runs"][0]["best_so_far"]
    assert best["label"] == ["1/0", "2/0", "3/0"]
    assert best["steps"] == [1000, 1500, 2000]
    assert best["mean"] == sorted(best["mean"])


def test_success_of_different_tasks_is_not_compared(tmp_path: Path) -> None:
    first = made_up.finished(tmp_path / "point")
    second = made_up.finished(tmp_path / "far", "success", True, "env.success='Somewhere else.'")
    assert not compare([first, second], tmp_path / "comparison.html")["comparable"]


def test_of_very_many_candidates_the_page_has_the_best_and_counts_the_others(
    tmp_path: Path,
) -> None:
    run = made_up.crowd(tmp_path / "point", iterations=4, each=120)
    data = collect(run)
    labels = [item["label"] for item in data["candidates"]]
    assert len(labels) == crowd.MOST_SHOWN < data["total"] == 480
    assert data["best"] == "4/3"
    assert {"4/3", "3/21", "2/27", "1/69"} <= set(labels)  # its family, however good
    assert {item["best"] for item in data["iterations"]} <= set(labels)
    trained = [trial for trial in run.read_trials() if trial.evaluation.fitness]
    good = {item.candidate.label for item in trained if item.evaluation.fitness.mean > 0.5}
    assert len(good) > 100 and good <= set(labels)
    assert [(item["candidates"], item["trained"]) for item in data["iterations"]] == [
        (120, 108)
    ] * 4
    assert data["iterations"][0]["failed"] == {"duplicate": 12}
    assert set(data["texts"]) == {"1", "2", "3", "4"}
    assert data["trained"] == 432


def test_those_on_their_way_are_on_the_page_of_a_large_run(tmp_path: Path) -> None:
    run = made_up.crowd(tmp_path / "point", iterations=3, each=120)
    metrics = Metrics(run)
    metrics.iteration_started(4, 4, 120)
    labels = [item["label"] for item in collect(run, full=False)["candidates"]]
    assert {f"4/{index}" for index in range(120)} <= set(labels)
    assert "3/3" in labels and len(labels) == crowd.MOST_SHOWN


def test_the_live_page_reads_what_is_over_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made_up.running(tmp_path / "point")
    follower, whole, read = Follower(run), RunDirectory.read_trials, []

    def reading(self: RunDirectory, iteration: int | None = None) -> list[Trial]:
        read.append(iteration)
        return whole(self, iteration)

    monkeypatch.setattr(RunDirectory, "read_trials", reading)
    assert follower()["candidates"] == follower()["candidates"]
    assert read == [1, 2, 2]
