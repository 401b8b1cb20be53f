"""Jobs through submitit, whose own stand-in for Slurm runs them on this machine."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from rewardsmith.errors import ConfigurationError
from rewardsmith.execution import Job
from rewardsmith.execution.slurm import SlurmExecutor, _gist
from tests.conftest import load_settings
from tests.executors import (
    Make,
    assert_an_exception_of_the_caller_stops_all_jobs,
    assert_jobs_report_answer_and_fail,
)
from tests.runs import COMPARED, evaluations, generate, summary

pytest.importorskip("submitit", reason="submitit is not installed")
LOCAL = ("executor=slurm", "slurm.cluster=local", "slurm.cores=1")


@pytest.fixture
def executor() -> SlurmExecutor:
    settings = load_settings("env=point", *LOCAL, "slurm.retries=1")
    return SlurmExecutor.connect(settings, {"PATH": os.environ["PATH"]})


@pytest.fixture
def job(tmp_path: Path) -> Make:
    def make(function: str, name: str = "job", **payload: Any) -> Job:
        log, folder = tmp_path / "run" / "logs" / f"{name}.log", tmp_path / "run"
        return Job(name, f"tests.jobs:{function}", payload, log, 60, folder)

    return make


def test_without_slurm_it_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    settings = load_settings("env=point", "executor=slurm")
    with pytest.raises(
        ConfigurationError, match="no sbatch on this machine: .*login node"
    ) as error:
        SlurmExecutor.connect(settings, {})
    assert "\n" not in str(error.value)


def test_what_submitit_complains_of_is_told_in_a_line() -> None:
    rule = "-" * 22
    failed = RuntimeError(
        f"Job (task=0) failed during processing with trace:\n{rule}\nTraceback:\n  File\n"
        f"ModuleNotFoundError: No module named 'gymnasium'\n\n{rule}\nYou can check full logs"
    )
    assert _gist(failed) == "ModuleNotFoundError: No module named 'gymnasium'"
    assert _gist(RuntimeError("Job 7 has not produced any output (state: NODE_FAIL)\nmore")) == (
        "Job 7 has not produced any output (state: NODE_FAIL)"
    )


@pytest.mark.slow
def test_jobs_report_and_answer_and_fail_as_they_do_here(
    executor: SlurmExecutor, job: Make
) -> None:
    assert_jobs_report_answer_and_fail(executor, job)


@pytest.mark.slow
def test_files_are_read_and_written_where_they_are(
    executor: SlurmExecutor, job: Make, tmp_path: Path
) -> None:
    source, target = tmp_path / "run" / "source", tmp_path / "run" / "target"
    source.parent.mkdir()
    source.write_text("shared")
    executor.run([job("copy", source=source, target=target)])
    assert target.read_text() == "SHARED"


@pytest.mark.slow
def test_no_key_reaches_a_worker(
    executor: SlurmExecutor, job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "sk-planted-0123456789")
    seen = executor.run([job("look_around")])["job"].value
    assert "PATH" in seen["variables"]
    assert "sk-planted" not in seen["environ"]


@pytest.mark.slow
def test_a_job_that_is_lost_is_handed_in_again_but_not_for_ever(
    executor: SlurmExecutor, job: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What submitit started is killed: to it, that is a node that has failed."""
    monkeypatch.setattr("submitit.local.local.LocalJob._results_timeout_s", 1)
    told: list[str] = []

    def heard(name: str, data: dict[str, Any]) -> None:
        told.append(name)
        if name == "unlucky" or told.count(name) == 1:
            kill_what_slurm_started(data["pid"])

    jobs = [job("sleep_once", "lucky", mark=str(tmp_path / "mark")), job("sleep", "unlucky")]
    outcomes = executor.run(jobs, heard)
    assert outcomes["lucky"].value == "awake"
    assert "Slurm lost it 2 times" in str(outcomes["unlucky"].error)
    assert sorted(told) == ["lucky"] * 2 + ["unlucky"] * 2


def kill_what_slurm_started(worker: int) -> None:
    for process in psutil.Process(worker).parents():
        if "submitit" in " ".join(process.cmdline()):
            process.send_signal(signal.SIGKILL)


@pytest.mark.slow
def test_an_exception_of_the_caller_stops_all_jobs(executor: SlurmExecutor, job: Make) -> None:
    assert_an_exception_of_the_caller_stops_all_jobs(executor, job)


@pytest.mark.slow
def test_a_run_ends_as_it_would_here(tmp_path: Path) -> None:
    tiny = (
        "env=point",
        "llm=builtin",
        *COMPARED,
        "~env.baselines",
        "experiment.races=0",
        "experiment.iterations=1",
        "training.shard=2",
    )
    here = generate(tmp_path, *tiny)
    assert here.returncode == 0, here.stderr
    there = generate(tmp_path, *tiny, *LOCAL, "paths.results=spread")
    assert there.returncode == 0, there.stderr
    assert "this machine, as Slurm, processors of each job: 1" in there.stdout
    one, other = tmp_path / "results" / "point", tmp_path / "spread" / "point"
    rows = [[*evaluations(run), *summary(run)["headline"]] for run in (one, other)]
    assert [{**row, "seconds": 0} for row in rows[0]] == [{**row, "seconds": 0} for row in rows[1]]
    kept = [sorted(run.glob("iteration_*/experience_*.npz")) for run in (one, other)]
    assert len(kept[0]) == 2
    assert [file.read_bytes() for file in kept[0]] == [file.read_bytes() for file in kept[1]]
