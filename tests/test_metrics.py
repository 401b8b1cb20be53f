"""The event file of a run: what somebody outside can follow."""

from __future__ import annotations

from pathlib import Path

from rewardsmith.metrics import Metrics, read_metrics
from rewardsmith.results import RunDirectory
from rewardsmith.settings import SandboxSettings
from rewardsmith.tasks.task import Task
from tests.test_loop import Run


def test_events_tell_the_whole_run_and_a_torn_line_is_passed_over(
    tmp_path: Path, point_task: Task, sandbox: SandboxSettings
) -> None:
    directory = RunDirectory(tmp_path)
    Run(tmp_path, point_task, sandbox, listener=Metrics(directory))
    text = directory.metrics_file.read_text() + '{"event": "evalu'
    events = read_metrics(text.splitlines())
    assert [event["event"] for event in events[:5]] == ["iteration", *["written"] * 4]
    assert events[0]["candidates"] == 4
    assert all(event["fault"] is None for event in events[1:5])
    told = [event for event in events if event["event"] == "evaluated"]
    assert {event["candidate"] for event in told} == {"1/0", "1/1", "1/2", "1/3"}
    assert all(0 <= event["fitness"]["mean"] <= 1 for event in told)
    kinds = [event["event"] for event in events]
    assert kinds.index("race") < kinds.index("best") < kinds.index("retraining")
    assert events[-1]["event"] == "finished"
    assert events[-1]["best"] == "1/0"
