"""Weights & Biases offline and trackio local: what arrives, and that nothing can fail a run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rewardsmith.errors import ConfigurationError
from rewardsmith.llm.types import Usage
from rewardsmith.settings import TrackingSettings
from rewardsmith.summary import Result
from rewardsmith.tracking import base, trackio, wandb
from rewardsmith.tracking.base import Tracker
from rewardsmith.tracking.curves import SuccessCurves
from rewardsmith.types import Candidate, RewardFunction, Trial
from tests.runs import ROOT, environment, generate
from tests.search.made_up import evaluated

MADE_UP = """
import sys
from pathlib import Path
from rewardsmith.cli import take_environment
from rewardsmith.results import RunDirectory
from rewardsmith.tracking.base import check_tracking, trackers
from rewardsmith.metrics import Listeners
from tests.conftest import load_settings, load_task
from tests.test_loop import Run

def main():
    root = Path(sys.argv[1])
    environment = take_environment(Path.cwd())
    overrides = ["env=point", *sys.argv[2:]]
    settings = load_settings(*overrides, "experiment.seeds=3")
    check_tracking(settings.tracking, environment)
    run = RunDirectory(root)
    run.update_record(started="2026-11-27T12:00:00+0000")
    with trackers(settings, run, environment, print) as others:
        Run(root, load_task("env=point"), settings.sandbox, listener=Listeners(*others))
        run.best_video.write_bytes(b"not really a video")
    import os
    assert "WANDB_API_KEY" not in os.environ

main()
"""


def made_up(folder: Path, *overrides: str, **variables: str) -> Path:
    """A run with a backend that makes up its results, in a process of its own."""
    root = folder / "results" / "point"
    root.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", MADE_UP, str(root), "sandbox.allow_weaker=true", *overrides],
        cwd=folder,
        env=environment(PYTHONPATH=str(ROOT), HOME=str(folder), **variables),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "has stopped" not in done.stdout, done.stdout
    return root


@pytest.mark.slow
def test_weights_and_biases_gets_the_run_offline_and_never_writes_the_key(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    key = "local-" + "0123456789abcdef" * 3
    root = made_up(tmp_path, "tracking=wandb", "tracking.mode=offline", WANDB_API_KEY=key)
    [folder] = root.glob("tracking/wandb/offline-run-*")
    [record] = folder.glob("*.wandb")
    text = record.read_bytes()
    for tag in (b"success/1/0", b"own_return/1/3", b"fitness/2", b"best/mean", b"cost/usd"):
        assert tag in text
    assert b"Move the point to the goal" in text, "the configuration"
    assert b"paths" not in text, "no folder of this machine"
    [page] = folder.glob("files/media/html/**/*.html")
    assert "def compute_reward" in page.read_text()
    [table] = folder.glob("files/media/table/**/*.json")
    assert json.loads(table.read_text())["data"][0][0].startswith("winner, best of iteration 1")
    assert list(folder.glob("files/media/videos/**/*.mp4"))
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or key.encode() not in file.read_bytes(), file


READ_TRACKIO = """
import json, sys
import trackio
api = trackio.Api()
[run] = api.runs("rewardsmith")
print(json.dumps([run.name, run.config, trackio.sqlite_storage.SQLiteStorage.get_logs(
    "rewardsmith", run.name)], default=str))
"""


@pytest.mark.slow
def test_trackio_gets_the_run_into_its_own_folder(tmp_path: Path) -> None:
    pytest.importorskip("trackio")
    place = {"TRACKIO_DIR": str(tmp_path / "trackio"), "HF_HUB_OFFLINE": "1"}
    made_up(tmp_path, "tracking=trackio", **place)
    made_up(tmp_path, "tracking=trackio", **place)  # the run goes on: no second one there
    done = subprocess.run(
        [sys.executable, "-c", READ_TRACKIO],
        env=environment(HOME=str(tmp_path), **place),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    name, config, logs = json.loads(done.stdout.splitlines()[-1])
    assert name.startswith("point-")
    assert config["env"]["name"] == "point"
    assert "paths" not in config
    seen = {key: value for entry in logs for key, value in entry.items()}
    curve = [(entry["step"], entry["success/1/0"]) for entry in logs if "success/1/0" in entry]
    assert curve[0] == (100, 0.5)
    assert seen["fitness/0"] == pytest.approx(25 / 30)
    assert seen["best/mean"] == pytest.approx(25 / 30)
    assert seen["result/winner"] == "1/0"
    assert "def compute_reward" in str(seen["winner/reward"])
    assert "winner, best of iteration 1" in str(seen["headline"])
    assert "winner/video" in seen


@pytest.mark.parametrize(
    ("kind", "package"),
    [(wandb.WeightsAndBiases, "wandb"), (trackio.Trackio, "trackio")],
)
def test_a_missing_package_is_one_sentence(
    kind: Any, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules[kind.__module__]
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=rf"needs the package {package}: pip install"):
        kind.check(TrackingSettings(), {})


def test_a_key_is_needed_online_and_found_where_it_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb, "find_spec", lambda name: object())
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    check = wandb.WeightsAndBiases.check
    with pytest.raises(ConfigurationError, match=r"set WANDB_API_KEY .*tracking\.mode=offline"):
        check(TrackingSettings(), {})
    check(TrackingSettings(), {"WANDB_MODE": "offline"})
    check(TrackingSettings(mode="offline"), {"WANDB_MODE": "online"})
    check(TrackingSettings(), {"WANDB_API_KEY": "x" * 40})
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password secret\n")
    check(TrackingSettings(), {})


def test_nothing_is_spent_where_the_tracker_cannot_be_used(tmp_path: Path) -> None:
    result = generate(tmp_path, "env=point", "tracking=wandb", HOME=str(tmp_path), WANDB_MODE="")
    assert result.returncode == 2, result.stdout
    assert len(result.stderr.strip().splitlines()) == 1
    assert "tracking=wandb needs" in result.stderr
    assert list(tmp_path.iterdir()) == []


class Failing:
    """A sink that fails at the second thing it is told."""

    name = "failing"

    def __init__(self) -> None:
        self.told = 0

    def __getattr__(self, name: str) -> Callable[..., None]:
        def method(*arguments: Any) -> None:
            self.told += 1
            if self.told > 1:
                raise ConnectionError("no network for key-0123456789\nmore")

        return method


def test_a_tracker_that_fails_is_silenced_with_one_line_without_keys(tmp_path: Path) -> None:
    said: list[str] = []
    sink = Failing()
    secrets = frozenset({"key-0123456789"})
    tracker = Tracker(lambda: sink, "failing", 1, said.append, secrets)  # type: ignore[arg-type, return-value]
    trial = Trial(Candidate(1, 0, RewardFunction("x")), evaluated(10, 12))
    for number in (1, 2, 3):
        tracker.iteration_started(number, 3, 1)
        tracker.evaluated(trial, Usage())
        tracker.iteration_finished(number, trial)
    tracker.finished(Result((trial,), trial, (), None, Usage(), 1.0, 1))
    tracker.close(tmp_path / "none.mp4")
    assert sink.told == 2
    assert said == [
        "tracking with failing has stopped (ConnectionError: no network for ***); the run goes on"
    ]


def test_a_tracker_that_does_not_start_is_as_good_as_none() -> None:
    said: list[str] = []

    def start() -> base.Sink:
        raise TimeoutError("nobody there")

    tracker = Tracker(start, "slow", 1, said.append)
    tracker.iteration_started(1, 1, 1)
    tracker.iteration_finished(1, None)
    assert said == ["tracking with slow has stopped (TimeoutError: nobody there); the run goes on"]


def test_a_curve_is_the_mean_of_all_trainings_once_all_have_looked() -> None:
    curves = SuccessCurves(2)
    look = {"timesteps": 100, "success": 0.25, "own_return": 2.0}
    assert curves.add("1/0", look) is None
    assert curves.add("1/0", {**look, "success": 0.75, "own_return": 4.0}) == (
        100,
        {"success/1/0": 0.5, "own_return/1/0": 3.0},
    )
    again = evaluated(10, 12, early=0.5)
    assert curves.rest("1/0", again) == [], "told already"
    assert curves.rest("1/1", again) == [(100, {"success/1/1": 0.5, "own_return/1/1": 50.0})]
    assert curves.add("1/2", {**look, "success": None}) is None
    assert curves.add("1/2", {**look, "success": None}) == (100, {"own_return/1/2": 2.0})
