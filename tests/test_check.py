"""``rewardsmith check``: what it says of good, flawed and hostile rewards, and its exit codes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rewardsmith import commands
from tests.conftest import DATA
from tests.runs import REPLIES, SMALL, evaluations, generate, summary

NEAR = """
def compute_reward(state, action, next_state):
    near = -np.linalg.norm(next_state["achieved_goal"] - next_state["desired_goal"], axis=-1)
    return near, {"near": near}
"""


def check(file: Path, *arguments: str) -> Result:
    words = ["check", str(file), *arguments, "sandbox.allow_weaker=true"]
    return CliRunner().invoke(commands.app, words, env={"COLUMNS": "200"})


def lines(result: Result) -> list[str]:
    return result.output.splitlines()


def test_a_good_reward_shows_its_ranges_and_would_be_trained() -> None:
    result = check(REPLIES / "reach" / "good_0.md")
    assert result.exit_code == 0, result.output
    assert "distance: -0." in result.output
    assert "bonus: 0 to 1" in result.output
    assert lines(result)[-1] == "It would be trained."


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("refusal.md", "There is no fenced Python code block"),
        ("while_loop.md", r"rejected \(while_loop\): line 6, `while radius > 0.04:`"),
        ("constant_reward.md", r"probe_failed \(constant\)"),
        ("imports_torch", r"rejected \(import\): line 1, `import torch"),
        ("h01_import_os_system.txt", r"rejected \(import\)"),
        ("h65_inf_reward.txt", r"rejected \(number_too_large\)"),
    ],
)
def test_a_flawed_or_hostile_reward_gives_one_reason(
    name: str, reason: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.py"
    if name.endswith(".md"):
        file = REPLIES / "flawed" / name
    elif name.endswith(".txt"):
        file.write_text((DATA / "corpus" / name).read_text())
    else:
        file.write_text("import torch\n" + NEAR)
    result = check(file, "--env", "push" if "constant" in name else "reach")
    assert result.exit_code == 1
    assert re.search(reason, result.output), result.output
    assert lines(result)[-1] == "It would not be trained."
    assert len(lines(result)) == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nothing.py"], "The reward is to be in 'nothing.py', which cannot be read: No such file"),
        (["mine.py", "--env", "nothing"], "Could not find 'env/nothing'"),
        (["mine.py", "--run", "nowhere"], "--run is 'nowhere', but there is no run"),
        (["mine.py", "sandbox.cpu_s=-1"], "sandbox.cpu_s is -1, but it should be greater than 0"),
        (["mine.py", "--env", "gym", "env.id=FetchReech-v3", "env.description=x"], "did you mean"),
    ],
)
def test_bad_input_is_one_sentence_and_code_2(
    arguments: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(NEAR)
    result = CliRunner().invoke(commands.app, ["check", *arguments])
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


@pytest.mark.slow
def test_seed_rewards_are_trained_recorded_and_compared_with(tmp_path: Path) -> None:
    mine, again = tmp_path / "mine.py", tmp_path / "again.md"
    mine.write_text(NEAR)
    again.write_text(f"The same:\n\n```python\n{NEAR.replace('near', 'close')}```\n")
    options = (*SMALL, "env=point", "llm=builtin", "sandbox.allow_weaker=true")
    seeds = f"experiment.seed_rewards=[{mine.name},{again.name}]"
    result = generate(tmp_path, *options, seeds)
    assert result.returncode == 0, result.stderr
    run = tmp_path / "results" / "point"
    first, second, *_ = evaluations(run)
    assert first["status"] == "ok"
    assert second["fault"]["reason"] == "static_duplicate"
    assert "candidate 1/0" in second["fault"]["message"]
    assert summary(run)["screens"]["static_duplicate"] == 1
    assert "1/1 duplicate" in result.stdout
    log = (run / "log.txt").read_text()
    assert "duplicate: It is the same code as that of candidate 1/0" in log

    mine.write_text("nothing of use by now")
    again.unlink()
    (run / "summary.json").unlink()
    resumed = generate(tmp_path, f"experiment.resume={run}")
    assert resumed.returncode == 0, resumed.stderr
    assert evaluations(run)[0] == first
    assert summary(run)["screens"]["static_duplicate"] == 1

    copy = tmp_path / "copy.py"
    copy.write_text(NEAR)
    found = check(copy, "--run", str(run))
    assert found.exit_code == 1
    assert "duplicate (static_duplicate): It is the same code as that of candidate 1/0" in (
        found.output
    )
    copy.write_text(NEAR.replace("-np.linalg", "-7.0 * np.linalg"))
    assert check(copy, "--run", str(run)).exit_code == 0
