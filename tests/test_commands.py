"""The commands beside ``gen.py``: what they list, show, refuse and pass on."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rewardsmith import commands
from rewardsmith.config import task_names, task_settings
from tests.runs import ROOT, environment


def call(*arguments: str) -> Result:
    return CliRunner().invoke(commands.app, list(arguments), env={"COLUMNS": "150"})


def python_m(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rewardsmith", *arguments],
        cwd=folder,
        env=environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_tasks_are_listed_with_id_and_description() -> None:
    shown = call("tasks")
    assert shown.exit_code == 0
    for name in task_names():
        assert re.search(rf"^{name} ", shown.output, re.MULTILINE)
    assert "FetchReach-v3" in shown.output
    assert "Meta-World/peg-insert-side-v3" in shown.output
    assert "Run forward as fast as possible." in shown.output
    assert "def compute_reward" not in shown.output


def test_a_task_is_shown_with_its_fields_and_its_success() -> None:
    shown = call("tasks", "half_cheetah")
    assert shown.exit_code == 0
    assert "half_cheetah: HalfCheetah-v5" in shown.output
    assert "at least 100 m ahead" in " ".join(shown.output.split())
    assert "an array of 6 numbers from -1 to 1" in shown.output
    [settings] = task_settings(["half_cheetah"])
    assert settings.fields is not None
    for name, item in settings.fields.items():
        row = re.search(rf"^{name} +(\(N,.*?\)) +(\S+) +(.*?) *$", shown.output, re.MULTILINE)
        assert row is not None, name
        assert row[2] == (item.unit or "–")
    assert re.search(r"^x_velocity +\(N,\) +m/s +forward velocity", shown.output, re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("hoper", "There is no task 'hoper': did you mean hopper"),
        ("zzz", "There is no task 'zzz': known are ant, ant_maze"),
        ("gym", "There is no task 'gym'"),
    ],
)
def test_an_unknown_task_is_one_sentence(name: str, sentence: str) -> None:
    shown = call("tasks", name)
    assert shown.exit_code == 2
    assert sentence in shown.output
    assert len(shown.output.strip().splitlines()) == 1


def test_run_passes_everything_on(tmp_path: Path) -> None:
    for words in (("run",), ()):
        job = python_m(tmp_path, *words, "--cfg", "job", "env=hopper", "experiment.seed=3")
        assert job.returncode == 0, job.stderr
        assert "id: Hopper-v5" in job.stdout
        assert "seed: 3" in job.stdout
    assert "Configuration groups" in python_m(tmp_path, "run", "--help").stdout
    wrong = python_m(tmp_path, "run", "env=point", "experiment.candidates=0")
    assert wrong.returncode == 2
    assert "experiment.candidates is 0, but it should be greater than 0" in wrong.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help_lists_the_commands_in_a_line_each(word: str, tmp_path: Path) -> None:
    shown = python_m(tmp_path, word).stdout
    for name in commands.COMMANDS:
        lines = re.findall(rf"^  {name}  +([A-Z].*)$", shown, re.MULTILINE)
        assert len(lines) == 1, name
        assert not lines[0].endswith("..."), f"the line on {name} is cut off"


def complete(folder: Path, *words: str) -> list[str]:
    """What a shell offers for the last word."""
    variables = {
        "_REWARDSMITH_COMPLETE": "complete_bash",
        "COMP_WORDS": "\n".join(("rewardsmith", *words)),
        "COMP_CWORD": str(len(words)),
        "PYTHONPATH": str(ROOT),
    }
    answer = subprocess.run(
        [sys.executable, "-c", "from rewardsmith.commands import main; main()"],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=120,
    )
    return answer.stdout.split()


def test_a_shell_completes_commands_tasks_and_runs(tmp_path: Path) -> None:
    for run in ("results/point", "results/point-2", "elsewhere/reach"):
        (tmp_path / run).mkdir(parents=True)
        (tmp_path / run / "config.yaml").touch()
    (tmp_path / "results" / "no_run").mkdir()
    assert "replay" in complete(tmp_path, "re")
    assert complete(tmp_path, "tasks", "hop") == ["hopper", "hopper_stand"]
    assert complete(tmp_path, "check", "x.py", "--env", "sl") == ["slide"]
    assert complete(tmp_path, "replay", "res") == ["results/point", "results/point-2"]
    assert complete(tmp_path, "export", "results/") == ["results/point", "results/point-2"]
    assert "elsewhere/reach" in complete(tmp_path, "replay", "")


def test_completion_can_be_shown_for_the_shell_that_asks(tmp_path: Path) -> None:
    shown = subprocess.run(
        ["bash", "-c", '"$0" -m rewardsmith --show-completion; exit $?', sys.executable],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "_REWARDSMITH_COMPLETE=complete_bash" in shown.stdout, shown.stderr


def test_python_m_takes_every_command_for_one() -> None:
    asked = "run tasks check report compare watch play replay export doctor"
    assert set(commands.COMMANDS) == set(asked.split())
