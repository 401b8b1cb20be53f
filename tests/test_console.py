"""What a run says while candidates are trained."""

import pytest

from rewardsmith.console import Console
from rewardsmith.types import Candidate
from tests.conftest import load_settings, load_task


def point(timesteps: int, success: float, own_return: float) -> dict[str, object]:
    checkpoint = {"timesteps": timesteps, "success": success, "own_return": own_return}
    return {"timesteps": timesteps, "checkpoint": checkpoint}


def test_a_look_is_told_once_for_all_seeds_as_their_mean(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console = Console()
    console.watch(load_settings("env=point", "experiment.seeds=2"), load_task("env=point"))
    console.iteration_started(1, 1, 1)
    candidate = Candidate(1, 0, None)
    capsys.readouterr()
    console.progressed(candidate, point(750, 0.0, 2.0))
    console.progressed(candidate, {"timesteps": 900})
    assert capsys.readouterr().out == ""
    console.progressed(candidate, point(750, 1.0, 4.0))
    [line] = capsys.readouterr().out.splitlines()
    assert "1/0 750/1,500 steps" in line
    assert line.endswith("success 0.50, own return 3")
