"""The HPARAMS tab, as TensorBoard's own server tells it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rewardsmith.results import RunDirectory
from rewardsmith.settings import SandboxSettings
from rewardsmith.tasks.task import Task
from rewardsmith.tracking.tensorboard import FITNESS, HEADLINE, HParams
from tests.conftest import load_settings
from tests.runs import environment
from tests.test_loop import Run

QUERY: dict[str, Any] = {
    "experimentName": "",
    "allowedStatuses": ["STATUS_SUCCESS", "STATUS_RUNNING", "STATUS_UNKNOWN"],
    "colParams": [],
    "startIndex": 0,
    "sliceSize": 100,
}


@contextmanager
def tensorboard(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback; give the address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder)]
        + ["--port", "0", "--host", "127.0.0.1", "--load_fast", "false"],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if " at http://" in line:
                yield line.partition(" at ")[2].split()[0].rstrip("/")
                return
        raise AssertionError("".join(said))
    finally:
        process.kill()
        process.communicate()


def ask(address: str, path: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        f"{address}/data/plugin/hparams/{path}",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


@pytest.mark.slow
def test_the_hparams_tab_lists_each_candidate_with_its_fitness(
    tmp_path: Path, point_task: Task, sandbox: SandboxSettings
) -> None:
    settings = load_settings("env=point", "experiment.strategy=[evolution,tune]")
    directory = RunDirectory(tmp_path)
    run = Run(tmp_path, point_task, sandbox, listener=HParams(directory, settings))
    Run(tmp_path, point_task, sandbox, listener=HParams(directory, settings))  # gone on with
    with tensorboard(directory.tensorboard) as address:
        end = time.monotonic() + 60  # it reads the files in the background
        groups: list[Any] = []
        while len(groups) < 4 and time.monotonic() < end:
            time.sleep(0.2)
            found = ask(address, "session_groups", QUERY)
            groups = found.get("sessionGroups", [])
        experiment = ask(address, "experiment", {"experimentName": ""})
    assert {item["displayName"] for item in experiment["metricInfos"]} == {
        "fitness",
        "from scratch",
    }
    assert {item["name"] for item in groups} == {"1/0", "1/1", "1/2", "1/3"}
    lines = {item["name"]: item for item in groups}
    for trial in run.result.trials:
        line = lines[trial.candidate.label]
        assert line["hparams"]["candidate"] == trial.candidate.index
        assert line["hparams"]["strategy"] == "evolution+tune"
        assert line["hparams"]["origin"] == "test"
        assert line["hparams"]["components"] == 1
        found = {value["name"]["tag"]: value["value"] for value in line["metricValues"]}
        assert trial.evaluation.fitness is not None
        # of all its trainings, those of the race included
        assert found[FITNESS] == pytest.approx(trial.evaluation.fitness.mean)
        assert (HEADLINE in found) == (trial.candidate.label == "1/0")


def test_a_table_that_cannot_be_written_costs_one_line(
    tmp_path: Path, point_task: Task, sandbox: SandboxSettings
) -> None:
    directory, said = RunDirectory(tmp_path), []
    directory.tensorboard.parent.mkdir(exist_ok=True)
    directory.tensorboard.write_text("no folder")
    settings = load_settings("env=point")
    run = Run(tmp_path, point_task, sandbox, listener=HParams(directory, settings, said.append))
    assert run.result.best is not None
    assert len(said) == 1
    assert "TensorBoard's table is not written" in said[0]
