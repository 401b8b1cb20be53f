"""``rewardsmith replay``: the same from the record, or what differs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rewardsmith.replaying import changed_versions, differences, replay_settings
from rewardsmith.results import RunDirectory
from rewardsmith.search.base import rank
from rewardsmith.settings import ExecutorSettings
from rewardsmith.summary import final_trials
from rewardsmith.tasks.task import Task
from tests.runs import ROOT, SMALL, environment, generate, summary
from tests.test_loop import Run


def replay(folder: Path, run: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rewardsmith", "replay", str(run)],
        cwd=folder,
        env=environment(PYTHONPATH=str(ROOT), COLUMNS="150"),
        capture_output=True,
        text=True,
        timeout=300,
    )


def change(file: Path, edit: Any) -> None:
    values = json.loads(file.read_text())
    edit(values)
    file.write_text(json.dumps(values))


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory, point_task: Task, sandbox: Any) -> Run:
    return Run(tmp_path_factory.mktemp("made_up"), point_task, sandbox)


def test_the_ranking_is_read_with_what_the_races_found(made_up: Run) -> None:
    found = [trial.candidate.label for trial in rank(final_trials(made_up.directory))]
    assert found == [trial.candidate.label for trial in rank(made_up.result.trials)]
    assert found[0] == "1/0", "before the race it was 1/1"


def test_equal_runs_have_no_differences_and_a_changed_number_is_one(
    made_up: Run, tmp_path: Path
) -> None:
    copy = RunDirectory(tmp_path / "copy")
    shutil.copytree(made_up.directory.root, copy.root)
    assert differences(made_up.directory, copy) == []

    def edit(trial: dict[str, Any]) -> None:
        trial["evaluation"]["fitness"]["mean"] += 1e-4

    change(copy.root / "iteration_1" / "candidate_3.json", edit)
    [found] = differences(made_up.directory, copy)
    assert found.what == "1/3"
    assert found.recorded != found.replayed


def test_other_versions_are_named(tmp_path: Path) -> None:
    before, after = RunDirectory(tmp_path / "a"), RunDirectory(tmp_path / "b")
    before.update_record(python="3.11.7", versions={"jax": "0.6.0", "mujoco": "3.10.0"})
    after.update_record(python="3.11.7", versions={"jax": "0.10.2", "mujoco": "3.10.0"})
    assert changed_versions(before, after) == ["jax 0.6.0 → 0.10.2"]


def test_a_masked_secret_is_not_asked_for_again(made_up: Run, tmp_path: Path) -> None:
    from rewardsmith.config import to_yaml

    settings = made_up.loop.settings
    llm = settings.llm.model_copy(update={"parameters": {"extra_headers": {"X": "secret-12345"}}})
    run = RunDirectory(tmp_path)
    ray = ExecutorSettings(_target_="rewardsmith.execution.ray.RayExecutor")
    run.write_config(to_yaml(settings.model_copy(update={"llm": llm, "executor": ray})))
    run.write_summary({})
    replayed = replay_settings(run)
    assert replayed.executor == ExecutorSettings(), "wherever the run was, a replay is here"
    assert replayed.llm.provider == "replay"
    assert replayed.llm.replay == str(tmp_path)
    assert replayed.env == settings.env


def test_what_cannot_be_replayed_is_one_sentence(tmp_path: Path) -> None:
    for text, prepare in (("there is no run", None), ("is not finished", "config.yaml")):
        if prepare:
            (tmp_path / prepare).touch()
        result = replay(tmp_path, tmp_path)
        assert result.returncode == 2
        assert text in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


@pytest.mark.slow
def test_a_run_replays_to_the_same_and_a_changed_record_is_found_out(tmp_path: Path) -> None:
    made = generate(
        tmp_path, "env=point", *SMALL, "experiment.candidates=2", "experiment.iterations=1"
    )
    assert made.returncode == 0, made.stderr
    # prolonged: how many iterations were planned, and what was changed, must count
    run = tmp_path / "results" / "point"
    longer = generate(tmp_path, f"experiment.resume={run}", "experiment.iterations=2")
    assert longer.returncode == 0, longer.stderr
    files = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}

    same = replay(tmp_path, run)
    assert same.returncode == 0, same.stdout + same.stderr
    assert "The same: " in same.stdout
    assert "recorded replies" in same.stdout
    other = tmp_path / "results" / "point-2"
    assert summary(other)["candidates"] == 4
    assert summary(other)["usage"]["usd"] == 0
    assert {file: file.read_bytes() for file in files} == files, "the original was touched"

    best = summary(run)["best"]["candidate"]
    number, _, index = best.partition("/")

    def lower(fitness: dict[str, Any]) -> None:
        fitness.update(mean=-0.5, low=-0.6, high=-0.4)

    for race in run.glob("iteration_*/race_*.json"):
        race.unlink()
    trial = run / f"iteration_{number}" / f"candidate_{index}.json"
    change(trial, lambda values: lower(values["evaluation"]["fitness"]))
    change(run / "summary.json", lambda values: lower(values["best"]["fitness"]))
    different = replay(tmp_path, run)
    assert different.returncode == 1, different.stderr
    assert "The ranking is different." in different.stdout
    assert "-0.5 [-0.6, -0.4]" in different.stdout
    assert "The versions are those of the record" in different.stdout
    assert (tmp_path / "results" / "point-3").is_dir()
